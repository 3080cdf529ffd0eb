package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
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
