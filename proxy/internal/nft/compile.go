package nft

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// place is an element of one of a family's sets.
type place struct {
	set int
	key string // of a range: its first and its last
}

// content is what an element holds.
type content struct{ data, comment string }

// compiled is what one service-port needs. Its groups are named by policy,
// until they have a number: what refers to them is made by fronts.
type compiled struct {
	name           string
	cluster, local []netip.AddrPort // endpoints of its groups
	needsLocal     bool             // the local group is referred to though it may be empty
	affinity       time.Duration
	hairpins       []netip.Addr
}

func compile(p service.ServicePort) compiled {
	c := compiled{name: p.Name.String(), affinity: p.Affinity}
	seen := map[netip.Addr]bool{}
	addrs := func(targets []service.Target) []netip.AddrPort {
		out := make([]netip.AddrPort, len(targets))
		for i, t := range targets {
			out[i] = t.AddrPort
			if (t.Local || p.HostPort.Port != 0) && !seen[t.Addr()] {
				seen[t.Addr()] = true
				c.hairpins = append(c.hairpins, t.Addr())
			}
		}
		if p.Affinity > 0 && len(out) > maxMembers {
			out = out[:maxMembers]
		}
		return out
	}
	c.cluster, c.local = addrs(p.Cluster), addrs(p.LocalOnly)
	c.needsLocal = p.External == service.Local && p.ExternallyAccessible() && p.Anywhere
	if p.HostPort.Port != 0 {
		c.cluster, c.local, c.needsLocal = nil, nil, false
	}
	return c
}

// groupIDs are the numbers of a service-port's groups; 0 for none.
type groupIDs struct{ cluster, local uint32 }

// fronts are the elements that lead to a service-port's endpoints.
type fronts struct {
	port  service.ServicePort
	ids   groupIDs
	sizes struct{ cluster, local size }
	name  string
	emit  func(place, content)
}

func (f *fronts) all(s ruleset.Settings) {
	if f.port.HostPort.Port != 0 {
		f.hostPort()
		return
	}
	f.clusterIP()
	if f.port.ExternallyAccessible() {
		f.external(s)
	}
	if f.port.Affinity > 0 {
		f.affinity()
	}
}

func (f *fronts) put(set int, key string, v value) {
	f.emit(place{set, key}, content{numberKey(uint32(v)), f.name})
}

func (f *fronts) refuse(set int, key string) { f.emit(place{set, key}, content{"", f.name}) }

func (f *fronts) sticky() treatment {
	if f.port.Affinity > 0 {
		return affine
	}
	return 0
}

func (f *fronts) clusterIP() {
	a, proto := f.port.ClusterIP, f.port.Name.Protocol
	if !a.IsValid() {
		return
	}
	key := frontKey(a, proto, f.port.Port)
	switch {
	case !f.port.Anywhere && len(f.port.InternalTargets()) == 0:
		f.refuse(refusedIPs, key)
	case f.port.Internal == service.Local:
		f.put(serviceIPs, key, newValue(toCluster|f.sticky(), f.sizes.local, f.ids.local))
	default:
		f.put(serviceIPs, key, newValue(toCluster|f.sticky(), f.sizes.cluster, f.ids.cluster))
	}
}

// external makes the front ends that outsiders may use.
func (f *fronts) external(s ruleset.Settings) {
	proto := f.port.Name.Protocol
	v := newValue(external|f.sticky(), f.sizes.cluster, f.ids.cluster)
	if f.port.External == service.Local {
		v = newValue(externalLocal|f.sticky(), f.sizes.local, f.ids.local)
		if f.port.Anywhere {
			f.put(inside, numberKey(f.ids.local), newValue(f.sticky(), f.sizes.cluster, f.ids.cluster))
		}
	}
	at := func(a netip.Addr, v value) {
		if key := frontKey(a, proto, f.port.Port); f.port.Anywhere {
			f.put(serviceIPs, key, v)
		} else {
			f.refuse(refusedIPs, key)
		}
	}
	for _, a := range f.port.ExternalIPs {
		at(a, v)
	}
	balanced := v
	if len(f.port.SourceRanges) > 0 {
		balanced |= newValue(restricted, 0, 0)
		if f.port.Anywhere && len(f.port.VIPs) > 0 {
			f.ranges(s, v.group())
		}
	}
	for _, a := range f.port.VIPs {
		at(a, balanced)
	}
	if key := portKey(proto, f.port.NodePort); f.port.NodePort != 0 && f.port.Anywhere {
		f.put(nodePorts, key, v)
	} else if f.port.NodePort != 0 {
		f.refuse(refusedPorts, key)
	}
}

// ranges are who may use a balancer's addresses: the source ranges, and these
// addresses themselves where the node is in one of the ranges. Ranges within
// others are left out.
func (f *fronts) ranges(s ruleset.Settings, group uint32) {
	all := slices.Clone(f.port.SourceRanges)
	for _, r := range f.port.SourceRanges {
		if slices.ContainsFunc(s.NodeAddrs, r.Contains) {
			for _, a := range f.port.VIPs {
				all = append(all, netip.PrefixFrom(a, a.BitLen()))
			}
			break
		}
	}
	for i, r := range all {
		covered := slices.ContainsFunc(all, func(o netip.Prefix) bool { return o.Bits() < r.Bits() && o.Contains(r.Addr()) })
		if first := slices.IndexFunc(all, func(o netip.Prefix) bool { return o.Masked() == r.Masked() }); covered || first < i {
			continue
		}
		key, end := rangeKey(group, r)
		f.emit(place{sourceRanges, key + end}, content{"", f.name})
	}
}

// affinity makes what affine groups need, besides their endpoints.
func (f *fronts) affinity() {
	for _, g := range []struct {
		id uint32
		n  size
	}{{f.ids.cluster, f.sizes.cluster}, {f.ids.local, f.sizes.local}} {
		if g.id != 0 && g.n != 0 {
			f.put(affinityValues, numberKey(g.id), newValue(0, g.n, g.id))
			f.refuse(affinitySeconds, pairKey(g.id, seconds(f.port.Affinity)))
		}
	}
}

func seconds(d time.Duration) uint32 { return uint32(max(d/time.Second, 1)) }

// hostPort leads straight to a pod.
func (f *fronts) hostPort() {
	targets := f.port.LocalOnly
	if len(targets) == 0 {
		targets = f.port.Cluster
	}
	if len(targets) == 0 {
		return
	}
	to := content{endpointData(targets[0].AddrPort), f.name}
	if a := f.port.HostPort.Addr; a.IsValid() {
		f.emit(place{hostAddresses, frontKey(a, f.port.Name.Protocol, f.port.HostPort.Port)}, to)
	} else {
		f.emit(place{hostPorts, portKey(f.port.Name.Protocol, f.port.HostPort.Port)}, to)
	}
}

// commentOf is a name as the kernel keeps it.
func commentOf(name string) string {
	if len(name) > maxComment {
		name = name[:maxComment]
	}
	return strings.ToValidUTF8(name, "")
}
