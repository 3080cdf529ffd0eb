package conntrack

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/causeway-cni/causeway/proxy/service"
)

func key(name string) service.Key { return service.Key{Namespace: "shop", Name: name} }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// dns is a service-port with all kinds of front ends.
func dns(serving ...string) service.ServicePort {
	p := service.ServicePort{
		Name: service.PortName{Key: key("dns"), Port: "dns", Protocol: service.UDP}, Family: service.IPv4,
		ClusterIP: addr("10.100.0.10"), Port: 53, NodePort: 30053,
		ExternalIPs: []netip.Addr{addr("203.0.113.5")}, VIPs: []netip.Addr{addr("198.51.100.7")},
	}
	for _, s := range serving {
		p.Serving = append(p.Serving, at(s))
	}
	return p
}

const (
	one   = "192.168.1.61:5353"
	two   = "192.168.1.62:5353"
	three = "192.168.1.63:5353"
)

// TestStale changes one service-port and asks for flows to its front ends.
func TestStale(t *testing.T) {
	tcp := dns(one)
	tcp.Name.Protocol = service.TCP
	moved := dns(one)
	moved.Port = 54
	tests := []struct {
		name        string
		before      []service.ServicePort // nil: no service
		after       []service.ServicePort
		stale, stay []string // "to > from", * for the node's own address
	}{
		{"endpoint replaced", []service.ServicePort{dns(one)}, []service.ServicePort{dns(two)},
			[]string{
				"10.100.0.10:53 > " + one, "203.0.113.5:53 > " + one, "198.51.100.7:53 > " + one,
				"*192.168.1.50:30053 > " + one, "*127.0.0.1:30053 > " + one,
				"10.100.0.10:53 > 10.100.0.10:53",
			},
			[]string{
				"10.100.0.10:53 > " + two, "10.100.0.10:54 > " + one, "10.100.0.11:53 > " + one,
				"8.8.8.8:30053 > 8.8.8.8:30053", "*192.168.1.50:53 > 192.168.1.50:53", "10.100.0.12:30053 > " + one,
				one + " > " + one,
			}},
		{"endpoint lost", []service.ServicePort{dns(one, two)}, []service.ServicePort{dns(two)},
			[]string{"10.100.0.10:53 > " + one}, []string{"10.100.0.10:53 > " + two}},
		{"endpoint won", []service.ServicePort{dns(one)}, []service.ServicePort{dns(one, two)},
			nil, []string{"10.100.0.10:53 > " + one, "10.100.0.10:53 > 10.100.0.10:53", "10.100.0.10:53 > " + three}},
		{"last endpoint lost", []service.ServicePort{dns(one)}, []service.ServicePort{dns()},
			[]string{"10.100.0.10:53 > " + one, "*192.168.1.50:30053 > " + one}, []string{"10.100.0.10:53 > 10.100.0.10:53"}},
		{"first endpoint", []service.ServicePort{dns()}, []service.ServicePort{dns(one)},
			[]string{"10.100.0.10:53 > 10.100.0.10:53", "10.100.0.10:53 > " + two, "*192.168.1.50:30053 > 192.168.1.50:30053"},
			[]string{"10.100.0.10:53 > " + one}},
		{"new service", nil, []service.ServicePort{dns(one)},
			[]string{"10.100.0.10:53 > " + two}, []string{"10.100.0.10:53 > " + one}},
		{"service deleted", []service.ServicePort{dns(one)}, nil,
			[]string{"10.100.0.10:53 > " + one, "*192.168.1.50:30053 > " + one},
			[]string{"10.100.0.10:53 > 10.100.0.10:53", "*192.168.1.50:30053 > 192.168.1.50:30053"}},
		{"port changed", []service.ServicePort{dns(one)}, []service.ServicePort{moved},
			[]string{"10.100.0.10:53 > " + one, "10.100.0.10:54 > " + two},
			[]string{"10.100.0.10:54 > " + one, "*192.168.1.50:30053 > " + one}},
		{"UDP became TCP", []service.ServicePort{dns(one)}, []service.ServicePort{tcp},
			[]string{"10.100.0.10:53 > " + one}, []string{"10.100.0.10:53 > 10.100.0.10:53"}},
		{"only TCP", []service.ServicePort{tcp}, nil, nil, []string{"10.100.0.10:53 > " + one}},
		{"nothing", []service.ServicePort{dns(one)}, []service.ServicePort{dns(one)},
			nil, []string{"10.100.0.10:53 > " + two}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l Ledger
			l.Set(key("dns"), tt.before)
			l.Stale()
			l.Set(key("dns"), tt.after)
			s := l.Stale()
			if s.Empty() != (len(tt.stale) == 0) {
				t.Errorf("empty %v", s.Empty())
			}
			judge(t, s, tt.stale, true)
			judge(t, s, tt.stay, false)
			for _, text := range tt.stale {
				if l.Leads(parseFlow(t, text)) {
					t.Errorf("%s leads to an endpoint", text)
				}
			}
			if !l.Stale().Empty() {
				t.Error("the second call has something to look at, too")
			}
			judge(t, s.Then(l.Stale()), tt.stale, true)
		})
	}
}

func judge(t *testing.T, s Sweep, flows []string, want bool) {
	t.Helper()
	for _, text := range flows {
		if got := s.Stale(parseFlow(t, text)); got != want {
			t.Errorf("%s: stale %v", text, got)
		}
	}
}

// parseFlow reads "to > from", with * in front if that is the node's address.
func parseFlow(t *testing.T, s string) Flow {
	t.Helper()
	var to, from string
	if _, err := fmt.Sscanf(s, "%s > %s", &to, &from); err != nil {
		t.Fatalf("flow %q: %v", s, err)
	}
	local := to[0] == '*'
	if local {
		to = to[1:]
	}
	return Flow{To: at(to), From: at(from), Local: local}
}

func TestHostPorts(t *testing.T) {
	port := func(h service.HostPort, f service.Family, serving string) []service.ServicePort {
		return []service.ServicePort{{
			Name:   service.PortName{Key: key("pod"), Protocol: service.UDP},
			Family: f, HostPort: h, Serving: []netip.AddrPort{at(serving)},
		}}
	}
	var l Ledger
	l.Set(key("all"), port(service.HostPort{Port: 8053}, service.IPv4, one))
	l.Set(key("one"), port(service.HostPort{Addr: addr("192.168.1.50"), Port: 8053}, service.IPv4, two))
	l.Set(key("six"), port(service.HostPort{Port: 8053}, service.IPv6, "[fd00::61]:5353"))
	l.Stale()
	l.Set(key("all"), port(service.HostPort{Port: 8053}, service.IPv4, three))
	s := l.Stale()
	judge(t, s, []string{"*127.0.0.1:8053 > " + one}, true)
	judge(t, s, []string{"*192.168.1.50:8053 > " + two, "*127.0.0.1:8053 > " + three, "*[fd00::1]:8053 > [fd00::61]:5353"}, false)
	l.Set(key("six"), nil)
	s = l.Stale()
	judge(t, s, []string{"*[fd00::1]:8053 > [fd00::61]:5353"}, true)
	judge(t, s, []string{"*127.0.0.1:8053 > " + one, "[2001:db8::1]:8053 > [fd00::61]:5353"}, false)
}

// TestFrontEndMoves lets a service take a front end over from another, in both
// orders.
func TestFrontEndMoves(t *testing.T) {
	for _, first := range []string{"old", "new"} {
		var l Ledger
		l.Set(key("old"), []service.ServicePort{dns(one)})
		l.Stale()
		if first == "old" {
			l.Set(key("old"), nil)
		}
		l.Set(key("new"), []service.ServicePort{dns(two)})
		if first == "new" {
			l.Set(key("old"), nil)
		}
		s := l.Stale()
		judge(t, s, []string{"10.100.0.10:53 > " + one}, true)
		judge(t, s, []string{"10.100.0.10:53 > " + two}, false)
	}
}

// TestModel makes random changes, and lets flows live under them: whatever the
// order, after each sweep no flow leads where its front end does not, and none
// that led right went.
func TestModel(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var l Ledger
		now := map[string]service.ServicePort{}
		flows := map[Flow]bool{}
		for range 60 {
			for range 1 + r.IntN(3) {
				change(r, &l, now)
			}
			s := l.Stale()
			for f := range flows {
				right := rightful(now, f)
				if s.Stale(f) && right {
					t.Fatalf("seed %d: %+v went, with %+v", seed, f, now)
				}
				if !s.Stale(f) && !right {
					t.Fatalf("seed %d: %+v stayed, with %+v", seed, f, now)
				}
				if s.Stale(f) {
					delete(flows, f)
				}
			}
			for range 10 { // the kernel makes flows by the rules
				to := randomFront(r)
				f := Flow{To: to, From: to, Local: to.Port() == 30053}
				if e := leads(now, to); len(e) > 0 {
					f.From = e[r.IntN(len(e))]
				}
				flows[f] = true
			}
		}
	}
}

// change sets one of three services, each with a cluster IP of its own, and the
// node port with one of them.
func change(r *rand.Rand, l *Ledger, now map[string]service.ServicePort) {
	i := r.IntN(3)
	name := fmt.Sprint(i)
	if r.IntN(4) == 0 {
		delete(now, name)
		l.Set(key(name), nil)
		return
	}
	p := service.ServicePort{
		Name:   service.PortName{Key: key(name), Protocol: service.UDP},
		Family: service.IPv4, ClusterIP: netip.AddrFrom4([4]byte{10, 100, 0, byte(i)}), Port: uint16(53 + r.IntN(2)),
	}
	if i == 0 {
		p.NodePort = 30053
	}
	for _, e := range []string{one, two, three} {
		if r.IntN(2) == 0 {
			p.Serving = append(p.Serving, at(e))
		}
	}
	now[name] = p
	l.Set(key(name), []service.ServicePort{p})
}

func randomFront(r *rand.Rand) netip.AddrPort {
	if r.IntN(4) == 0 {
		return at("192.168.1.50:30053")
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 100, 0, byte(r.IntN(3))}), uint16(53+r.IntN(2)))
}

// leads is where a front end leads, by the services as they are.
func leads(now map[string]service.ServicePort, to netip.AddrPort) []netip.AddrPort {
	for _, p := range now {
		if to == netip.AddrPortFrom(p.ClusterIP, p.Port) || p.NodePort != 0 && to.Port() == p.NodePort {
			return p.Serving
		}
	}
	return nil
}

// rightful says whether the rules of now would make the flow what it is.
func rightful(now map[string]service.ServicePort, f Flow) bool {
	e := leads(now, f.To)
	return len(e) == 0 && f.To == f.From || slices.Contains(e, f.From)
}
