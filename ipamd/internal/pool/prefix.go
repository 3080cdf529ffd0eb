package pool

import (
	"iter"
	"net/netip"
	"slices"
)

// prefixBits and prefixSize are of a delegated IPv4 prefix: EC2 gives no other
// ("Assign prefixes to Amazon EC2 network interfaces"). Pods get all of its
// addresses: none of them is a network's or a broadcast address.
const (
	prefixBits = 28
	prefixSize = 1 << (32 - prefixBits)
)

// within are the addresses of a prefix, in order.
func within(p netip.Prefix) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for a := p.Masked().Addr(); p.Contains(a); a = a.Next() {
			if !yield(a) {
				return
			}
		}
	}
}

// all are the IPv4 addresses of pods that an ENI has: single ones, and those of
// its prefixes.
func (e ENI) all() iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, a := range e.Addresses {
			if !yield(a) {
				return
			}
		}
		for _, p := range e.Prefixes {
			for a := range within(p) {
				if !yield(a) {
					return
				}
			}
		}
	}
}

// Has says whether an address of pods is an ENI's.
func (e ENI) Has(a netip.Addr) bool {
	if a.Is6() {
		return e.has6(a)
	}
	return slices.Contains(e.Addresses, a) || slices.ContainsFunc(e.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// block is the prefix that an address is of; the zero value for a single one.
func (e ENI) block(a netip.Addr) netip.Prefix {
	for _, p := range e.Prefixes {
		if p.Contains(a) {
			return p
		}
	}
	return netip.Prefix{}
}

// size is how many IPv4 addresses for pods an ENI has.
func (e ENI) size() int { return len(e.Addresses) + prefixSize*len(e.Prefixes) }

// prefixes says whether to ask a subnet for prefixes: it had none a while ago
// if not, and gives single addresses until it is tried again.
func (g *growth) prefixes(subnet SubnetID) bool {
	return g.settings.Prefixes && !g.fragmented[subnet].After(g.now)
}

// perSlot is how many addresses come with a slot of an ENI in a subnet.
func (g *growth) perSlot(subnet SubnetID) int {
	if g.prefixes(subnet) {
		return prefixSize
	}
	return 1
}

// toPrefixes is how many prefixes have so many addresses.
func toPrefixes(addresses int) int { return (addresses + prefixSize - 1) / prefixSize }
