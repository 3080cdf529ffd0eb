package vpc

import "net/netip"

// View is the part of the VPC's state that the fabric carries packets by: a
// snapshot by value, free of locks, taken by Model.View. Slices are sorted
// (subnets and nodes by name, interfaces by ENI id) so that two snapshots of
// the same state are equal.
type View struct {
	CIDRs      []netip.Prefix // the VPC's own blocks, IPv4 and IPv6, primary first
	PeerCIDRs  []netip.Prefix // blocks of the peered VPC
	Subnets    []SubnetView
	Nodes      []NodeView      // instances that have not been terminated
	Interfaces []InterfaceView // ENIs attached to instances only
	Balancers  []BalancerView  // ENIs of load balancers
}

// SubnetView is a subnet and the target of its default route.
type SubnetView struct {
	Name     string // the name in the topology, "a", "b", ...
	ID       string // subnet-...
	Zone     string
	CIDR     netip.Prefix // the router answers at the first address of it
	IPv6CIDR netip.Prefix // zero if the subnet has none
	Egress   Egress
}

// Egress says where a subnet's default route leads.
type Egress string

const (
	// EgressIGW is an internet gateway: stateless 1:1 translation, only for
	// addresses that have a public address associated; others are dropped.
	EgressIGW Egress = "igw"
	// EgressNAT is a NAT gateway: any source, many to one, outgoing only.
	EgressNAT Egress = "nat"
	// EgressNone is no default route.
	EgressNone Egress = "none"
)

// NodeView is one instance.
type NodeView struct {
	Name       string
	InstanceID string
}

// BalancerView is the ENI of a load balancer in one subnet.
type BalancerView struct {
	ID      string
	Subnet  string // subnet id
	Address netip.Addr
	Public  netip.Addr // zero if the balancer is internal
}

// InterfaceView is one ENI that is attached to an instance.
type InterfaceView struct {
	ID              string
	MAC             string // lower case, colon separated
	Node            string // name of the node that it is attached to
	Subnet          string // subnet id
	DeviceIndex     int
	NetworkCard     int
	SourceDestCheck bool
	// DevicePresent: the guest sees the device. It turns true some time after
	// the attachment (the device delay, or a fault) and false on detach.
	DevicePresent bool
	Guest         Guest          // what the operating system does to the device
	Addresses     []netip.Addr   // the primary IPv4 address first, then secondary ones, then IPv6
	Prefixes      []netip.Prefix // delegated /28 and /80
	// Public maps a private address of this ENI to the public address that
	// the internet gateway translates it to.
	Public map[netip.Addr]netip.Addr
}
