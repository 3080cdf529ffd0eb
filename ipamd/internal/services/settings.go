package services

import (
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Settings are what is told at the start.
type Settings struct {
	Proxy config.Proxy
	// Liberal is that of conntrack: nothing is INVALID for its sequence.
	Liberal bool
	// PodLinks begins the names of the links of the pods that are ours.
	PodLinks string
	// Addrs are the addresses that the node has now, on any link.
	Addrs func() []netip.Addr
	// Wake asks for a Step soon. It must not block.
	Wake func()
	Now  func() time.Time
}

// of are the settings for rules on a node; zero if it is not known.
func (s Settings) of(n service.Node) proxy.ServiceSettings {
	c := s.Proxy
	out := proxy.ServiceSettings{
		MasqueradeMark: c.MasqueradeMark(), MasqueradeAll: c.MasqueradeAll,
		PodLink: c.Pods.Link, PodBlocks: c.Pods.Blocks,
		LocalhostNodePorts: c.LocalhostNodePorts, DropInvalid: !s.Liberal,
	}
	if c.Pods.Ours {
		out.PodLink = s.PodLinks + "+"
	}
	out.NodeAddrs = n.Addrs
	if c.Pods.NodeBlocks {
		out.PodBlocks = n.PodCIDRs
	}
	switch ports := c.NodePortAddrs; {
	case ports.Primary:
		out.NodePortAddrs = primary(out.NodeAddrs)
	case len(ports.Blocks) > 0:
		out.NodePortAddrs = within(s.Addrs(), ports.Blocks)
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		out.LocalhostNodePorts = c.LocalhostNodePorts && contain(ports.Blocks, loopback)
	}
	return out
}

// primary is the first address of each family; nobody's, if there is none.
func primary(addrs []netip.Addr) []netip.Addr {
	if len(addrs) == 0 {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}
	}
	var first []netip.Addr
	for _, a := range addrs {
		if !slices.ContainsFunc(first, func(b netip.Addr) bool { return b.Is4() == a.Is4() }) {
			first = append(first, a)
		}
	}
	return first
}

// within are the addresses in blocks. A family that has blocks but no address
// in them gets one that nobody has, because none would stand for all.
func within(addrs []netip.Addr, blocks []netip.Prefix) []netip.Addr {
	var inside []netip.Addr
	for _, a := range addrs {
		if contain(blocks, a) {
			inside = append(inside, a)
		}
	}
	for _, nobody := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		same := func(b netip.Addr) bool { return b.Is4() == nobody.Is4() }
		has := slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return same(b.Addr()) })
		if has && !slices.ContainsFunc(inside, same) {
			inside = append(inside, nobody)
		}
	}
	slices.SortFunc(inside, netip.Addr.Compare)
	return inside
}

func contain(blocks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(a) })
}
