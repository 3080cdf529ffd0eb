package service

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Resolve returns the service-ports of a service, IPv4 before IPv6, in the
// order of its ports, or those of a pod with host ports. A service that is not
// served, or not known, has none.
//
// The error names what is refused: the whole service, a front end that another
// service has, or an endpoint. Everything else is returned beside it. Of
// several that want the same address and port, a cluster IP comes before a
// load balancer's address, and that before an external IP; a node port comes
// before a host port; then the name decides, the first by alphabet.
func (t *Tracker) Resolve(k Key) ([]ServicePort, error) {
	if pod, ok := t.hostPods[k]; ok {
		return t.hostPorts(pod)
	}
	s, ok := t.services[k]
	if !ok || !s.served() {
		return nil, nil
	}
	if err := s.validate(); err != nil {
		return nil, fmt.Errorf("service %s: %w", k, err)
	}
	var ports []ServicePort
	var faults []error
	for _, family := range []Family{IPv4, IPv6} {
		i := slices.IndexFunc(s.ClusterIPs, func(a netip.Addr) bool { return FamilyOf(a) == family })
		if i < 0 {
			continue
		}
		for _, p := range s.Ports {
			sp, err := t.frontEnds(s, p, s.ClusterIPs[i])
			faults = append(faults, err)
			endpoints, err := t.endpoints(sp.Name, family)
			faults = append(faults, err)
			sp.choose(endpoints, t.node)
			if p.Protocol == UDP {
				sp.Serving = serving(endpoints)
			}
			ports = append(ports, sp)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return ports, fmt.Errorf("service %s: %w", k, err)
	}
	return ports, nil
}

// frontEnds is a service-port with the front ends that it wins.
func (t *Tracker) frontEnds(s Service, p Port, ip netip.Addr) (ServicePort, error) {
	family := FamilyOf(ip)
	sp := ServicePort{
		Name:         PortName{s.Key, p.Name, p.Protocol},
		Family:       family,
		Port:         uint16(p.Port),
		SourceRanges: s.sourceRanges(family),
		Affinity:     s.Affinity,
		Internal:     s.Internal,
		External:     s.External,
	}
	var lost []error
	wins := func(a netip.Addr, port int32, k kind) bool {
		winner := t.claims.by[frontEnd{family, a, p.Protocol, port}][0]
		if winner.service != s.Key {
			lost = append(lost, fmt.Errorf("%s port %d of %q: %s has it", frontEndText(a, k), port, p.Name, winner.service))
		}
		return winner == claim{s.Key, p.Name, k}
	}
	if wins(ip, p.Port, clusterIP) {
		sp.ClusterIP = ip
	}
	for _, a := range s.vips(family) {
		if wins(a, p.Port, vip) {
			sp.VIPs = append(sp.VIPs, a)
		}
	}
	for _, a := range s.externalIPs(family) {
		if wins(a, p.Port, externalIP) {
			sp.ExternalIPs = append(sp.ExternalIPs, a)
		}
	}
	if p.NodePort != 0 && wins(netip.Addr{}, p.NodePort, nodePort) {
		sp.NodePort = uint16(p.NodePort)
	}
	if s.checked() {
		sp.HealthCheckNodePort = uint16(s.HealthCheckNodePort)
	}
	return sp, errors.Join(lost...)
}

func frontEndText(a netip.Addr, k kind) string {
	name := [...]string{"cluster IP", "load balancer address", "external IP", "node"}[k]
	if k == nodePort {
		return name
	}
	return fmt.Sprintf("%s %s", name, a)
}

// checked says whether a load balancer asks this node for its health.
func (s Service) checked() bool {
	return s.Type == LoadBalancer && s.External == Local && s.HealthCheckNodePort != 0
}

// vips are the load balancer's addresses that the node answers for itself.
func (s Service) vips(family Family) []netip.Addr {
	var addrs []netip.Addr
	for _, i := range s.Ingress {
		if !i.Proxy && FamilyOf(i.Addr) == family && !slices.Contains(addrs, i.Addr) {
			addrs = append(addrs, i.Addr)
		}
	}
	return addrs
}

func (s Service) externalIPs(family Family) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range s.ExternalIPs {
		if FamilyOf(a) == family && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	return addrs
}

// sourceRanges are the ranges of a family; none if one of them is everybody.
func (s Service) sourceRanges(family Family) []netip.Prefix {
	var ranges []netip.Prefix
	for _, r := range s.SourceRanges {
		if FamilyOf(r.Addr()) != family || slices.Contains(ranges, r) {
			continue
		}
		if r.Bits() == 0 {
			return nil
		}
		ranges = append(ranges, r)
	}
	return ranges
}
