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

// BenchmarkServices is, for 1,000 and 5,000 services of 10 endpoints: the first
// load, a restart or repair, one endpoint for another, a service more and less,
// and a look whether others changed anything.
func BenchmarkServices(b *testing.B) {
	for _, count := range []int{1000, 5000} {
		for _, v := range []Variant{NFT, Legacy} {
			b.Run(fmt.Sprintf("%d/%s", count, v), func(b *testing.B) { benchmarkServices(b, count, v) })
		}
	}
}

func benchmarkServices(b *testing.B, count int, v Variant) {
	settings := ruleset.Settings{Family: service.IPv4, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"}, Terse: true}
	n := nstest.New(b)
	var backend *Backend
	var s *Services
	sync := func(b *testing.B) {
		if _, err := s.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	load := func(b *testing.B) {
		var err error
		if s, err = backend.Services(b.Context(), settings); err != nil {
			b.Fatal(err)
		}
		for i := range count {
			p := benchPort(i, 0)
			s.Set(p.Name.Key, []service.ServicePort{p})
		}
		sync(b)
	}
	run := func(name string, f func(b *testing.B, turn int)) {
		b.Run(name, func(b *testing.B) {
			n.Do(func() {
				turn := 0
				for b.Loop() {
					turn++
					f(b, turn)
				}
			})
		})
	}
	n.Do(func() {
		var err error
		if backend, err = Open(v, service.IPv4); err != nil {
			b.Fatal(err)
		}
	})
	run("load", func(b *testing.B, _ int) {
		b.StopTimer()
		if _, err := backend.RemoveServices(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		load(b)
	})
	run("restart", func(b *testing.B, _ int) { load(b) })
	run("endpoint", func(b *testing.B, turn int) {
		p := benchPort(count/2, turn%2)
		s.Set(p.Name.Key, []service.ServicePort{p})
		sync(b)
	})
	run("service", func(b *testing.B, turn int) {
		p := benchPort(count, 0)
		s.Set(p.Name.Key, []service.ServicePort{p}[turn%2:])
		sync(b)
	})
	run("look", func(b *testing.B, _ int) {
		if _, err := backend.Fingerprint(); err != nil {
			b.Fatal(err)
		}
	})
}
