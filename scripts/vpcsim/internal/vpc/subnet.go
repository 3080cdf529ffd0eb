package vpc

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Subnet is the state of a subnet.
type Subnet struct {
	ID, Name string
	CIDR     netip.Prefix
	IPv6CIDR netip.Prefix // zero if none
	Zone     string
	Egress   Egress
	Free     int // free IPv4 addresses
	Tenants  int // IPv4 addresses that others hold
	Tags     map[string]string
}

type subnet struct {
	Subnet
	v4      *book4
	v6      book      // nil without an IPv6 block
	tenants []tenancy // addresses that others hold, in the order of their taking
	takings int       // so far
}

// Group is a security group.
type Group struct {
	ID, Name, Description string
	Tags                  map[string]string
}

func (m *Model) addGroup(g topology.SecurityGroup) {
	description := g.Description
	if description == "" {
		description = g.Name
	}
	m.groups = append(m.groups, &Group{m.id("sg-"), g.Name, description, copied(g.Tags)})
}

func (m *Model) addSubnet(s topology.Subnet) {
	sub := &subnet{
		Subnet: Subnet{ID: m.id("subnet-"), Name: s.Name, CIDR: s.CIDR, IPv6CIDR: s.IPv6CIDR, Zone: s.Zone, Egress: Egress(s.Egress), Tags: copied(s.Tags)},
		v4:     newBook4(s.CIDR),
	}
	if s.IPv6CIDR.IsValid() {
		sub.v6 = newBook6(s.IPv6CIDR)
	}
	m.subnets = append(m.subnets, sub)
}

func (s *subnet) snapshot() Subnet {
	out := s.Subnet
	out.Free, out.Tenants = s.v4.free(), len(s.tenants)
	out.Tags = copied(s.Tags)
	return out
}

// Subnets lists the subnets in the order of the topology.
func (m *Model) Subnets() []Subnet {
	defer m.lock()()
	out := make([]Subnet, 0, len(m.subnets))
	for _, s := range m.subnets {
		out = append(out, s.snapshot())
	}
	return out
}

// Groups lists the security groups, the default one first.
func (m *Model) Groups() []Group {
	defer m.lock()()
	out := make([]Group, 0, len(m.groups))
	for _, g := range m.groups {
		c := *g
		c.Tags = copied(g.Tags)
		out = append(out, c)
	}
	return out
}

func (m *Model) subnet(id string) (*subnet, error) {
	for _, s := range m.subnets {
		if s.ID == id {
			return s, nil
		}
	}
	return nil, awserr.New("InvalidSubnetID.NotFound", "The subnet ID '%s' does not exist", id)
}

// checkGroups returns the ids sorted and without repeats, or the default
// group if there are none.
func (m *Model) checkGroups(ids []string) ([]string, error) {
	if len(ids) == 0 {
		return []string{m.groups[0].ID}, nil
	}
	for _, id := range ids {
		if !slices.ContainsFunc(m.groups, func(g *Group) bool { return g.ID == id }) {
			return nil, awserr.New("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
		}
	}
	out := slices.Sorted(slices.Values(ids))
	return slices.Compact(out), nil
}

// copied is a clone that is never nil.
func copied(tags map[string]string) map[string]string {
	if tags == nil {
		return map[string]string{}
	}
	return maps.Clone(tags)
}
