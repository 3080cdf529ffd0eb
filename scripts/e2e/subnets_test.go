package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestExternalServices has blocks that the main table routes also for the pods
// of a secondary ENI, for as long as the setting names them.
func TestExternalServices(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "AWS_EXTERNAL_SERVICE_CIDRS=203.0.113.0/24, 192.0.2.0/24")
	pods := s.addUntil(node, 1)
	pod := pods[len(pods)-1]
	leaves := func(destination, device string) error {
		route := s.shell(node, fmt.Sprintf("ip route get %s from %s iif %s", destination, pod.IP, link(pod)))
		if !strings.Contains(route, " dev "+device+" ") {
			return fmt.Errorf("from %s: %s, want by %s", pod.IP, route, device)
		}
		return nil
	}
	s.must(leaves("203.0.113.9", "eth0"))
	s.must(leaves("198.18.0.1", "eth1"))
	s.repairs(node, "ip rule | sort", watched, "ip rule del priority 1535; ip rule add priority 1535 to 198.18.0.0/15 lookup main")
	s.restart(node, "AWS_EXTERNAL_SERVICE_CIDRS=192.0.2.0/24")
	s.within(10*time.Second, func() error { return leaves("203.0.113.9", "eth1") })
	s.must(leaves("192.0.2.9", "eth0"))
	s.reach(pods...)
}

// TestCordonedNode has a node that is on its way out give back what is spare,
// keep its ENIs, and serve pods that come nonetheless from these.
func TestCordonedNode(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "CAUSEWAY_RELEASE_AFTER=1s", "CAUSEWAY_ASSIGN_WAIT=2s")
	pods := s.crowd(node, "pod", 2)
	s.holds(node, 2, 0, 4)
	s.cordon(node, true)
	s.holds(node, 2, 0, 2)
	pods = append(pods, s.crowd(node, "daemon", 4)...)
	s.holds(node, 2, 0, 6)
	if refusal := s.refused(node, "late"); refusal.Details != "NodeCordoned" {
		t.Errorf("ADD: %q %q, want NodeCordoned", refusal.Msg, refusal.Details)
	}
	s.cordon(node, false)
	s.holds(node, 3, 0, 8)
	s.reach(append(pods, s.add(node, "later"))...)
}

// cordon keeps new pods from a node, or no longer.
func (s *story) cordon(node *harness.Node, cordoned bool) {
	s.Helper()
	_, err := s.lab.Control.Apply(s.ctx, control.Object{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": node.Name},
		"spec": map[string]any{"unschedulable": cordoned},
	})
	s.must(err)
}
