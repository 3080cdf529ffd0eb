package e2e

import (
	"net/netip"
	"testing"

	"github.com/causeway-cni/causeway/scripts/e2e/walks"
)

// TestWalks sends packets along every walk, with services in each mode; the
// fabric must not have dropped one of them.
func TestWalks(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			walkAll(t, mode)
		})
	}
}

func walkAll(t *testing.T, mode string) {
	s := raise(t, "")
	s.lab.ProxyMode = mode
	world, err := walks.Settle(s.ctx, s.lab, t.Logf)
	s.must(err)
	for _, w := range walks.List() {
		t.Run(w.Number, func(t *testing.T) {
			steps, err := w.Run(s.ctx, world)
			if err != nil {
				t.Error(err)
			}
			for _, step := range steps {
				t.Logf("%s -> %s: %s", step.From, step.To, step.Saw)
			}
		})
	}
	drops, err := s.lab.SourceCheckDrops(s.ctx)
	s.must(err)
	if drops != 0 {
		t.Errorf("the source check dropped %d packets, want 0", drops)
	}
}

// TestSourceCheck proves that the fabric's check is one: a pod of a secondary
// ENI whose rule is gone sends by the primary ENI, and gets no answer.
func TestSourceCheck(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "AWS_VPC_K8S_CNI_EXTERNALSNAT=true")
	pods := s.addUntil(node, 1)
	pod := pods[len(pods)-1]
	peer := netip.MustParseAddrPort("172.31.0.10:7")
	if _, err := pod.Probe(s.ctx, "tcp", peer, 1); err != nil {
		t.Fatalf("before: %v", err)
	}
	s.must(node.Daemon().Stop())
	s.shell(node, "ip rule del priority 1536 from "+pod.IP.String())
	if _, err := pod.Probe(s.ctx, "udp", peer, 1); err == nil {
		t.Errorf("a packet from %s left by the primary ENI and was answered", pod.IP)
	}
	drops, err := s.lab.Control.Drops(s.ctx)
	s.must(err)
	status, err := node.Status(s.ctx)
	s.must(err)
	for _, d := range drops {
		if d.ENI == status.Interfaces[0].ID && d.Packets > 0 {
			t.Logf("dropped: %+v", d)
			return
		}
	}
	t.Errorf("no drop is counted at the primary ENI %s: %+v", status.Interfaces[0].ID, drops)
}
