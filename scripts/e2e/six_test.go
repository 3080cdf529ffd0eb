package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// sixes are two nodes in two subnets that have IPv6.
const sixes = `
vpc: {cidr: 10.0.0.0/16, ipv6CIDRs: ["2001:db8:0:100::/56"]}
subnets:
- {name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8:0:101::/64"}
- {name: b, cidr: 10.0.1.0/24, ipv6CIDR: "2001:db8:0:102::/64"}
nodes: [{name: n1, subnet: a, type: t3.small}, {name: n2, subnet: b, type: t3.small}]
`

// meet proves that pods reach each other by each of their addresses, over TCP and
// UDP, that each sees the other's own address, and that ICMP errors come back.
func (s *story) meet(from, to *harness.Pod) {
	s.Helper()
	for i, ip := range to.IPs {
		for _, proto := range []string{"tcp", "udp"} {
			answers, err := from.Probe(s.ctx, proto, netip.AddrPortFrom(ip, harness.Port), 2)
			s.must(err)
			if got := answers[1].Source.Addr(); got != from.IPs[i] {
				s.Errorf("%s sees %s as %s over %s, want %s", to.Name, from.Name, got, proto, from.IPs[i])
			}
		}
		told, err := from.Prober().Try(s.ctx, "udp", netip.AddrPortFrom(ip, 9), 1, 3*time.Second)
		s.must(err)
		if told[0].Fate() != harness.Refused {
			s.Errorf("%s asks %s at a port that is closed: %s (%s)", from.Name, ip, told[0].Fate(), told[0].Error)
		}
	}
}

// noDrops proves that no packet left by an ENI that does not own its source.
func (s *story) noDrops() {
	s.Helper()
	drops, err := s.lab.SourceCheckDrops(s.ctx)
	if err != nil || drops > 0 {
		s.Errorf("the VPC's source check dropped %d packets (%v)", drops, err)
	}
}

// prefixes6 are the /80s that EC2 has given to a node's ENIs, by device.
func (s *story) prefixes6(node *harness.Node) map[int]netip.Prefix {
	s.Helper()
	status, err := node.Status(s.ctx)
	s.must(err)
	out := map[int]netip.Prefix{}
	for _, e := range status.Interfaces {
		for _, p := range e.Prefixes {
			if p.Addr().Is6() {
				out[e.DeviceIndex] = p
			}
		}
	}
	return out
}

// wired is what routes to an address on a node.
func (s *story) wired(node *harness.Node, ip netip.Addr) (lines []string) {
	s.Helper()
	for _, command := range []string{"ip -6 rule", "ip -6 route show table all", "ip rule", "ip route show table all"} {
		for line := range strings.Lines(s.shell(node, command)) {
			if slices.Contains(strings.Fields(line), ip.String()) && !strings.Contains(line, "table local") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
	}
	return lines
}

// gone proves that nothing of a deleted pod is left: it cools down in the book,
// and nothing routes to it.
func (s *story) gone(p *harness.Pod) {
	s.Helper()
	s.must(p.Del(s.ctx))
	for _, ip := range p.IPs {
		if text := s.shell(p.Node, "cat /run/causeway/book/"+ip.String()); !strings.Contains(text, `"cooling"`) {
			s.Errorf("%s of a deleted pod: the book says %s, want cooling", ip, text)
		}
		if lines := s.wired(p.Node, ip); len(lines) > 0 {
			s.Errorf("%s of a deleted pod is routed: %q", ip, lines)
		}
	}
}

// TestIPv6 gives pods an IPv6 address and no other, all of one /80 on the
// primary ENI, with their own address to be seen everywhere.
func TestIPv6(t *testing.T) {
	t.Parallel()
	s := raise(t, sixes)
	env := []string{"ENABLE_IPv4=false", "ENABLE_IPv6=true", "ENABLE_PREFIX_DELEGATION=true"}
	n1, n2 := s.start("n1", env...), s.start("n2", env...)
	one, two, far := s.add(n1, "one"), s.add(n1, "two"), s.add(n2, "far")
	block := s.prefixes6(n1)[0]
	if len(one.IPs) != 1 || !block.Contains(one.IP) || !block.Contains(two.IP) || len(s.prefixes6(n1)) != 1 || block.Bits() != 80 {
		t.Errorf("pods have %v and %v, ENIs have %v; want one address each, of a /80 of the primary ENI", one.IPs, two.IPs, s.prefixes6(n1))
	}
	s.holds(n1, 1, 1, 1) // nothing of IPv4; the address is the node's own of IPv6
	s.meet(one, two)
	s.meet(one, far)
	s.meet(far, two)
	s.reach(one, two, far)
	s.must(one.Check(s.ctx))

	s.restart(n1, env...)
	s.must(one.Check(s.ctx))
	s.meet(one, far)
	s.gone(one)
	third := s.add(n1, "third")
	if third.IP == one.IP || third.IP == two.IP {
		t.Errorf("%s was handed out again at once", third.IP)
	}
	s.meet(far, third)
	s.noDrops()
}

// TestDualStack gives each pod an address of each family, both of one ENI, in
// one ADD, on the primary and on a secondary ENI.
func TestDualStack(t *testing.T) {
	t.Parallel()
	s := raise(t, sixes)
	quick := []string{"IP_COOLDOWN_PERIOD=60", "ENABLE_IPv6=true"}
	n1, n2 := s.start("n1", "IP_COOLDOWN_PERIOD=60"), s.start("n2", quick...)
	old := s.add(n1, "old")
	s.restart(n1, quick...) // a node that had IPv4 only
	pods := s.addUntil(n1, 1)
	far := s.add(n2, "far")
	first, last := pods[0], pods[len(pods)-1]
	for _, p := range append(pods, far) {
		block := s.prefixes6(p.Node)[p.Device]
		if len(p.IPs) != 2 || !p.IPs[0].Is4() || !block.Contains(p.IPs[1]) || block.Bits() != 80 {
			t.Errorf("%s has %v on device %d, which has %s; want an address of each family of one ENI", p.Name, p.IPs, p.Device, block)
		}
	}
	for _, p := range []*harness.Pod{first, last} {
		s.meet(p, far)
		s.meet(far, p)
		s.must(p.Check(s.ctx))
	}
	s.meet(first, last)
	s.reach(append(pods, old, far)...)

	// CHECK sees what is missing of either family, and the daemon puts it back.
	s.shell(n1, fmt.Sprintf("ip -6 route del %s && ip -6 rule del from %s", last.IPs[1], last.IPs[1]))
	s.within(20*time.Second, func() error { return last.Check(s.ctx) })
	if _, err := last.Exec(s.ctx, "ip", "-6", "addr", "del", last.IPs[1].String()+"/128", "dev", "eth0"); err != nil {
		t.Fatal(err)
	}
	if err := last.Check(s.ctx); err == nil || !strings.Contains(err.Error(), last.IPs[1].String()) {
		t.Errorf("CHECK of a pod without its IPv6 address: %v", err)
	}
	_, err := last.Exec(s.ctx, "sh", "-c", fmt.Sprintf("ip -6 addr add %s/128 dev eth0 nodad && ip -6 route replace default via fe80::1 dev eth0", last.IPs[1]))
	s.must(err)

	// A daemon that lost its book finds both in the kernel.
	s.must(n1.Daemon().Stop())
	s.shell(n1, "rm -r /run/causeway/book")
	s.start("n1", quick...)
	s.must(n1.AwaitReady(s.ctx))
	s.meet(last, far)
	s.meet(far, first)
	s.gone(last)
	again := s.add(n1, "again")
	if again.IPs[0] == last.IPs[0] || slices.Contains(last.IPs, again.IPs[1]) {
		t.Errorf("%v was handed out, and %v cool down", again.IPs, last.IPs)
	}
	s.meet(again, far)
	s.noDrops()
}

// TestNoIPv6 says why a pod cannot have two addresses: the subnet has no IPv6.
func TestNoIPv6(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "ENABLE_IPv6=true", "CAUSEWAY_ASSIGN_WAIT=2s")
	if refusal := s.refused(node, "pod"); !strings.Contains(refusal.Msg, "no IPv6 CIDR block") {
		t.Errorf("ADD: %q %q, want that there is no IPv6", refusal.Msg, refusal.Details)
	}
}

// TestIPv6NeedsPrefixes refuses a type that has none.
func TestIPv6NeedsPrefixes(t *testing.T) {
	t.Parallel()
	s := raise(t, `nodes: [{name: n1, subnet: a, type: t2.small}]`)
	daemon, err := s.lab.Node("n1").StartIpamd("ENABLE_IPv6=true")
	s.must(err)
	if err := daemon.Wait(s.ctx); err == nil {
		t.Error("ipamd ran, and ended without an error")
	}
	text, err := os.ReadFile(daemon.Log)
	s.must(err)
	if !strings.Contains(string(text), "instance type t2.small takes no prefixes") {
		t.Errorf("log:\n%s", text)
	}
}
