package service

import (
	"cmp"
	"net/netip"
	"slices"
)

// frontEnd is what can be claimed once: a protocol and a port, on one address
// or, with the zero address, on the node's.
type frontEnd struct {
	family   Family
	addr     netip.Addr
	protocol Protocol
	port     int32
}

// kind orders claims: addresses that the control plane gives out come before
// those that anyone may write into a Service, so that nobody can take over the
// traffic of another with an external IP.
type kind uint8

const (
	clusterIP kind = iota
	vip
	externalIP
	nodePort
	hostPort
	hostPortOn // on one address only
)

// claim is one service-port's wish for a front end.
type claim struct {
	service Key
	port    string
	kind    kind
}

// compareClaims puts the one that wins first: by kind, then by name.
func compareClaims(a, b claim) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), compareKeys(a.service, b.service), cmp.Compare(a.port, b.port))
}

// claims holds who wants which front end.
type claims struct {
	by map[frontEnd][]claim         // the winner first
	of map[Key]map[frontEnd][]claim // each service's own
}

func newClaims() claims {
	return claims{by: map[frontEnd][]claim{}, of: map[Key]map[frontEnd][]claim{}}
}

// set replaces the wishes of a service, and returns the other services that
// win or lose a front end by it.
func (c claims) set(k Key, wishes map[frontEnd][]claim) map[Key]bool {
	touched := map[Key]bool{}
	for f := range c.of[k] {
		if wishes[f] == nil {
			c.replace(f, k, nil, touched)
		}
	}
	for f, w := range wishes {
		c.replace(f, k, w, touched)
	}
	c.of[k] = wishes
	if len(wishes) == 0 {
		delete(c.of, k)
	}
	delete(touched, k)
	return touched
}

// replace puts the wishes of a service for one front end in place, and notes
// who won it before and who wins it now, if they differ.
func (c claims) replace(f frontEnd, k Key, wishes []claim, touched map[Key]bool) {
	before := c.by[f]
	after := slices.Clone(wishes)
	for _, other := range before {
		if other.service != k {
			after = append(after, other)
		}
	}
	slices.SortFunc(after, compareClaims)
	c.by[f] = after
	if len(after) == 0 {
		delete(c.by, f)
		return
	}
	if len(before) == 0 || before[0] == after[0] {
		return
	}
	touched[before[0].service], touched[after[0].service] = true, true
	for _, other := range after { // on an address each, they may all win but for the first
		if other.kind == hostPortOn {
			touched[other.service] = true
		}
	}
}

// frontEnds is what a service wants: nothing if it is not served at all.
func frontEnds(s Service) map[frontEnd][]claim {
	if !s.served() || s.validate() != nil {
		return nil
	}
	wishes := map[frontEnd][]claim{}
	for _, p := range s.Ports {
		want := func(a netip.Addr, family Family, port int32, k kind) {
			f := frontEnd{family, a, p.Protocol, port}
			wishes[f] = append(wishes[f], claim{s.Key, p.Name, k})
		}
		for _, ip := range s.ClusterIPs {
			family := FamilyOf(ip)
			want(ip, family, p.Port, clusterIP)
			for _, a := range s.vips(family) {
				want(a, family, p.Port, vip)
			}
			for _, a := range s.externalIPs(family) {
				want(a, family, p.Port, externalIP)
			}
			if p.NodePort != 0 {
				want(netip.Addr{}, family, p.NodePort, nodePort)
			}
		}
	}
	return wishes
}
