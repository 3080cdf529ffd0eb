package pool

import (
	"net/netip"
	"time"
)

// ENIID is the id of an elastic network interface, "eni-" and 17 hex digits.
type ENIID string

// SubnetID is the id of a subnet, "subnet-" and 17 hex digits.
type SubnetID string

// Key names one attachment of a container to a network, as CNI does: it is
// unique for as long as the attachment lives.
type Key struct {
	Network     string // name of the network configuration list
	ContainerID string // sandbox id
	Interface   string // name inside the pod, "eth0"
}

// Pod is what Kubernetes calls the owner of an attachment. It may be empty
// when the runtime does not say.
type Pod struct {
	Namespace string
	Name      string
	UID       string
}

// Assignment is what one attachment holds: an address, or two of one ENI.
type Assignment struct {
	Key     Key
	Pod     Pod
	Netns   string // path of the pod's network namespace
	Link    string // host end of the pod's veth
	MTU     int    // of both ends, bytes, as it was when the pod came; 0 for what others wired
	Address netip.Addr
	Second  netip.Addr // the IPv6 address beside an IPv4 one; invalid if there is none
	ENI     ENIID
	Device  int // device number of the ENI, which gives the route table
	Since   time.Time
	Ports   []HostPort // of the node that lead to the pod, as it asked
	// Adopted marks an address found in use in the kernel without a record
	// of ours; it is held until its link is gone.
	Adopted bool
}

// Status is the state of an ENI's attachment to this instance.
type Status int

const (
	// Available: exists, attached to nothing.
	Available Status = iota
	// Attaching: EC2 accepted the attachment.
	Attaching
	// Attached to this instance.
	Attached
	// Detaching: EC2 accepted the detachment.
	Detaching
)

// String is the word that EC2 uses.
func (s Status) String() string {
	return [...]string{"available", "attaching", "attached", "detaching"}[s]
}

// ENI is an elastic network interface as EC2 describes it.
type ENI struct {
	ID                  ENIID
	MAC                 string // lower case, colon separated
	Primary             bool   // device 0 of card 0; never detached
	Device              int    // device number on its card
	Card                int    // network card index
	Type                string // "interface", "trunk", "efa", "efa-only"; empty is "interface"
	AttachmentID        string // empty while Available
	Status              Status
	DeleteOnTermination bool
	Subnet              SubnetID
	SubnetCIDR          netip.Prefix
	SecurityGroups      []string
	Address             netip.Addr     // its own primary address; never a pod's
	Addresses           []netip.Addr   // secondary addresses, each a pod's or free
	Prefixes            []netip.Prefix // delegated /28 blocks
	Prefixes6           []netip.Prefix // delegated /80 blocks
	Tags                map[string]string
	Description         string
	Created             time.Time // from the createdAt tag; zero if it has none
	// What follows is set by Pool.ENIs; EC2 does not say it.

	// Managed: its addresses are ours to hand out; the node's routing of others
	// is left alone.
	Managed bool
	// Missing: EC2 did not show it lately, though pods hold addresses of it.
	Missing bool
	// Asked: a call for addresses is on its way, or its outcome is unknown.
	Asked bool
	// Quarantined are those of its addresses and prefixes that nobody here asked
	// for.
	Quarantined []netip.Prefix
}

// Gateway is the VPC router's address in the ENI's subnet: the first address
// after the network's own (VPC user guide, "Subnet CIDR blocks").
func (e ENI) Gateway() netip.Addr { return e.SubnetCIDR.Masked().Addr().Next() }

// common says whether an ENI is of the type that we create; others are there for
// a purpose of their own.
func (e ENI) common() bool { return e.Type == "" || e.Type == "interface" }

// Limits are the interface limits of an instance type, on its default card.
type Limits struct {
	ENIs            int // including the primary one
	AddressesPerENI int // including the ENI's own address; prefixes count as one each
	// Prefixes: it takes delegated prefixes, as Nitro and bare metal do.
	Prefixes bool
}

// slots is how many secondary addresses or prefixes an ENI can have.
func (l Limits) slots() int { return l.AddressesPerENI - 1 }
