package conntrack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// network is a client, a node and two pods behind it: three namespaces, with
// both families.
type network struct {
	t                  testing.TB
	client, node, pods *nstest.Namespace
	ledger             Ledger
}

// family has the addresses of one family.
type family struct {
	service.Family
	client, node, cluster netip.Addr
	one, two              netip.AddrPort
}

var (
	four = family{service.IPv4, addr("192.168.8.2"), addr("192.168.8.1"), addr("10.100.0.10"),
		at("192.168.9.61:5353"), at("192.168.9.62:5353")}
	six = family{service.IPv6, addr("fd00:8::2"), addr("fd00:8::1"), addr("fd00:100::10"),
		at("[fd00:9::61]:5353"), at("[fd00:9::62]:5353")}
)

func newNetwork(t testing.TB) *network {
	n := &network{t: t, client: nstest.New(t), node: nstest.New(t), pods: nstest.New(t)}
	for _, ns := range []*nstest.Namespace{n.client, n.node, n.pods} {
		ns.Run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0", "net.ipv6.conf.default.accept_dad=0")
	}
	nstest.Join(n.client, "eth0", n.node, "client")
	nstest.Join(n.node, "pods", n.pods, "eth0")
	add := func(ns *nstest.Namespace, link string, addrs ...string) {
		for _, a := range addrs {
			ns.Run("ip", "addr", "add", a, "dev", link, "nodad")
		}
	}
	add(n.client, "eth0", "192.168.8.2/24", "fd00:8::2/64")
	add(n.node, "client", "192.168.8.1/24", "fd00:8::1/64")
	add(n.node, "pods", "192.168.9.1/24", "fd00:9::1/64")
	add(n.pods, "eth0", "192.168.9.61/24", "192.168.9.62/24", "fd00:9::61/64", "fd00:9::62/64")
	for _, via := range []struct {
		ns *nstest.Namespace
		at string
	}{{n.client, "8"}, {n.pods, "9"}} {
		via.ns.Run("ip", "route", "add", "default", "via", "192.168."+via.at+".1")
		via.ns.Run("ip", "route", "add", "default", "via", "fd00:"+via.at+"::1")
	}
	n.node.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	// What has no other way goes to the pods, and ends there.
	n.node.Run("ip", "route", "add", "default", "via", "192.168.9.61")
	n.node.Run("ip", "route", "add", "default", "via", "fd00:9::61")
	n.rules()
	return n
}

// rules makes "front end -> endpoint" the node's NAT. A rule that asks for a
// state keeps connection tracking on when there is no pair.
func (n *network) rules(pairs ...[2]netip.AddrPort) {
	n.t.Helper()
	var dnat strings.Builder
	for _, p := range pairs {
		ip := "ip"
		if p[0].Addr().Is6() {
			ip = "ip6"
		}
		fmt.Fprintf(&dnat, "%s daddr %s udp dport %d dnat %s to %s\n", ip, p[0].Addr(), p[0].Port(), ip, p[1])
	}
	n.node.Feed("table inet t {}\nflush table inet t\ntable inet t { chain c { type nat hook prerouting priority dstnat;\n"+dnat.String()+"ct state invalid counter\n}\n}\n", "nft", "-f", "-")
}

// fronts of a service: its cluster IP and its node port at the node's address.
func (f family) fronts(e netip.AddrPort) [][2]netip.AddrPort {
	return [][2]netip.AddrPort{
		{netip.AddrPortFrom(f.cluster, 53), e},
		{netip.AddrPortFrom(f.node, 30053), e},
	}
}

func (f family) port(serving ...netip.AddrPort) []service.ServicePort {
	return []service.ServicePort{{
		Name:   service.PortName{Key: key("dns"), Protocol: service.UDP},
		Family: f.Family, ClusterIP: f.cluster, Port: 53, NodePort: 30053, Serving: serving,
	}}
}

// clean does what the daemon does after it wrote rules.
func (n *network) clean(ports []service.ServicePort) (deleted int) {
	n.t.Helper()
	n.ledger.Set(key("dns"), ports)
	var err error
	n.node.Do(func() { deleted, err = Delete(n.t.Context(), n.ledger.Stale(), n.ledger.Leads) })
	if err != nil {
		n.t.Fatal(err)
	}
	return deleted
}

// listen is a socket inside a namespace, closed with the test.
func listen(t testing.TB, ns *nstest.Namespace, at netip.AddrPort) (conn *net.UDPConn) {
	t.Helper()
	var err error
	ns.Do(func() { conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestFlows has one sender that never closes its socket, nor waits for an
// answer.
func TestFlows(t *testing.T) {
	type change struct {
		name          string
		before, after func(family) (rules [][2]netip.AddrPort, ports []service.ServicePort)
		first, second func(family) netip.AddrPort // who receives; invalid for nobody
		deleted       int
	}
	none := func(family) netip.AddrPort { return netip.AddrPort{} }
	one := func(f family) netip.AddrPort { return f.one }
	two := func(f family) netip.AddrPort { return f.two }
	leads := func(to func(family) netip.AddrPort, serving ...func(family) netip.AddrPort) func(family) ([][2]netip.AddrPort, []service.ServicePort) {
		return func(f family) (rules [][2]netip.AddrPort, ports []service.ServicePort) {
			if e := to(f); e.IsValid() {
				rules = f.fronts(e)
			}
			var all []netip.AddrPort
			for _, s := range serving {
				all = append(all, s(f))
			}
			return rules, f.port(all...)
		}
	}
	gone := func(family) ([][2]netip.AddrPort, []service.ServicePort) { return nil, nil }
	changes := []change{
		{"K6 endpoint replaced", leads(one, one), leads(two, two), one, two, 2},
		{"K7 last endpoint gone", leads(one, one), leads(none), one, none, 2},
		{"K8 service deleted", leads(one, one), gone, one, none, 2},
		{"K9 endpoint terminates and serves", leads(one, one), leads(two, one, two), one, one, 0},
		{"first endpoint", leads(none), leads(one, one), none, one, 2},
	}
	for _, f := range []family{four, six} {
		for _, c := range changes {
			t.Run(f.String()+" "+c.name, func(t *testing.T) {
				n := newNetwork(t)
				servers := map[netip.AddrPort]*net.UDPConn{f.one: listen(t, n.pods, f.one), f.two: listen(t, n.pods, f.two)}
				client := listen(t, n.client, netip.AddrPortFrom(f.client, 0))
				send := func(text string, want netip.AddrPort) {
					t.Helper()
					for _, front := range f.fronts(f.one) {
						to := front[0]
						text := text + " " + to.String()
						write(t, client, text, to)
						if server := servers[want]; server != nil {
							receive(t, server, text)
						}
						for range 2 { // what comes to a pod directly, twice, overtakes nothing
							for at, server := range servers {
								write(t, client, "end", at)
								receive(t, server, "end")
							}
						}
					}
				}
				rules, ports := c.before(f)
				n.rules(rules...)
				n.clean(ports)
				send("before", c.first(f))
				rules, ports = c.after(f)
				n.rules(rules...)
				send("between", c.first(f))
				if got := n.clean(ports); got != c.deleted {
					t.Errorf("deleted %d flows, want %d", got, c.deleted)
				}
				send("after", c.second(f))
			})
		}
	}
}

func write(t testing.TB, conn *net.UDPConn, text string, to netip.AddrPort) {
	t.Helper()
	for {
		// An ICMP error for an earlier packet is not about this one.
		if _, err := conn.WriteToUDPAddrPort([]byte(text), to); err == nil {
			return
		} else if !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatal(err)
		}
	}
}

// receive wants a packet to be the next that comes.
func receive(t testing.TB, conn *net.UDPConn, want string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, 100)
	n, err := conn.Read(b)
	if got := string(b[:n]); err != nil || got != want {
		t.Errorf("%s received %q, %v: want %q", conn.LocalAddr(), got, err, want)
	}
}

// fill makes flows to count ports of an address where nobody answers.
func (n *network) fill(count int) {
	n.t.Helper()
	client := listen(n.t, n.client, netip.AddrPortFrom(four.client, 0))
	for i := range count {
		to := netip.AddrFrom4([4]byte{192, 168, byte(200 + i/60000), 1})
		write(n.t, client, "fill", netip.AddrPortFrom(to, uint16(1+i%60000)))
	}
}

func (n *network) count() int {
	n.t.Helper()
	count, err := strconv.Atoi(strings.TrimSpace(n.node.Run("conntrack", "-C")))
	if err != nil {
		n.t.Fatal(err)
	}
	return count
}

// TestFewAmongMany leaves 20,000 flows of others alone, those to the same port
// and to the same pod included, however the kernel is asked.
func TestFewAmongMany(t *testing.T) {
	for _, fronts := range []int{1, 2 * narrowPorts} {
		t.Run(fmt.Sprint(fronts, " front ends"), func(t *testing.T) {
			n := newNetwork(t)
			listen(t, n.pods, four.one)
			n.rules(four.fronts(four.one)...)
			ports := four.port(four.one)
			for i := range fronts - 1 {
				p := ports[0]
				p.Port = uint16(1000 + i)
				ports = append(ports, p)
			}
			n.clean(ports)
			n.fill(20_000)
			for range 300 {
				client := listen(t, n.client, netip.AddrPortFrom(four.client, 0))
				write(t, client, "stale", netip.AddrPortFrom(four.cluster, 53))
				write(t, client, "stale", netip.AddrPortFrom(four.node, 30053))
				write(t, client, "straight", four.one)
			}
			before := n.count()
			if before < 20_900 {
				t.Fatalf("%d flows, want at least 20,900", before)
			}
			for i := range ports {
				ports[i].Serving = []netip.AddrPort{four.two}
			}
			if got := n.clean(ports); got != 600 {
				t.Errorf("deleted %d flows, want 600", got)
			}
			if after := n.count(); after != before-600 {
				t.Errorf("%d flows before, %d after", before, after)
			}
			if left := n.node.Run("conntrack", "-L", "-p", "udp", "--reply-src", four.one.Addr().String(), "--orig-dst", four.cluster.String()); strings.Contains(left, "udp") {
				t.Errorf("left:\n%s", left)
			}
		})
	}
}

// TestManyStale deletes 20,000 flows while it lists them: those of a service
// with a range of ports.
func TestManyStale(t *testing.T) {
	n := newNetwork(t)
	n.node.Feed("table inet t { chain c { ip daddr 10.100.0.10 udp dport 1-20000 dnat ip to 192.168.9.61:5353\n}\n}\n", "nft", "-f", "-")
	client := listen(t, n.client, netip.AddrPortFrom(four.client, 0))
	var ports []service.ServicePort
	for i := range 20_000 {
		p := four.port(four.one)[0]
		p.Port, p.NodePort = uint16(1+i), 0
		ports = append(ports, p)
		write(t, client, "x", netip.AddrPortFrom(four.cluster, p.Port))
	}
	n.clean(ports)
	if got := n.count(); got != 20_000 {
		t.Fatalf("%d flows, want 20,000", got)
	}
	if got, left := n.clean(nil), n.count(); got != 20_000 || left != 0 {
		t.Errorf("deleted %d flows, %d are left", got, left)
	}
}

// TestGoneMeanwhile deletes what is not there any more.
func TestGoneMeanwhile(t *testing.T) {
	n := newNetwork(t)
	n.rules(four.fronts(four.one)...)
	client := listen(t, n.client, netip.AddrPortFrom(four.client, 0))
	write(t, client, "x", netip.AddrPortFrom(four.cluster, 53))
	n.ledger.Set(key("dns"), four.port(four.two))
	n.node.Do(func() {
		c := cleaner{sweep: n.ledger.Stale(), leads: n.ledger.Leads}
		var err error
		if c.dump, err = dial(); err != nil {
			t.Fatal(err)
		}
		defer c.dump.close()
		if c.kill, err = dial(); err != nil {
			t.Fatal(err)
		}
		defer c.kill.close()
		var first []byte
		err = c.dump.list(t.Context(), appendList(nil, filter{family: 2, port: 53}, true), func(family uint8, attrs []byte) error {
			err := c.judge(family, attrs)
			first = append(first, c.batch...)
			return err
		})
		if err != nil || c.batched != 1 {
			t.Fatalf("%d found, %v", c.batched, err)
		}
		if err := c.flush(); err != nil || c.deleted != 1 {
			t.Errorf("deleted %d, %v", c.deleted, err)
		}
		write(t, client, "x", netip.AddrPortFrom(four.node, 30053))
		c.batch, c.batched = append(slices.Clone(first), first...), 2
		if err := c.flush(); err != nil || c.deleted != 1 {
			t.Errorf("deleted %d, %v: want none of what is gone", c.deleted, err)
		}
	})
	if got := n.count(); got != 1 {
		t.Errorf("%d flows, want the other one", got)
	}
}

func TestOldKernels(t *testing.T) {
	n := newNetwork(t)
	n.fill(100)
	n.node.Do(func() {
		s, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		for narrow, want := range map[bool]int{true: 1, false: 100} {
			got := 0
			err = s.list(t.Context(), appendList(nil, filter{family: 2, port: 7}, narrow), func(uint8, []byte) error { got++; return nil })
			if err != nil || got != want {
				t.Errorf("narrow %v: %d flows, %v: want %d", narrow, got, err, want)
			}
		}
	})
}

func TestDeleteEnds(t *testing.T) {
	n := newNetwork(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	n.ledger.Set(key("dns"), four.port(four.two))
	n.node.Do(func() {
		if _, err := Delete(ctx, n.ledger.Stale(), n.ledger.Leads); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want the context's", err)
		}
		if deleted, err := Delete(ctx, Sweep{}, n.ledger.Leads); deleted != 0 || err != nil {
			t.Errorf("nothing to do: %d, %v", deleted, err)
		}
	})
}

// BenchmarkSweep goes through 100,000 flows, of which none is stale.
func BenchmarkSweep(b *testing.B) {
	for name, fronts := range map[string]int{"one": 1, "many": 2 * narrowPorts} {
		b.Run(name, func(b *testing.B) {
			n := newNetwork(b)
			n.fill(100_000)
			var ports []service.ServicePort
			for i := range fronts {
				p := four.port(four.one)[0]
				p.NodePort, p.Port = 0, uint16(53+i)
				ports = append(ports, p)
			}
			n.ledger.Set(key("dns"), ports)
			s := n.ledger.Stale()
			b.ReportAllocs()
			for b.Loop() {
				n.node.Do(func() {
					if _, err := Delete(b.Context(), s, n.ledger.Leads); err != nil {
						b.Fatal(err)
					}
				})
			}
			b.ReportMetric(float64(n.count()), "flows")
		})
	}
}
