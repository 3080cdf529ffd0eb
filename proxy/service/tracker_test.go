package service

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func keys(names ...string) []Key {
	var all []Key
	for _, n := range names {
		all = append(all, Key{"shop", n})
	}
	return all
}

func named(name, ip string, edits ...func(*Service)) Service {
	s := webService(edits...)
	s.Name, s.ClusterIPs = name, addrs(ip)
	return s
}

// TestTouched follows a Tracker through a life, and which services each step
// touches.
func TestTouched(t *testing.T) {
	tr := NewTracker()
	moved := webSlice("s1", "10.0.0.1")
	moved.Service = "api"
	later := moved
	later.Triggered = time.Unix(1, 0)
	headless := moved
	headless.Headless = true
	hinted := webSlice("s2", "10.0.0.1 zones=a")
	for _, step := range []struct {
		name string
		do   func() []Key
		want []Key
	}{
		{"slice before its service", func() []Key { return tr.SetSlice(webSlice("s1", "10.0.0.1")) }, nil},
		{"service", func() []Key { return tr.SetService(named("web", "10.100.0.1")) }, keys("web")},
		{"the same again", func() []Key { return tr.SetService(named("web", "10.100.0.1")) }, nil},
		{"another service", func() []Key { return tr.SetService(named("api", "10.100.0.2")) }, keys("api")},
		{"slice, other endpoints", func() []Key { return tr.SetSlice(webSlice("s1", "10.0.0.2")) }, keys("web")},
		{"slice, the same again", func() []Key { return tr.SetSlice(webSlice("s1", "10.0.0.2")) }, nil},
		{"slice moves", func() []Key { return tr.SetSlice(moved) }, keys("api", "web")},
		{"slice, only the time", func() []Key { return tr.SetSlice(later) }, nil},
		{"slice becomes headless", func() []Key { return tr.SetSlice(headless) }, keys("api")},
		{"headless slice goes", func() []Key { return tr.DeleteSlice(moved.Key) }, nil},
		{"slice with hints", func() []Key { return tr.SetSlice(hinted) }, keys("web")},
		{"node", func() []Key { return tr.SetNode(Node{Name: "node-a"}) }, keys("api", "web")},
		{"node, zone", func() []Key { return tr.SetNode(Node{Name: "node-a", Zone: "a"}) }, keys("web")},
		{"node, taint", func() []Key { return tr.SetNode(Node{Name: "node-a", Zone: "a", Taints: []string{"x"}}) }, nil},
		{"slice goes", func() []Key { return tr.DeleteSlice(hinted.Key) }, keys("web")},
		{"slice goes again", func() []Key { return tr.DeleteSlice(hinted.Key) }, nil},
		{"service goes", func() []Key { return tr.DeleteService(web) }, keys("web")},
		{"service goes again", func() []Key { return tr.DeleteService(web) }, nil},
	} {
		if diff := cmp.Diff(step.want, step.do()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

func external(ip string) func(*Service) {
	return func(s *Service) { s.ExternalIPs = addrs(ip) }
}

func balanced(ip string) func(*Service) {
	return func(s *Service) { s.Type, s.Ingress = LoadBalancer, []Ingress{{Addr: addr(ip)}} }
}

// TestConflicts holds the precedence between two services, whichever comes
// first, and that the loser has all the rest and takes over when the winner goes.
func TestConflicts(t *testing.T) {
	tests := []struct {
		name          string
		winner, loser Service
		says          string
	}{
		{"cluster IP before external IP", named("web", "10.100.0.1"), named("api", "10.100.0.2", external("10.100.0.1")), "external IP 10.100.0.1 port 80"},
		{"cluster IP before balancer", named("web", "10.100.0.1"), named("api", "10.100.0.2", balanced("10.100.0.1")), "load balancer address 10.100.0.1 port 80"},
		{"balancer before external IP", named("web", "10.100.0.1", balanced("192.0.2.1")), named("api", "10.100.0.2", external("192.0.2.1")), "external IP 192.0.2.1 port 80"},
		{"by name", named("api", "10.100.0.1", external("192.0.2.1")), named("web", "10.100.0.2", external("192.0.2.1")), "external IP 192.0.2.1 port 80"},
		{"node port by name", named("api", "10.100.0.1", withNodePort), named("web", "10.100.0.2", withNodePort), "node port 30080"},
		{"cluster IP by name", named("api", "10.100.0.1"), named("web", "10.100.0.1"), "cluster IP 10.100.0.1 port 80"},
	}
	for _, test := range tests {
		for _, first := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/winner first %t", test.name, first), func(t *testing.T) {
				tr := NewTracker()
				if first {
					tr.SetService(test.winner)
					if got := tr.SetService(test.loser); len(got) != 1 {
						t.Errorf("the loser touches %v", got)
					}
				} else {
					tr.SetService(test.loser)
					if got := tr.SetService(test.winner); len(got) != 2 {
						t.Errorf("the winner touches %v", got)
					}
				}
				if _, err := tr.Resolve(test.winner.Key); err != nil {
					t.Errorf("winner: %v", err)
				}
				ports, err := tr.Resolve(test.loser.Key)
				if len(ports) != 1 || err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), test.winner.Key.String()) {
					t.Errorf("loser: %d ports, %v: want it to say %q and who has it", len(ports), err, test.says)
				}
				if got := tr.DeleteService(test.winner.Key); len(got) != 2 {
					t.Errorf("the winner's end touches %v", got)
				}
				if _, err := tr.Resolve(test.loser.Key); err != nil {
					t.Errorf("loser alone: %v", err)
				}
			})
		}
	}
}

// TestOrderDoesNotMatter makes random changes, and holds the outcome, and what
// was said to be touched, against a Tracker that starts from the end.
func TestOrderDoesNotMatter(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 0))
		tr := NewTracker()
		seen := map[Key][]ServicePort{}
		for range 100 {
			for _, k := range randomChange(r, tr) {
				seen[k], _ = tr.Resolve(k)
			}
		}
		fresh := NewTracker()
		fresh.SetNode(tr.node)
		for _, s := range tr.slices {
			fresh.SetSlice(s)
		}
		for _, s := range tr.services {
			fresh.SetService(s)
		}
		for _, h := range tr.hostPods {
			fresh.SetHostPorts(h.key, h.addr, h.ports)
		}
		for k, got := range seen {
			want, _ := fresh.Resolve(k)
			if diff := cmp.Diff(want, got, comparable...); diff != "" {
				t.Fatalf("seed %d, service %s (-fresh +followed):\n%s", seed, k, diff)
			}
		}
		if len(tr.claims.of) != len(fresh.claims.of) || len(tr.claims.by) != len(fresh.claims.by) {
			t.Fatalf("seed %d: claims were left over", seed)
		}
	}
}

func randomChange(r *rand.Rand, tr *Tracker) []Key {
	name := fmt.Sprintf("svc-%d", r.IntN(5))
	slice := webSlice(fmt.Sprintf("slice-%d", r.IntN(6)), fmt.Sprintf("10.0.0.%d zones=%c", r.IntN(4), 'a'+r.IntN(2)))
	slice.Service = name
	pod := Key{"shop", fmt.Sprintf("pod-%d", r.IntN(4))}
	switch r.IntN(9) {
	case 5, 6:
		at := []string{"", "192.0.2.1", "192.0.2.2"}[r.IntN(3)]
		return tr.SetHostPorts(pod, netip.AddrFrom4([4]byte{10, 0, 1, byte(r.IntN(2))}), []PodPort{podPort(at, uint16(30080+r.IntN(2)))})
	case 7:
		return tr.DeleteHostPorts(pod)
	case 0, 1:
		ip := netip.AddrFrom4([4]byte{10, 100, 0, byte(r.IntN(4))})
		edits := []func(*Service){func(*Service) {}, withNodePort, external("10.100.0.1"), balanced("192.0.2.1")}
		return tr.SetService(named(name, ip.String(), edits[r.IntN(len(edits))]))
	case 2:
		return tr.DeleteService(Key{"shop", name})
	case 3:
		return tr.DeleteSlice(slice.Key)
	case 4:
		return tr.SetNode(Node{Name: "node-a", Zone: []string{"a", "b"}[r.IntN(2)]})
	}
	return tr.SetSlice(slice)
}

// BenchmarkSlice is one changed slice among 5,000 services of 10 endpoints.
func BenchmarkSlice(b *testing.B) {
	tr := NewTracker()
	for i := range 5000 {
		ip := netip.AddrFrom4([4]byte{10, 100, byte(i >> 8), byte(i)})
		tr.SetService(named(fmt.Sprintf("svc-%d", i), ip.String()))
		slice := webSlice(fmt.Sprintf("slice-%d", i))
		slice.Service = fmt.Sprintf("svc-%d", i)
		for e := range 10 {
			slice.Endpoints = append(slice.Endpoints, Endpoint{Addr: netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), byte(e)}), Ready: true})
		}
		tr.SetSlice(slice)
	}
	slice := tr.slices[Key{"shop", "slice-2500"}]
	for b.Loop() {
		slice.Endpoints = append([]Endpoint{slice.Endpoints[9]}, slice.Endpoints[:9]...)
		for _, k := range tr.SetSlice(slice) {
			tr.Resolve(k)
		}
	}
}

func TestNames(t *testing.T) {
	one, two, three := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	slice := func(name string, endpoints ...Endpoint) EndpointSlice {
		return EndpointSlice{Key: Key{"default", name}, Service: "web", Endpoints: endpoints}
	}
	tracker := NewTracker()
	names := func(want ...bool) {
		t.Helper()
		for i, a := range []netip.Addr{one, two, three} {
			if got := tracker.Names(a); got != want[i] {
				t.Errorf("%s: %v, want %v", a, got, want[i])
			}
		}
	}
	tracker.SetSlice(slice("a", Endpoint{Addr: one, Node: "n1"}, Endpoint{Addr: two, Node: "n2"}, Endpoint{Addr: three}))
	tracker.SetSlice(slice("b", Endpoint{Addr: one, Node: "n1", Terminating: true}))
	names(false, false, true)
	tracker.SetNode(Node{Name: "n1"})
	names(true, false, true)
	tracker.SetSlice(slice("a", Endpoint{Addr: two, Node: "n2"}))
	names(true, false, false)
	tracker.DeleteSlice(Key{"default", "b"})
	tracker.DeleteSlice(Key{"default", "b"})
	names(false, false, false)
}
