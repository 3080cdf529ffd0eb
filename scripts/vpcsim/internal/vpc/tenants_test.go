package vpc

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// freeBlocks counts the /28s of the first subnet that can be had.
func freeBlocks(m *Model) int {
	defer m.lock()()
	n := 0
	for _, taken := range m.subnets[0].v4.blocks {
		if taken == 0 {
			n++
		}
	}
	return n
}

// TestTopologyTenants holds what one line of a topology makes of a subnet.
func TestTopologyTenants(t *testing.T) {
	tests := []struct {
		name, tenants string
		free, blocks  int // of 1019 addresses in 64 blocks, two of them with reserved addresses
	}{
		{"none", "{addresses: 0}", 1018, 62},
		{"no free /28 and 500 free addresses", "{free: 500}", 500, 0},
		{"scattered over each block", "{addresses: 62, pattern: scattered}", 956, 0},
		{"packed", "{free: 500, pattern: packed}", 500, 30},
		{"full", "{free: 0}", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newModel(t, "{subnets: [{name: a, cidr: 10.0.0.0/22, tenants: "+tt.tenants+"}], nodes: [{name: n1, subnet: a, address: 10.0.3.250}]}")
			defer m.Close()
			if s := m.Subnets()[0]; s.Free != tt.free || s.Free+s.Tenants != 1018 {
				t.Errorf("%d free, %d held by others, want %d free of 1018", s.Free, s.Tenants, tt.free)
			}
			if got := freeBlocks(m); got != tt.blocks {
				t.Errorf("%d free /28s, want %d", got, tt.blocks)
			}
		})
	}
}

// TestTenantsSeed gives tenants the same places whatever the topology's seed.
func TestTenantsSeed(t *testing.T) {
	held := func(seed string) []tenancy {
		m := newModel(t, "{seed: "+seed+", subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {addresses: 40, seed: 7}}], nodes: [{name: n1, subnet: a, address: 10.0.0.9}]}")
		defer m.Close()
		return m.subnets[0].tenants
	}
	if a, b := held("1"), held("2"); !slices.Equal(a, b) {
		t.Errorf("with one seed the tenants hold %v and %v", a, b)
	}
}

func TestTakeAndGive(t *testing.T) {
	m := newModel(t, "{profile: none, subnets: [{name: a, cidr: 10.0.0.0/24}], nodes: [{name: n1, subnet: a, address: 10.0.0.250}]}")
	defer m.Close()
	take := func(subnet string, count int, p topology.Pattern) func() (int, error) {
		return func() (int, error) { return m.TakeTenants(Tenants{Subnet: subnet, Addresses: count, Pattern: p}) }
	}
	give := func(count int) func() (int, error) {
		return func() (int, error) { return m.GiveTenants("a", count) }
	}
	steps := []struct {
		name         string
		do           func() (int, error)
		free, blocks int
		refused      string
	}{
		{"the rest of the first block and two more", take("a", 12+32, topology.Packed), 206, 12, ""},
		{"too many", take("a", 207, topology.Packed), 206, 12, "has 206 free"},
		{"no subnet", take("z", 1, topology.Packed), 0, 12, `subnet "z"`},
		{"no pattern", take("a", 1, "loose"), 206, 12, `pattern "loose" is unknown: use "scattered" or "packed"`},
		{"one of each other block", take(subnetID(m, "a"), 12, topology.Scattered), 194, 0, ""},
		{"the last taken come first", give(12), 206, 12, ""},
		{"too many to give", give(100), 206, 12, "others hold 44"},
		{"all", take("a", -1, topology.Scattered), 0, 0, ""},
		{"all back", give(-1), 250, 14, ""},
		{"fragment", func() (int, error) { return m.Fragment("a") }, 236, 0, ""},
		{"fragment again", func() (int, error) { return m.Fragment("a") }, 236, 0, ""},
	}
	for _, s := range steps {
		free, err := s.do()
		if err == nil != (s.refused == "") || err != nil && !strings.Contains(err.Error(), s.refused) {
			t.Errorf("%s: error %v, want one with %q", s.name, err, s.refused)
		}
		if free != s.free || freeBlocks(m) != s.blocks {
			t.Errorf("%s: %d addresses and %d blocks are free, want %d and %d", s.name, free, freeBlocks(m), s.free, s.blocks)
		}
	}
}

// TestTakenForAWhile gives back what is still held then, and nothing of what
// others have taken meanwhile.
func TestTakenForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, "{profile: none, subnets: [{name: a, cidr: 10.0.0.0/28}], nodes: [{name: n1, subnet: a}]}")
		defer m.Close()
		if _, err := m.TakeTenants(Tenants{Subnet: "a", Addresses: -1, Pattern: topology.Packed, For: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if free, err := m.GiveTenants("a", 4); err != nil || free != 4 {
			t.Fatalf("%d free, %v", free, err)
		}
		e := create(t, m, "a", Ask{Count: 3})
		if _, err := m.GiveTenants("a", 2); err != nil {
			t.Fatal(err)
		}
		if _, err := m.TakeTenants(Tenants{Subnet: "a", Addresses: 1, Pattern: topology.Packed}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := m.Subnets()[0]; got.Free != 5 || got.Tenants != 1 {
			t.Errorf("%d free, %d held by others; want 5 and 1 beside the 5 of the interfaces", got.Free, got.Tenants)
		}
		if _, _, err := m.AssignPrivateIPAddresses(Call{}, e.ID, Ask{Addresses: e.Secondary}, false); err == nil {
			t.Error("the addresses of an interface were given away")
		}
	})
}
