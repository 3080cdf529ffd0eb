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

func (m *Model) named(name string) (*subnet, error) {
	for _, s := range m.subnets {
		if s.Name == name || s.ID == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("subnet %q is not in the topology: name one by its name or id", name)
}
