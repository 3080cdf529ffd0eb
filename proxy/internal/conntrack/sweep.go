package conntrack

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Sweep is which front ends to look at, and where each leads as of the call
// that made it: nowhere, if it is gone. The zero value has nothing to look at.
// It does not change, and may be used from any goroutine.
type Sweep struct {
	fronts map[netip.AddrPort][]netip.AddrPort
}

// Empty says that there is nothing to look at.
func (s Sweep) Empty() bool { return len(s.fronts) == 0 }

// Then is both sweeps in one, of which the other one was made later.
func (s Sweep) Then(later Sweep) Sweep {
	if s.Empty() {
		return later
	}
	both := maps.Clone(s.fronts)
	maps.Copy(both, later.fronts)
	return Sweep{both}
}

// Flow is a UDP flow, as far as judging it goes.
type Flow struct {
	// To is where its first packet was sent: the destination of the original
	// tuple.
	To netip.AddrPort
	// From is where its replies come from, which is where its packets go: the
	// source of the reply tuple.
	From netip.AddrPort
	// Local says that To is an address of the node.
	Local bool
}

func (f Flow) translated() bool { return f.To != f.From }

// Stale says whether a flow must go.
func (s Sweep) Stale(f Flow) bool {
	serving, known := s.fronts[f.To]
	if !known && f.Local {
		serving, known = s.fronts[widened(f.To)]
	}
	switch {
	case !known:
		return false
	case len(serving) == 0:
		return f.translated()
	}
	return !holds(serving, f.From)
}

// holds says whether sorted addresses have one among them.
func holds(sorted []netip.AddrPort, one netip.AddrPort) bool {
	_, there := slices.BinarySearchFunc(sorted, one, netip.AddrPort.Compare)
	return there
}

// widened is the port at all addresses of the node.
func widened(at netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(everywhere(service.FamilyOf(at.Addr())), at.Port())
}

// everywhere stands for all addresses of the node.
func everywhere(f service.Family) netip.Addr {
	if f == service.IPv6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}
