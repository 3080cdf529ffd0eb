package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/causeway-cni/causeway/proxy/service"
)

// set makes what a service has what its ports ask for; none deletes it.
func (p *plan) set(k service.Key, ports []service.ServicePort) {
	old := p.f.services[k]
	var now []*port
	kept := map[*group]bool{}
	for _, sp := range ports {
		if sp.Family != p.f.settings.Family {
			continue
		}
		n := p.port(sp, previous(old, sp))
		kept[n.cluster], kept[n.local] = true, true
		now = append(now, n)
	}
	for _, o := range old {
		for _, at := range o.places {
			p.release(at, o)
		}
		for _, a := range o.hairpins {
			p.use(a, -1)
		}
		for _, g := range []*group{o.cluster, o.local} {
			if g != nil && !kept[g] {
				p.free(g)
			}
		}
	}
	if p.f.services[k] = now; len(now) == 0 {
		delete(p.f.services, k)
	}
}

// previous is what the kernel has of a service-port.
func previous(old []*port, sp service.ServicePort) *port {
	for _, o := range old {
		if o.name == sp.Name && o.host == sp.HostPort {
			return o
		}
	}
	return &port{}
}

// port writes one service-port, with the groups that it had.
func (p *plan) port(sp service.ServicePort, was *port) *port {
	c := compile(sp)
	n := &port{name: sp.Name, host: sp.HostPort, hairpins: c.hairpins}
	fr := fronts{port: sp, name: commentOf(c.name), emit: func(at place, c content) { p.put(at, c, n) }}
	if len(c.local) > 0 || c.needsLocal {
		n.local = p.group(was.local, sp, service.Local, 0)
		fr.ids.local, fr.sizes.local = n.local.id, sizeFor(len(c.local))
		p.fill(n, n.local, c.local, sp.Affinity > 0)
	}
	if len(c.cluster) > 0 {
		n.cluster = p.group(was.cluster, sp, service.Cluster, fr.ids.local)
		fr.ids.cluster, fr.sizes.cluster = n.cluster.id, sizeFor(len(c.cluster))
		p.fill(n, n.cluster, c.cluster, sp.Affinity > 0)
	}
	fr.all(p.f.settings)
	for _, a := range n.hairpins {
		p.use(a, 1)
	}
	return n
}

// fill gives a group its endpoints.
func (p *plan) fill(owner *port, g *group, want []netip.AddrPort, sticky bool) {
	p.arrange(g, want)
	if !sticky {
		g.numbers = nil
		return
	}
	g.numbers = g.number(g.slots)
	for slot, at := range g.slots {
		m := numberKey(uint32(newMember(g.numbers[at], g.id)))
		p.put(place{affinitySlots, pairKey(g.id, uint32(slot))}, content{data: m}, owner)
		p.put(place{members, m}, content{data: endpointData(at)}, owner)
	}
}

// group is the one that a service-port had, or that its front ends lead to, or
// a new one.
func (p *plan) group(was *group, sp service.ServicePort, policy service.Policy, local uint32) *group {
	if was != nil {
		return was
	}
	var candidates []place
	if sp.Internal == policy {
		candidates = append(candidates, place{serviceIPs, frontKey(sp.ClusterIP, sp.Name.Protocol, sp.Port)})
	}
	if sp.External == policy {
		candidates = append(candidates, place{nodePorts, portKey(sp.Name.Protocol, sp.NodePort)})
		for _, a := range sp.VIPs {
			candidates = append(candidates, place{serviceIPs, frontKey(a, sp.Name.Protocol, sp.Port)})
		}
		for _, a := range sp.ExternalIPs {
			candidates = append(candidates, place{serviceIPs, frontKey(a, sp.Name.Protocol, sp.Port)})
		}
	}
	if policy == service.Cluster && local != 0 {
		candidates = append(candidates, place{inside, numberKey(local)})
	}
	for _, at := range candidates {
		e, ok := p.f.have[at]
		if !ok || e.owner != nil || len(e.data) != 4 {
			continue
		}
		g := p.f.groups[value(binary.NativeEndian.Uint32([]byte(e.data))).group()]
		if g != nil && !g.claimed {
			g.claimed = true
			return g
		}
	}
	g := p.f.newGroup()
	g.claimed = true
	return g
}

// use counts who has an endpoint on this node.
func (p *plan) use(a netip.Addr, more int) {
	at := place{hairpins, string(a.AsSlice()) + string(a.AsSlice())}
	if p.f.users[a] += more; p.f.users[a] > 0 {
		p.put(at, content{}, p.f.static)
		return
	}
	delete(p.f.users, a)
	p.release(at, p.f.static)
}

// found gives up what was found in the kernel, and nobody asked for.
func (p *plan) found() {
	for _, a := range p.f.settings.NodePortAddrs {
		p.put(place{nodePortAddresses, string(a.AsSlice())}, content{}, p.f.static)
	}
	for at := range p.f.have {
		p.release(at, nil)
	}
	for _, g := range p.f.groups {
		if !g.claimed {
			p.free(g)
		}
	}
}
