package fabric

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// wanted is the pure heart of the fabric: the objects that v asks for.
func wanted(v vpc.View) (map[object]bool, error) {
	w := want{objects: map[object]bool{}, subnets: map[string]vpc.SubnetView{}}
	for _, n := range v.Nodes {
		w.add(space{n.Name})
	}
	for _, s := range v.Subnets {
		w.subnets[s.ID] = s
		w.add(address{Router, "lo", host(gateway(s))})
	}
	if len(v.Subnets) > 0 {
		w.add(address{Router, "lo", host(ControlPlane(v))})
	}
	w.blocks(v.CIDRs)
	w.peer(v)
	w.others(v)
	w.balancers(v.Balancers)
	for _, i := range v.Interfaces {
		if !i.DevicePresent {
			continue
		}
		if err := w.network(i); err != nil {
			return nil, err
		}
	}
	return w.objects, nil
}

type want struct {
	objects map[object]bool
	subnets map[string]vpc.SubnetView
}

func (w want) add(o object) { w.objects[o] = true }

func (w want) element(place, set, value string, key ...any) {
	words := make([]string, len(key))
	for i, k := range key {
		words[i] = fmt.Sprint(k)
	}
	w.add(element{place, set, strings.Join(words, " . "), value})
}

// blocks makes the VPC's own blocks end in the router: an address that no ENI
// has is a black hole, and the places around send the whole block here.
func (w want) blocks(cidrs []netip.Prefix) {
	for _, c := range cidrs {
		w.add(route{place: Router, dst: c})
		w.add(routeTo(toIGW.b, c, toIGW.a))
		if c.Addr().Is4() {
			w.add(routeTo(toNAT.b, c, toNAT.a))
		}
	}
}

// peer joins the peered VPC: its hosts are at the tenth and eleventh address
// of each of its blocks, and speak to this VPC from the first of their family.
func (w want) peer(v vpc.View) {
	var hosts []netip.Addr
	for _, c := range v.PeerCIDRs {
		w.add(routeTo(toPeer.a, c, toPeer.b))
		hosts = append(hosts, PeerAddrs(c)...)
	}
	for _, a := range hosts {
		w.add(address{Peer, toPeer.b.link, host(a)})
	}
	for _, c := range v.CIDRs {
		back := routeTo(toPeer.b, c, toPeer.a)
		for _, a := range hosts {
			if a.Is4() == c.Addr().Is4() {
				back.src = a
				break
			}
		}
		w.add(back)
	}
}

// PeerAddrs returns the addresses of the hosts in a block of the peered VPC.
func PeerAddrs(cidr netip.Prefix) []netip.Addr {
	a := cidr.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return []netip.Addr{a, a.Next()}
}

// others puts a host at the tenth address of each IPv4 block of the VPC that
// has no subnet: it stands for instances that are not ours, as a destination
// in a block that was added to a running VPC. It lives with the peer's hosts.
func (w want) others(v vpc.View) {
	for _, c := range v.CIDRs {
		taken := slices.ContainsFunc(v.Subnets, func(s vpc.SubnetView) bool { return c.Overlaps(s.CIDR) })
		if taken || !c.Addr().Is4() {
			continue
		}
		a := PeerAddrs(c)[0]
		w.add(routeTo(toPeer.a, host(a), toPeer.b))
		w.add(address{Peer, toPeer.b.link, host(a)})
	}
}

// network connects an ENI: its device, the routes that deliver to it, and what
// the source check and the gateways have to know about it.
func (w want) network(i vpc.InterfaceView) error {
	subnet, ok := w.subnets[i.Subnet]
	if !ok {
		return fmt.Errorf("%s is in subnet %q, which the view does not have", i.ID, i.Subnet)
	}
	link := LinkName(i.ID)
	w.add(device{i.ID, i.Node, i.MAC})
	w.element(Router, "macs", "", link, i.MAC)
	w.drops(i, link)
	w.egress(subnet.Egress, link)
	if !i.SourceDestCheck {
		w.element(Router, "unchecked", "", link)
	}
	for _, a := range i.Addresses {
		w.owned(i, subnet, host(a))
	}
	for _, p := range i.Prefixes {
		w.owned(i, subnet, p)
	}
	for private, public := range i.Public {
		w.public(private, public)
	}
	return nil
}

// owned delivers an address or a prefix to the ENI and lets it be a source.
func (w want) owned(i vpc.InterfaceView, subnet vpc.SubnetView, p netip.Prefix) {
	link := LinkName(i.ID)
	if p.Addr().Is4() {
		w.element(Router, "sources4", "", link, written(p))
		w.add(route{Router, link, i.Node, p, guest4, gateway(subnet)})
		return
	}
	w.element(Router, "sources6", "", link, written(p))
	w.add(route{Router, link, i.Node, p, guest6, netip.Addr{}})
}

func (w want) drops(i vpc.InterfaceView, link string) {
	for _, r := range reasons {
		c := counter{i.ID, i.Node, r}
		w.add(c)
		w.element(Router, r.counters(), c.name(), link)
	}
}

func (w want) egress(e vpc.Egress, link string) {
	switch e {
	case vpc.EgressIGW:
		w.element(Router, "egress", fmt.Sprint(tableIGW), link)
	case vpc.EgressNAT:
		w.element(Router, "egress", fmt.Sprint(tableNAT), link)
	}
}

// balancers delivers the addresses of load balancers to their place.
func (w want) balancers(all []vpc.BalancerView) {
	for _, b := range all {
		w.add(address{LB, toLB.b.link, host(b.Address)})
		w.add(routeTo(toLB.a, host(b.Address), toLB.b))
		if b.Public.IsValid() {
			w.public(b.Address, b.Public)
		}
	}
}

// public associates a private with a public address.
func (w want) public(private, public netip.Addr) {
	w.element(Router, "associated", "", private)
	w.element(IGW, "to_public", public.String(), private)
	w.element(IGW, "to_private", private.String(), public)
}

// gateway is the address at which the VPC's router answers in a subnet.
func gateway(s vpc.SubnetView) netip.Addr { return s.CIDR.Masked().Addr().Next() }

func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// written is how nftables takes a prefix: without the length of a host.
func written(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// LinkName is the name of an ENI's link in the router: the end of the ENI's
// id, as much as fits in the 15 bytes that the kernel allows.
func LinkName(eni string) string {
	const digits = 11
	id := strings.TrimPrefix(eni, "eni-")
	return "eni-" + id[max(0, len(id)-digits):]
}
