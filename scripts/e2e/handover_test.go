package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// pinged is a pod with pings under way from it.
type pinged struct {
	*harness.Pod
	*harness.Pings
}

// TestHandOver takes a node with 20 pods over from aws-node, by its book, lets
// pods come and go, and gives the node back. Each pod sends to another node all
// the while, by its own ENI: no answer may be lost.
func TestHandOver(t *testing.T) {
	t.Parallel()
	s := raise(t, `
nodes: [{name: n1, subnet: a, type: m5.large}, {name: n2, subnet: a, type: t3.small}]
`)
	node, far := s.lab.Node("n1"), s.lab.Node("n2")
	s.must(far.Serve(s.ctx))
	status, err := far.Status(s.ctx)
	s.must(err)
	target := netip.AddrPortFrom(status.Interfaces[0].Addresses[0], harness.Port)

	pods, gone := s.asAWSNodeLeftIt(node, target)
	s.keepAnswered(pods, 5)
	before := s.shell(node, "ip -4 rule; ip -4 route; ip -4 route show table 2; ip -4 route show table 3; ip -br link | grep ^eni")
	s.start("n1")
	after := s.shell(node, "ip -4 rule; ip -4 route; ip -4 route show table 2; ip -4 route show table 3; ip -br link | grep ^eni")
	for _, line := range lines(before) {
		if !strings.Contains(after, line) {
			t.Errorf("the take-over lost %q:\n%s", line, after)
		}
	}
	s.keepAnswered(pods, 5)
	s.bookHolds(node, pods)
	if e := s.book(node)[gone.String()]; e.State != "cooling" {
		t.Errorf("%s, whose pod was gone before: %+v", gone, e)
	}

	held := map[netip.Addr]string{gone: "gone"}
	for _, p := range pods {
		held[p.IP] = p.Name
	}
	for _, name := range []string{"old0", "old9", "old18", "old19"} { // one of them on each ENI
		pods = s.endPinged(node, pods, name)
	}
	for i := range 4 {
		p := s.pinged(s.add(node, fmt.Sprintf("new%d", i)), target)
		if owner, taken := held[p.IP]; taken {
			t.Errorf("%s was given %s, which %s has or had just now", p.Name, p.IP, owner)
		}
		pods = append(pods, p)
	}
	s.keepAnswered(pods, 5)
	s.bookHolds(node, pods)

	if out := s.export(node); !strings.Contains(out, "warning: ipamd runs") {
		t.Errorf("an export beside the daemon says %q", out)
	}
	pods = s.endPinged(node, pods, "new0")
	s.must(node.Daemon().Stop())
	if out, want := s.export(node), fmt.Sprintf("wrote %d of %d assignments to %s\n", len(pods), len(pods), ipamFile); out != want {
		t.Errorf("export says %q, want %q", out, want)
	}
	s.ipamHolds(node, pods)
	s.keepAnswered(pods, 5)
	s.start("n1") // the operator thought better of it
	s.bookHolds(node, pods)
	s.must(node.Daemon().Stop())
	pods = s.awsNodeMeanwhile(node, pods, target)
	s.start("n1")
	s.bookHolds(node, pods)
	s.keepAnswered(pods, 5)
	for _, p := range pods {
		p.Stop()
		s.noneLost(p)
	}
}

// asAWSNodeLeftIt makes 20 pods on three ENIs, all pinging, and a book with
// them and with one that is gone, whose address is returned.
func (s *story) asAWSNodeLeftIt(node *harness.Node, target netip.AddrPort) (pods []pinged, gone netip.Addr) {
	s.Helper()
	var entries []ipamEntry
	var wired []*harness.Pod
	for device, count := range []int{9, 9, 3} {
		var addresses []netip.Addr
		if device == 0 {
			addresses = s.assignByHand(node, count)
		} else {
			addresses = s.attachByHand(node, device, count)
		}
		for _, address := range addresses {
			name := fmt.Sprintf("old%d", len(entries))
			entries = append(entries, ipamOf(name, address))
			if len(entries) > 20 {
				gone = address
				break
			}
			wired = append(wired, s.wireByHand(node, name, address, device))
		}
	}
	s.writeIPAM(node, entries)
	for _, p := range wired {
		pods = append(pods, s.pinged(p, target))
	}
	return pods, gone
}

// awsNodeMeanwhile does as aws-node would for a while: one pod goes, another
// gets its address. Our own book then says nothing good of it.
func (s *story) awsNodeMeanwhile(node *harness.Node, pods []pinged, target netip.AddrPort) []pinged {
	s.Helper()
	i := slices.IndexFunc(pods, func(p pinged) bool { return p.Name == "old1" })
	was := pods[i]
	was.Stop()
	s.noneLost(was)
	s.must(was.Remove(s.ctx))
	s.shell(node, "ip rule del priority 512 to "+was.IP.String())
	link := "eni" + hostHash("old1")
	s.within(5*time.Second, func() error {
		if out := s.shell(node, "ip -br link"); strings.Contains(out, link) {
			return fmt.Errorf("%s is there", link)
		}
		return nil
	})
	now := append(slices.Delete(slices.Clone(pods), i, i+1), s.pinged(s.wireByHand(node, "late", was.IP, 0), target))
	var entries []ipamEntry
	for _, p := range now {
		entries = append(entries, ipamOf(p.Name, p.IP))
	}
	s.writeIPAM(node, entries)
	return now
}

func (s *story) pinged(p *harness.Pod, target netip.AddrPort) pinged {
	s.Helper()
	pings, err := p.Prober().Ping(target, 100*time.Millisecond, time.Second)
	s.must(err)
	s.Cleanup(pings.Stop)
	return pinged{p, pings}
}

// endPinged deletes a pod that lost nothing while it lived, and returns the
// others.
func (s *story) endPinged(node *harness.Node, pods []pinged, name string) []pinged {
	s.Helper()
	i := slices.IndexFunc(pods, func(p pinged) bool { return p.Name == name })
	p := pods[i]
	p.Stop()
	s.noneLost(p)
	s.must(p.Del(s.ctx))
	if e := s.book(node)[p.IP.String()]; e.State != "cooling" {
		s.Errorf("%s after DEL of %s: %+v", p.IP, p.Name, e)
	}
	if left := s.traces(node, p.IP.String()); len(left) > 0 {
		s.Errorf("DEL of %s leaves\n%s", p.Name, strings.Join(left, "\n"))
	}
	s.must(p.Remove(s.ctx))
	return slices.Delete(slices.Clone(pods), i, i+1)
}

// keepAnswered waits until each pod has so many more answers.
func (s *story) keepAnswered(pods []pinged, more int) {
	s.Helper()
	want := map[string]int{}
	for _, p := range pods {
		had, _, err := p.Count()
		s.must(err)
		want[p.Name] = had + more
	}
	for _, p := range pods {
		s.within(20*time.Second, func() error {
			answered, lost, err := p.Count()
			if err == nil && answered < want[p.Name] {
				err = fmt.Errorf("%s (%s) has %d answers and %d losses, want %d answers", p.Name, p.IP, answered, len(lost), want[p.Name])
			}
			return err
		})
	}
}

func (s *story) noneLost(p pinged) {
	s.Helper()
	answered, lost, err := p.Count()
	s.must(err)
	s.Logf("%s: %d pings answered, %d lost", p.Name, answered, len(lost))
	if len(lost) > 0 || answered == 0 {
		s.Errorf("%s (%s): %d pings answered, %d lost, the first: %+v", p.Name, p.IP, answered, len(lost), lost[:min(1, len(lost))])
	}
}

// bookHolds demands that our book has the container of each pod, and no more.
func (s *story) bookHolds(node *harness.Node, pods []pinged) {
	s.Helper()
	got := map[string]string{}
	for address, e := range s.book(node) {
		if e.State == "assigned" {
			got[address] = e.Container
		}
	}
	if d := cmp.Diff(containers(pods), got); d != "" {
		s.Errorf("our book (-want +got):\n%s", d)
	}
}

// ipamHolds demands the same of aws-node's book.
func (s *story) ipamHolds(node *harness.Node, pods []pinged) {
	s.Helper()
	book := s.readIPAM(node)
	got := map[string]string{}
	for _, e := range book.Allocations {
		got[e.IPv4.String()] = e.Container
		want := ipamOf(e.Container, e.IPv4)
		if want.Timestamp = e.Timestamp; e != want || e.Timestamp == 0 {
			s.Errorf("entry %+v, want %+v", e, want)
		}
	}
	if d := cmp.Diff(containers(pods), got); d != "" || book.Version != "vpc-cni-ipam/1" || len(book.Allocations) != len(pods) {
		s.Errorf("aws-node's book, version %q, %d entries (-want +got):\n%s", book.Version, len(book.Allocations), d)
	}
}

func containers(pods []pinged) map[string]string {
	out := map[string]string{}
	for _, p := range pods {
		out[p.IP.String()] = p.Name
	}
	return out
}

// export runs `ipamd export` on a node, and returns all that it says.
func (s *story) export(node *harness.Node) string {
	s.Helper()
	return s.shell(node, programs.Ipamd+" export 2>&1")
}
