package iptables

import (
	"net/netip"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// TestHugeService is one of 1,000 endpoints, with affinity, at the highest port
// of every kind; a restart finds it as it was.
func TestHugeService(t *testing.T) {
	p := benchPort(0, 0)
	p.Port, p.NodePort, p.Affinity, p.Cluster = 65535, 65535, 3*time.Hour, nil
	for i := range 1000 {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		p.Cluster = append(p.Cluster, service.Target{AddrPort: netip.AddrPortFrom(a, 65535)})
	}
	for _, v := range []Variant{NFT, Legacy} {
		nstest.New(t).Do(func() {
			b, err := Open(v, service.IPv4)
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range []int{9 + 2 + 1000, 0} {
				s, err := b.Services(t.Context(), ruleset.Settings{Family: service.IPv4, MasqueradeMark: 0x4000, Terse: true})
				if err != nil {
					t.Fatal(err)
				}
				s.Set(p.Name.Key, []service.ServicePort{p})
				if chains, err := s.Sync(t.Context()); err != nil || chains != want {
					t.Errorf("%s, round %d: %d chains, %v, want %d", v, i, chains, err, want)
				}
			}
		})
	}
}
