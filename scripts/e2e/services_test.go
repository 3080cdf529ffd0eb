package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

var modes = []string{"iptables", "nftables"}

// TestServicesWithoutAPI takes the Kubernetes API away: services go on, also
// over a kill and a restart of the daemon, and what changes meanwhile is in
// force when the API is back.
func TestServicesWithoutAPI(t *testing.T) {
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := raise(t, small)
			s.lab.ProxyMode = mode
			node := s.start("n1")
			pods := s.addUntil(node, 1)
			first, last := pods[0], pods[len(pods)-1]
			web := harness.Service{Name: "web", Pods: []*harness.Pod{first, last}}
			served, err := s.lab.Serve(s.ctx, web)
			s.must(err)
			s.endpoints(pods[1], served.ClusterIP, first, last)

			s.faults("{action: Kubernetes, effect: {away: true}}")
			s.endpoints(pods[1], served.ClusterIP, first, last)
			s.must(node.Daemon().Kill())
			s.endpoints(pods[1], served.ClusterIP, first, last)
			s.start("n1")
			s.endpoints(pods[1], served.ClusterIP, first, last)

			s.must(s.lab.Control.ClearFaults(s.ctx))
			web.Pods = []*harness.Pod{last}
			_, err = s.lab.Serve(s.ctx, web)
			s.must(err)
			s.endpoints(pods[1], served.ClusterIP, last)
		})
	}
}

// endpoints proves that a service leads to these pods, and to no others.
func (s *story) endpoints(from *harness.Pod, to netip.AddrPort, want ...*harness.Pod) {
	s.Helper()
	for _, proto := range []string{"tcp", "udp"} {
		answers, err := from.Probe(s.ctx, proto, to, 30)
		s.must(err)
		var reached []netip.Addr
		for _, a := range answers {
			reached = append(reached, a.Local.Addr())
		}
		slices.SortFunc(reached, netip.Addr.Compare)
		var wanted []netip.Addr
		for _, p := range want {
			wanted = append(wanted, p.IP)
		}
		slices.SortFunc(wanted, netip.Addr.Compare)
		if reached = slices.Compact(reached); !slices.Equal(reached, wanted) {
			s.Error(fmt.Errorf("%s over %s leads to %v, want %v", to, proto, reached, wanted))
		}
	}
}
