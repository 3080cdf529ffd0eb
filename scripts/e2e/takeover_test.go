package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// TestTakeOver starts the daemon on a node where another agent has wired pods,
// one on each ENI. They never lose their network, nobody else gets their
// addresses, and DEL releases them.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.lab.Node("n1")
	onSecondary := s.attachByHand(node, 1, 1)[0]
	onPrimary := s.assignByHand(node, 1)[0]
	old := []*harness.Pod{s.wireByHand(node, "old1", onPrimary, 0), s.wireByHand(node, "old2", onSecondary, 1)}
	for _, p := range old {
		s.must(p.Serve(s.ctx))
	}
	s.reach(old...)
	before := s.shell(node, "ip -4 rule; ip -4 route; ip -4 route show table 2; ip -br link | grep ^eni")

	s.start("n1")
	s.reach(old...)
	after := s.shell(node, "ip -4 rule; ip -4 route; ip -4 route show table 2; ip -br link | grep ^eni")
	for _, line := range lines(before) {
		if !strings.Contains(after, line) {
			t.Errorf("the take-over lost %q:\n%s", line, after)
		}
	}
	for _, p := range old {
		if e := s.book(node)[p.IP.String()]; e.State != "assigned" || !e.Adopted {
			t.Errorf("%s is %+v, want it assigned and adopted", p.IP, e)
		}
	}
	var fresh []*harness.Pod // all that the node can hold besides
	for i := range 3*3 - len(old) {
		p := s.add(node, fmt.Sprintf("pod%d", i+1))
		if p.IP == onPrimary || p.IP == onSecondary {
			t.Errorf("%s was given %s, which another pod has", p.Name, p.IP)
		}
		fresh = append(fresh, p)
	}
	s.reach(append(fresh, old...)...)
	peer := netip.MustParseAddrPort("203.0.113.10:7")
	for _, p := range old {
		if _, err := p.Probe(s.ctx, "udp", peer, 1); err != nil {
			t.Errorf("%s to the internet: %v", p.Name, err)
		}
		s.must(p.Del(s.ctx))
		if e := s.book(node)[p.IP.String()]; e.State != "cooling" {
			t.Errorf("%s after DEL: %+v", p.IP, e)
		}
		if left := s.traces(node, p.IP.String()); len(left) > 0 {
			t.Errorf("DEL of %s leaves\n%s", p.Name, strings.Join(left, "\n"))
		}
		s.must(p.Remove(s.ctx))
	}
	s.reach(fresh...)
}
