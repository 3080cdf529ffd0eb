package vpc

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Status is the state of an ENI.
type Status string

// The states of an ENI. Pending is seen in the answer of Create only; an ENI
// that is attaching or detaching is in use.
const (
	StatusPending   Status = "pending"
	StatusAvailable Status = "available"
	StatusInUse     Status = "in-use"
)

// AttachmentStatus is the state of an attachment; a detached one is gone.
type AttachmentStatus string

// The states of an attachment.
const (
	Attaching AttachmentStatus = "attaching"
	Attached  AttachmentStatus = "attached"
	Detaching AttachmentStatus = "detaching"
)

// ENI is the state of one elastic network interface at one moment. Values that
// the model hands out are copies.
type ENI struct {
	ID, MAC            string // the MAC in lower case with colons
	SubnetID           string
	Zone               string
	Description        string
	InterfaceType      string
	RequesterID        string // access key of the creator
	Managed            bool   // belongs to an AWS service, which alone changes it
	Status             Status
	Primary            netip.Addr
	Secondary          []netip.Addr
	Prefixes           []netip.Prefix // /28
	IPv6               []netip.Addr
	IPv6Prefixes       []netip.Prefix // /80
	Groups             []string       // security group ids
	SourceDestCheck    bool
	Attachment         *Attachment // nil if not attached
	Public             map[netip.Addr]netip.Addr
	Tags               map[string]string
	ConnectionTracking ConnectionTracking
}

// Attachment ties an ENI to an instance.
type Attachment struct {
	ID                  string
	InstanceID          string
	Node                string
	DeviceIndex         int
	NetworkCard         int
	Status              AttachmentStatus
	AttachTime          time.Time
	DeleteOnTermination bool
}

// ConnectionTracking holds idle timeouts in seconds; 0 is not set.
type ConnectionTracking struct {
	TCPEstablished, UDPStream, UDP int
}

// Addresses lists the single addresses: primary, secondary, IPv6.
func (e *ENI) Addresses() []netip.Addr {
	return slices.Concat([]netip.Addr{e.Primary}, e.Secondary, e.IPv6)
}

// AllPrefixes lists the delegated prefixes of both families.
func (e *ENI) AllPrefixes() []netip.Prefix { return slices.Concat(e.Prefixes, e.IPv6Prefixes) }

// Owns reports whether the address is one of this ENI's, single or in a prefix.
func (e *ENI) Owns(a netip.Addr) bool {
	return slices.Contains(e.Addresses(), a) ||
		slices.ContainsFunc(e.AllPrefixes(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// slots is the number of IPv4 slots in use.
func (e *ENI) slots() int { return 1 + len(e.Secondary) + len(e.Prefixes) }

func (e *ENI) slots6() int { return len(e.IPv6) + len(e.IPv6Prefixes) }

func (e *ENI) clone() ENI {
	c := *e
	c.Secondary = slices.Clone(e.Secondary)
	c.Prefixes = slices.Clone(e.Prefixes)
	c.IPv6 = slices.Clone(e.IPv6)
	c.IPv6Prefixes = slices.Clone(e.IPv6Prefixes)
	c.Groups = slices.Clone(e.Groups)
	c.Public = maps.Clone(e.Public)
	c.Tags = maps.Clone(e.Tags)
	if e.Attachment != nil {
		a := *e.Attachment
		c.Attachment = &a
	}
	return c
}
