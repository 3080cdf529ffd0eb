// Package topology is the description of a simulated VPC: what a person writes
// in YAML, with its defaults and its checks, as typed values. It refuses
// unknown fields and every value that the simulator could not honour; a
// Topology that Validate accepts needs no further checks.
package topology

import (
	"net/netip"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/limits"
)

// Topology is one account's view of one region with one VPC.
type Topology struct {
	Region  string
	Account string // twelve digits
	// Seed drives every random choice (ids, addresses, delays, faults); 0 lets
	// the simulator choose one.
	Seed           uint64
	StrictAuth     bool // an unknown access key gets AuthFailure
	PageLimit      int  // most items in one page of any Describe answer, 1..1000
	InterfaceQuota int  // network interfaces in the region
	VPC            VPC
	Subnets        []Subnet
	SecurityGroups []SecurityGroup // besides the VPC's default group
	Nodes          []Node
	LoadBalancers  []LoadBalancer         // complete
	InstanceTypes  map[string]limits.Type // types that DescribeInstanceTypes knows besides the real ones
	Delays         Delays
	Throttle       Throttle
	Faults         []fault.Rule
}

// VPC is the address space.
type VPC struct {
	CIDR       netip.Prefix
	Secondary  []netip.Prefix // further IPv4 blocks
	IPv6       []netip.Prefix
	Peers      []netip.Prefix // blocks of the peered VPC
	PublicPool netip.Prefix   // where public addresses are taken from
	Tags       map[string]string
}

// CIDRs lists all blocks of the VPC, the primary one first.
func (v VPC) CIDRs() []netip.Prefix {
	out := append([]netip.Prefix{v.CIDR}, v.Secondary...)
	return append(out, v.IPv6...)
}

// Subnet is one subnet in one availability zone.
type Subnet struct {
	Name     string
	CIDR     netip.Prefix // /16../28
	IPv6CIDR netip.Prefix // /64, or zero for none
	Zone     string
	Egress   string // "igw", "nat" or "none"
	Tenants  Tenants
	Tags     map[string]string
}

// SecurityGroup is a named group; the simulator gives it its id.
type SecurityGroup struct {
	Name        string
	Description string
	Tags        map[string]string
}

// Node is one instance that is running when the simulator starts.
type Node struct {
	Name           string
	Subnet         string
	Type           string
	Address        netip.Addr // primary address; zero lets the simulator choose
	PublicIP       bool
	SecurityGroups []string // names; empty is the default group
	Tags           map[string]string
	Metadata       Metadata
}

// Metadata is the instance's metadata options.
type Metadata struct {
	Disabled     bool // every request is refused with 403
	TokensOption bool // IMDSv1 requests without a token are served too
	HopLimit     int  // IP TTL of answers that carry a token, 1..64
	InstanceTags bool // tags/instance/ is served
}

// Throttle configures the token buckets of the EC2 API.
type Throttle struct {
	Enabled bool
	// DescribeByIDSmall: a Describe call with ids but neither filter nor page
	// size takes from the small bucket of unfiltered calls.
	DescribeByIDSmall bool
	Buckets           map[string]Bucket // by action, in place of the documented ones
}

// Bucket is the size of a token bucket and its refill per second.
type Bucket struct {
	Size   float64 `json:"size"`
	Refill float64 `json:"refill"`
}
