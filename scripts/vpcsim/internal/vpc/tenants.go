package vpc

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Tenants is what others take of a subnet.
type Tenants struct {
	Subnet    string // name or id
	Addresses int    // -1 is all that are free
	Pattern   topology.Pattern
	For       time.Duration // then they give them back; 0 is when they are told to
}

// TakeTenants lets others take free addresses of a subnet, all that are asked
// for or none. It returns how many are free after it.
func (m *Model) TakeTenants(t Tenants) (free int, err error) {
	defer m.lock()()
	s, err := m.named(t.Subnet)
	if err != nil {
		return 0, fmt.Errorf("taking addresses: %w", err)
	}
	if err := t.Pattern.Check("pattern"); err != nil {
		return s.v4.free(), fmt.Errorf("taking addresses of subnet %s: %w", t.Subnet, err)
	}
	if err := m.occupy(s, t, m.rng); err != nil {
		return s.v4.free(), err
	}
	return s.v4.free(), nil
}

func (m *Model) occupy(s *subnet, t Tenants, rng *rand.Rand) error {
	if t.Addresses < 0 {
		t.Addresses = s.v4.free()
	}
	if t.Addresses > s.v4.free() {
		return fmt.Errorf("taking %d addresses of subnet %s: it has %d free: take at most these", t.Addresses, s.Name, s.v4.free())
	}
	var taken []netip.Addr
	if t.Pattern == topology.Packed {
		taken = s.v4.takePacked(t.Addresses)
	} else {
		taken = s.v4.takeScattered(t.Addresses, rng)
	}
	m.hold(s, taken, t.For)
	return nil
}

// tenancy is one address that others hold, and in which taking they got it.
type tenancy struct {
	address netip.Addr
	taking  int
}

// hold notes what others have taken, and gives back what they still hold of it
// after so long if that is not 0.
func (m *Model) hold(s *subnet, taken []netip.Addr, back time.Duration) {
	s.takings++
	taking := s.takings
	for _, a := range taken {
		s.tenants = append(s.tenants, tenancy{a, taking})
	}
	if back > 0 {
		m.after(back, func() { s.vacate(taking) })
	}
}

// vacate frees what others still hold of a taking.
func (s *subnet) vacate(taking int) {
	s.tenants = slices.DeleteFunc(s.tenants, func(t tenancy) bool {
		if t.taking == taking {
			s.v4.drop(t.address)
		}
		return t.taking == taking
	})
}

// exhaust is what happens just before a call that a fault makes come too late.
func (m *Model) exhaust(s *subnet, c Call) {
	if c.Exhaust > 0 {
		m.hold(s, s.v4.takePacked(s.v4.free()), c.Exhaust)
	}
}

// Fragment lets others take one address of every free /28 of a subnet, so that
// no prefix can be had though addresses are free. It returns how many are free
// after it.
func (m *Model) Fragment(subnetName string) (free int, err error) {
	defer m.lock()()
	s, err := m.named(subnetName)
	if err != nil {
		return 0, fmt.Errorf("fragmenting a subnet: %w", err)
	}
	blocks := 0
	for _, taken := range s.v4.blocks {
		if taken == 0 {
			blocks++
		}
	}
	err = m.occupy(s, Tenants{Addresses: blocks, Pattern: topology.Scattered}, m.rng)
	return s.v4.free(), err
}

// GiveTenants frees so many of the addresses that others hold, the last taken
// first; -1 frees all. It returns how many are free after it.
func (m *Model) GiveTenants(subnetName string, addresses int) (free int, err error) {
	defer m.lock()()
	s, err := m.named(subnetName)
	if err != nil {
		return 0, fmt.Errorf("giving addresses back: %w", err)
	}
	if addresses > len(s.tenants) {
		return s.v4.free(), fmt.Errorf("giving back %d addresses of subnet %s: others hold %d: give at most these", addresses, subnetName, len(s.tenants))
	}
	if addresses < 0 {
		addresses = len(s.tenants)
	}
	keep := len(s.tenants) - addresses
	for _, t := range s.tenants[keep:] {
		s.v4.drop(t.address)
	}
	s.tenants = s.tenants[:keep]
	return s.v4.free(), nil
}

// addTenants puts the tenants of the topology where nodes left room.
func (m *Model) addTenants(subnets []topology.Subnet) error {
	for i, s := range subnets {
		t, rng := s.Tenants, m.rng
		if t.Seed != 0 {
			rng = rand.New(rand.NewPCG(t.Seed, 0x74656e616e74))
		}
		count := t.Addresses
		if count < 0 {
			count = m.subnets[i].v4.free() - t.Free
		}
		if err := m.occupy(m.subnets[i], Tenants{Addresses: count, Pattern: t.Pattern}, rng); err != nil {
			return fmt.Errorf("adding the tenants of subnets[%s]: %w", s.Name, err)
		}
	}
	return nil
}

// takePacked takes the lowest free addresses; there are as many.
func (b *book4) takePacked(count int) []netip.Addr {
	var out []netip.Addr
	for i := uint32(0); len(out) < count; i++ {
		if !b.used[i] {
			b.set(i, true)
			out = append(out, b.addr(i))
		}
	}
	return out
}

// takeScattered takes each address from one of the /28s that have most free;
// there are as many.
func (b *book4) takeScattered(count int, rng *rand.Rand) []netip.Addr {
	var byTaken [17][]int
	for _, i := range rng.Perm(len(b.blocks)) {
		byTaken[b.blocks[i]] = append(byTaken[b.blocks[i]], i)
	}
	var out []netip.Addr
	for taken := 0; len(out) < count; taken++ {
		for _, block := range byTaken[taken][:min(len(byTaken[taken]), count-len(out))] {
			out = append(out, b.takeOf(block, rng))
			byTaken[taken+1] = append(byTaken[taken+1], block)
		}
	}
	return out
}

// takeOf takes a free address of a /28 that has one.
func (b *book4) takeOf(block int, rng *rand.Rand) netip.Addr {
	i := uint32(block*16) + rng.Uint32N(16)
	for ; b.used[i]; i = uint32(block*16) + (i+1)%16 {
	}
	b.set(i, true)
	return b.addr(i)
}
