package service

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// candidate is an endpoint of a service-port, wherever it is.
type candidate struct {
	target Target
	Endpoint
}

// draining endpoints serve still, and take what nobody else can.
func (c candidate) draining() bool { return !c.Ready && c.Serving && c.Terminating }

// endpoints are the candidates of a service-port, sorted by their text. Of one
// address and port in two slices, the one that does not terminate counts, then
// the one that is ready, then the one that serves.
func (t *Tracker) endpoints(name PortName, family Family) ([]candidate, error) {
	byAddr := map[netip.AddrPort]candidate{}
	var faults []error
	for _, key := range sorted(maps.Keys(t.byService[name.Key])) {
		slice := t.slices[key]
		if slice.Family != family {
			continue
		}
		for _, port := range slice.Ports {
			if port.Name == name.Port && port.Protocol == name.Protocol && port.Port != 0 {
				faults = append(faults, t.collect(byAddr, slice, port))
			}
		}
	}
	return slices.SortedFunc(maps.Values(byAddr), func(a, b candidate) int {
		return cmp.Compare(a.target.String(), b.target.String())
	}), errors.Join(faults...)
}

// collect adds the endpoints of a slice at one of its ports. What cannot be an
// endpoint is left out, and named in the error.
func (t *Tracker) collect(byAddr map[netip.AddrPort]candidate, s EndpointSlice, port EndpointPort) error {
	if port.Port < 0 || port.Port > 65535 {
		return fmt.Errorf("slice %s: port %q has number %d: want 1 to 65535", s.Key, port.Name, port.Port)
	}
	var faults []error
	for _, e := range s.Endpoints {
		if FamilyOf(e.Addr) != s.Family {
			faults = append(faults, fmt.Errorf("slice %s: endpoint %s: want an %s address", s.Key, e.Addr, s.Family))
			continue
		}
		at := netip.AddrPortFrom(e.Addr, uint16(port.Port))
		if old, ok := byAddr[at]; !ok || better(e, old.Endpoint) {
			byAddr[at] = candidate{Target{at, e.Node != "" && e.Node == t.node.Name}, e}
		}
	}
	return errors.Join(faults...)
}

func better(a, b Endpoint) bool {
	if a.Terminating != b.Terminating {
		return !a.Terminating
	}
	if a.Ready != b.Ready {
		return a.Ready
	}
	return a.Serving && !b.Serving
}

// choose fills in which of the candidates each policy uses.
func (p *ServicePort) choose(all []candidate, n Node) {
	ready := func(c candidate) bool { return c.Ready }
	local := func(c candidate) bool { return c.target.Local }
	if p.UsesCluster() {
		p.Cluster = targets(all, both(ready, topology(all, n)))
		if len(p.Cluster) == 0 {
			p.Cluster = targets(all, candidate.draining)
		}
	}
	if p.UsesLocal() {
		p.LocalOnly = targets(all, both(ready, local))
		if len(p.LocalOnly) == 0 {
			p.LocalOnly = targets(all, both(candidate.draining, local))
		}
	}
	p.Anywhere = slices.ContainsFunc(all, func(c candidate) bool { return c.Ready || c.draining() })
}

// serving are those that a flow may stay with.
func serving(all []candidate) []netip.AddrPort {
	var at []netip.AddrPort
	for _, c := range all {
		if c.Ready || c.Serving {
			at = append(at, c.target.AddrPort)
		}
	}
	return at
}

func both(a, b func(candidate) bool) func(candidate) bool {
	return func(c candidate) bool { return a(c) && b(c) }
}

func targets(all []candidate, want func(candidate) bool) []Target {
	var chosen []Target
	for _, c := range all {
		if want(c) {
			chosen = append(chosen, c.target)
		}
	}
	return chosen
}

// topology says which endpoints the hints leave to this node. Hints count only
// if every ready endpoint has them and one of these is meant for us; those for
// nodes come before those for zones.
func topology(all []candidate, n Node) func(candidate) bool {
	forNode := func(c candidate) bool { return slices.Contains(c.HintNodes, n.Name) }
	forZone := func(c candidate) bool { return slices.Contains(c.HintZones, n.Zone) }
	nodes, zones := true, true
	ours, near := false, false
	for _, c := range all {
		if c.Ready {
			nodes, ours = nodes && len(c.HintNodes) > 0, ours || forNode(c)
			zones, near = zones && len(c.HintZones) > 0, near || forZone(c)
		}
	}
	switch {
	case nodes && ours:
		return forNode
	case zones && near:
		return forZone
	}
	return func(candidate) bool { return true }
}

// HealthCheck is what a service's health check port answers by.
type HealthCheck struct {
	Service Key
	Family  Family
	Port    uint16
	// Local is how many ready pods of the service are on this node, by
	// distinct addresses. Those that terminate do not count, though traffic
	// still goes to them: the balancer is to turn away.
	Local int
}

// HealthChecks are the health check ports of a service, one for each family.
func (t *Tracker) HealthChecks(k Key) []HealthCheck {
	s := t.services[k]
	if !s.served() || !s.checked() || s.validate() != nil {
		return nil
	}
	var checks []HealthCheck
	for _, family := range []Family{IPv4, IPv6} {
		if !slices.ContainsFunc(s.ClusterIPs, func(a netip.Addr) bool { return FamilyOf(a) == family }) {
			continue
		}
		local := map[netip.Addr]bool{}
		for _, p := range s.Ports {
			all, _ := t.endpoints(PortName{k, p.Name, p.Protocol}, family)
			for _, c := range all {
				if c.Ready && c.target.Local {
					local[c.target.Addr()] = true
				}
			}
		}
		checks = append(checks, HealthCheck{k, family, uint16(s.HealthCheckNodePort), len(local)})
	}
	return checks
}
