package iptables

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// TestRefusedStandsAlone gives the kernel services that it does not take, among
// others, and wants them named and the others written.
func TestRefusedStandsAlone(t *testing.T) {
	good := func(i int) service.ServicePort { return benchPort(i, 0) }
	bad := func(i int, spoil func(*service.ServicePort)) service.ServicePort {
		p := benchPort(i, 0)
		p.Name.Name = fmt.Sprintf("bad-%d", i)
		spoil(&p)
		return p
	}
	// The model lets none of this by: an address of the other family, in a
	// service's own chain and in those of all, of nat and of filter.
	own := bad(3, func(p *service.ServicePort) { p.Cluster[3].AddrPort = netip.MustParseAddrPort("[fd00::1]:8080") })
	nat := bad(5, func(p *service.ServicePort) { p.ClusterIP = netip.MustParseAddr("fd00::5") })
	filter := bad(7, func(p *service.ServicePort) {
		p.ClusterIP, p.Cluster, p.Anywhere = netip.MustParseAddr("fd00::7"), nil, false
	})
	for _, v := range []Variant{NFT, Legacy} {
		n := nstest.New(t)
		n.Do(func() {
			b, err := Open(v, service.IPv4)
			if err != nil {
				t.Fatal(err)
			}
			s, err := b.Services(t.Context(), ruleset.Settings{Family: service.IPv4, MasqueradeMark: 0x4000})
			if err != nil {
				t.Fatal(err)
			}
			ports := []service.ServicePort{good(0), good(1), good(2), own, good(4), nat, good(6), filter, good(8)}
			for _, p := range ports {
				s.Set(p.Name.Key, []service.ServicePort{p})
			}
			_, err = s.Sync(t.Context())
			var refused Refused
			if !errors.As(err, &refused) || len(refused) != 3 || refused[own.Name] == nil || refused[nat.Name] == nil || refused[filter.Name] == nil {
				t.Errorf("%s: refused %v, want the three bad ones", v, err)
			}
			want := nstest.New(t)
			want.Do(func() { writeAll(t, v, []service.ServicePort{good(0), good(1), good(2), good(4), good(6), good(8)}) })
			save := program(v, service.IPv4) + "-save"
			without, with := rulesByChain(want.Run(save)), rulesByChain(n.Run(save))
			for chain := range maps.Keys(with) {
				if !slices.Equal(with[chain], without[chain]) {
					t.Errorf("%s: %s with the bad ones:\n%q\nwithout:\n%q", v, chain, with[chain], without[chain])
				}
			}
			if len(with) != len(without) {
				t.Errorf("%s: %d chains with the bad ones, %d without", v, len(with), len(without))
			}
			for _, p := range []service.ServicePort{own, nat, filter} {
				s.Set(p.Name.Key, nil)
			}
			if chains, err := s.Sync(t.Context()); chains != 0 || err != nil {
				t.Errorf("%s: after deleting the bad ones: %d chains, %v", v, chains, err)
			}
		})
	}
}

func writeAll(t *testing.T, v Variant, ports []service.ServicePort) {
	t.Helper()
	b, err := Open(v, service.IPv4)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.Services(t.Context(), ruleset.Settings{Family: service.IPv4, MasqueradeMark: 0x4000})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range ports {
		s.Set(p.Name.Key, []service.ServicePort{p})
	}
	if _, err := s.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
}
