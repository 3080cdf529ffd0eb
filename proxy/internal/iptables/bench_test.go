package iptables

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// benchPort is the i-th service-port, with 10 endpoints from first on.
func benchPort(i, first int) service.ServicePort {
	key := service.Key{Namespace: "ns", Name: fmt.Sprintf("svc-%d", i)}
	p := service.ServicePort{
		Name: service.PortName{Key: key, Port: "http", Protocol: service.TCP}, Family: service.IPv4, Port: 80,
		ClusterIP: netip.AddrFrom4([4]byte{172, 20, byte(i >> 8), byte(i)}), Anywhere: true,
	}
	for e := range 10 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(first + e)})
		p.Cluster = append(p.Cluster, service.Target{AddrPort: netip.AddrPortFrom(a, 8080)})
	}
	return p
}

// BenchmarkServices is the first load of 1,000 services of 10 endpoints, a
// restart with them, and one endpoint for another among them.
func BenchmarkServices(b *testing.B) {
	const count = 1000
	settings := ruleset.Settings{Family: service.IPv4, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"}, Terse: true}
	for _, v := range []Variant{NFT, Legacy} {
		n := nstest.New(b)
		var s *Services
		load := func() {
			backend, err := Open(v, service.IPv4)
			if err != nil {
				b.Fatal(err)
			}
			if s, err = backend.Services(b.Context(), settings); err != nil {
				b.Fatal(err)
			}
			for i := range count {
				p := benchPort(i, 0)
				s.Set(p.Name.Key, []service.ServicePort{p})
			}
			if _, err := s.Sync(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(string(v)+"/load", func(b *testing.B) {
			n.Do(func() {
				for b.Loop() {
					b.StopTimer()
					n.Run(program(v, service.IPv4), "-t", "nat", "-F")
					n.Run(program(v, service.IPv4), "-t", "nat", "-X")
					b.StartTimer()
					load()
				}
			})
		})
		b.Run(string(v)+"/restart", func(b *testing.B) {
			n.Do(func() {
				for b.Loop() {
					load()
				}
			})
		})
		b.Run(string(v)+"/endpoint", func(b *testing.B) {
			n.Do(func() {
				turn := 0
				for b.Loop() {
					turn++
					p := benchPort(count/2, turn%2)
					s.Set(p.Name.Key, []service.ServicePort{p})
					if chains, err := s.Sync(b.Context()); err != nil || chains != 3 {
						b.Fatalf("%d chains, %v", chains, err)
					}
				}
			})
		})
	}
}
