package conntrack

import (
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Ledger knows the UDP front ends of all services, and which of them lost
// something since it was last asked. The zero value is one without services.
// It is not safe for concurrent use.
type Ledger struct {
	services map[service.Key][]netip.AddrPort // sorted
	fronts   map[netip.AddrPort]front
	touched  map[netip.AddrPort]bool
}

// front is a front end: whose it is, and where its flows may lead, sorted. Its
// key with the unspecified address stands for all addresses of the node.
type front struct {
	owner   service.Key
	serving []netip.AddrPort
}

// Set says which ports a service has; nil deletes it. A front end that two
// services have, in passing, is the one's that was set last.
func (l *Ledger) Set(k service.Key, ports []service.ServicePort) {
	had := l.services[k]
	var has []netip.AddrPort
	for _, p := range ports {
		if p.Name.Protocol != service.UDP {
			continue
		}
		serving := slices.Clone(p.Serving)
		slices.SortFunc(serving, netip.AddrPort.Compare)
		for _, at := range frontEnds(p) {
			l.setFront(at, front{k, serving})
			has = append(has, at)
		}
	}
	slices.SortFunc(has, netip.AddrPort.Compare)
	for _, at := range had {
		if !holds(has, at) && l.fronts[at].owner == k {
			delete(l.fronts, at)
			l.touch(at)
		}
	}
	if len(has) == 0 {
		delete(l.services, k)
		return
	}
	if l.services == nil {
		l.services = map[service.Key][]netip.AddrPort{}
	}
	l.services[k] = has
}

// frontEnds are those of a service-port.
func frontEnds(p service.ServicePort) []netip.AddrPort {
	var all []netip.AddrPort
	add := func(a netip.Addr, port uint16) { all = append(all, netip.AddrPortFrom(a, port)) }
	if p.ClusterIP.IsValid() {
		add(p.ClusterIP, p.Port)
	}
	for _, a := range slices.Concat(p.ExternalIPs, p.VIPs) {
		add(a, p.Port)
	}
	if p.NodePort != 0 {
		add(everywhere(p.Family), p.NodePort)
	}
	switch h := p.HostPort; {
	case h.Port == 0:
	case h.Addr.IsValid():
		add(h.Addr, h.Port)
	default:
		add(everywhere(p.Family), h.Port)
	}
	return all
}

// setFront touches a front end if there may be flows that it does not lead to:
// it is new, it lost an endpoint, or it got its first ones.
func (l *Ledger) setFront(at netip.AddrPort, is front) {
	if l.fronts == nil {
		l.fronts = map[netip.AddrPort]front{}
	}
	was, known := l.fronts[at]
	lost := slices.ContainsFunc(was.serving, func(e netip.AddrPort) bool { return !holds(is.serving, e) })
	if !known || lost || len(was.serving) == 0 && len(is.serving) > 0 {
		l.touch(at)
	}
	l.fronts[at] = is
}

func (l *Ledger) touch(at netip.AddrPort) {
	if l.touched == nil {
		l.touched = map[netip.AddrPort]bool{}
	}
	l.touched[at] = true
}

// Stale says what must be looked at because of what was Set since the last
// call; at the first call that is every front end. It forgets what it says.
func (l *Ledger) Stale() Sweep {
	if len(l.touched) == 0 {
		return Sweep{}
	}
	s := Sweep{fronts: make(map[netip.AddrPort][]netip.AddrPort, len(l.touched))}
	wide := false
	for at := range l.touched {
		s.fronts[at] = l.fronts[at].serving
		wide = wide || at.Addr().IsUnspecified()
	}
	if wide {
		// A front end at one address of the node comes before one at all of
		// them: whoever judges by the latter must know the former.
		for at, f := range l.fronts {
			if l.touched[widened(at)] {
				s.fronts[at] = f.serving
			}
		}
	}
	l.touched = nil
	return s
}

// Leads says whether a flow leads to an endpoint of its front end.
func (l *Ledger) Leads(f Flow) bool {
	is, known := l.fronts[f.To]
	if !known && f.Local {
		is = l.fronts[widened(f.To)]
	}
	return holds(is.serving, f.From)
}
