package config

// The marks by which all that Causeway makes in the kernel can be told from
// what others made. They are the numbers and names of aws-node and kube-proxy
// (amazon-vpc-cni-k8s pkg/networkutils, kubernetes pkg/proxy), because
// operators, their tools and the nodes that are taken over know them.
const (
	// RuleToPod is the priority of "from all to <pod> lookup main".
	RuleToPod = 512
	// RuleMark is the priority of "from all fwmark 0x80/0x80 lookup main".
	RuleMark = 1024
	// RuleExternalService is the priority of "from all to <block> lookup main".
	RuleExternalService = 1535
	// RuleFromPod is the priority of "from <pod> lookup <table of its ENI>".
	RuleFromPod = 1536

	// TableMain is the kernel's main routing table, which serves the primary ENI.
	TableMain = 254

	// ConnectionMark is kept with connections that must leave by the primary
	// ENI. It is both the value and the mask.
	ConnectionMark = 0x80

	// VethPrefix begins the name of every pod's host-side link; the rest is
	// the first 11 hex digits of SHA-1("namespace.pod").
	VethPrefix = "eni"

	// SNATChain and ConnmarkChain are the chains of external SNAT.
	SNATChain     = "AWS-SNAT-CHAIN-0"
	ConnmarkChain = "AWS-CONNMARK-CHAIN-0"

	// PodGateway is the link-local next hop inside every pod. No link has
	// it; a permanent neighbour entry leads to the host end of the veth.
	PodGateway = "169.254.1.1"
	// PodGateway6 is the same for IPv6.
	PodGateway6 = "fe80::1"
	// VPCGateway6 is the VPC router's IPv6 address in every subnet (VPC user
	// guide, "Subnet CIDR blocks").
	VPCGateway6 = "fe80:ec2::1"

	// DeadLinkGroup is the link group into which a deleted pod's veth is
	// moved until its namespace, or the daemon, removes it. ("cw" in ASCII.)
	DeadLinkGroup = 0x6377

	// DefaultMTU is the MTU inside a VPC, in bytes (EC2 user guide, "Network MTU").
	DefaultMTU = 9001
)

// Paths on the node. All state lives under StateDir, which is a tmpfs on every
// supported operating system: a reboot ends all pods and all assignments.
const (
	// StateDir holds the socket, the book of assignments and release notes.
	StateDir = "/run/causeway"
	// Socket is where ipamd serves gRPC, mode 0600.
	Socket = StateDir + "/ipamd.sock"
	// BookDir holds one file for each address that is assigned or cooling, and
	// what EC2 said last of the node's ENIs.
	BookDir = StateDir + "/book"
	// NotesDir holds notes that the plugin leaves when ipamd is away.
	NotesDir = StateDir + "/released"
	// BackingStore is where aws-node keeps its assignments, if it is not told
	// otherwise.
	BackingStore = "/var/run/aws-node/ipam.json"
)
