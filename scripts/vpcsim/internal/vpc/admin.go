package vpc

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// AddCIDR gives the VPC a further IPv4 block.
func (m *Model) AddCIDR(c netip.Prefix) error {
	defer m.lock()()
	if err := topology.BlockOfVPC("cidr", c); err != nil {
		return fmt.Errorf("adding a block to the VPC: %w", err)
	}
	if c != c.Masked() {
		return fmt.Errorf("adding a block to the VPC: cidr %s has host bits set: write %s", c, c.Masked())
	}
	for _, o := range slices.Concat(m.cidrs, m.topo.VPC.Peers, []netip.Prefix{m.topo.VPC.PublicPool}) {
		if o.Overlaps(c) {
			return fmt.Errorf("adding a block to the VPC: cidr %s overlaps %s: choose a free block", c, o)
		}
	}
	m.cidrs = append(m.cidrs, c)
	m.notify()
	return nil
}

// SetEgress changes where a subnet's default route leads.
func (m *Model) SetEgress(subnetName string, to Egress) error {
	defer m.lock()()
	s, err := m.named(subnetName)
	if err != nil {
		return fmt.Errorf("setting the egress of a subnet: %w", err)
	}
	if !slices.Contains([]Egress{EgressIGW, EgressNAT, EgressNone}, to) {
		return fmt.Errorf("setting the egress of subnet %s: egress %q is unknown: use %q, %q or %q", subnetName, to, EgressIGW, EgressNAT, EgressNone)
	}
	s.Egress = to
	m.notify()
	return nil
}

// Consume takes count free addresses of a subnet for nobody, at random; -1
// takes all. It returns how many are free after it.
func (m *Model) Consume(subnetName string, count int) (free int, err error) {
	defer m.lock()()
	s, err := m.named(subnetName)
	if err != nil {
		return 0, fmt.Errorf("consuming addresses: %w", err)
	}
	if count < 0 {
		count = s.v4.free()
	}
	g, err := m.take(s.v4, Ask{Count: count})
	if err != nil {
		return s.v4.free(), fmt.Errorf("consuming %d addresses of subnet %s, which has %d free: %w", count, subnetName, s.v4.free(), err)
	}
	s.consumed = append(s.consumed, g.addresses...)
	return s.v4.free(), nil
}

// Fragment takes one address of every free /28 of a subnet, so that no prefix
// can be had though addresses are free. It returns how many are free after it.
func (m *Model) Fragment(subnetName string) (free int, err error) {
	defer m.lock()()
	s, err := m.named(subnetName)
	if err != nil {
		return 0, fmt.Errorf("fragmenting a subnet: %w", err)
	}
	for {
		p, ok := s.v4.pickPrefix(m.rng)
		if !ok {
			return s.v4.free(), nil
		}
		s.v4.take(p.Addr())
		s.consumed = append(s.consumed, p.Addr())
	}
}

// Release frees count of the addresses that Consume or Fragment took; -1 frees
// all. It returns how many are free after it.
func (m *Model) Release(subnetName string, count int) (free int, err error) {
	defer m.lock()()
	s, err := m.named(subnetName)
	if err != nil {
		return 0, fmt.Errorf("releasing addresses: %w", err)
	}
	if count < 0 || count > len(s.consumed) {
		count = len(s.consumed)
	}
	grant{addresses: s.consumed[:count]}.giveBack(s.v4)
	s.consumed = slices.Clone(s.consumed[count:])
	return s.v4.free(), nil
}

func (m *Model) named(name string) (*subnet, error) {
	for _, s := range m.subnets {
		if s.Name == name || s.ID == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("subnet %q is not in the topology: name one by its name or id", name)
}
