package vpc

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
)

// book6 is the book of an IPv6 /64: too large for a bitmap, and never full.
type book6 struct {
	cidr     netip.Prefix
	used     map[netip.Addr]bool
	blocks   map[netip.Prefix]int  // single addresses taken in each /80
	prefixes map[netip.Prefix]bool // taken /80s
}

func newBook6(cidr netip.Prefix) *book6 {
	return &book6{cidr: cidr, used: map[netip.Addr]bool{}, blocks: map[netip.Prefix]int{}, prefixes: map[netip.Prefix]bool{}}
}

func block80(a netip.Addr) netip.Prefix {
	p, _ := a.Prefix(80) // an IPv6 address always has a /80
	return p
}

func (b *book6) addr(host uint64) netip.Addr {
	v := b.cidr.Addr().As16()
	binary.BigEndian.PutUint64(v[8:], host)
	return netip.AddrFrom16(v)
}

func (b *book6) look(a netip.Addr) (in, usable, free bool) {
	if !b.cidr.Contains(a) {
		return false, false, false
	}
	v := a.As16()
	host := binary.BigEndian.Uint64(v[8:])
	return true, host > 3 && host != math.MaxUint64, !b.used[a] && !b.prefixes[block80(a)]
}

func (b *book6) take(a netip.Addr) {
	if !b.used[a] {
		b.used[a] = true
		b.blocks[block80(a)]++
	}
}

func (b *book6) drop(a netip.Addr) {
	if b.used[a] {
		delete(b.used, a)
		b.blocks[block80(a)]--
	}
}

func (b *book6) free() int       { return math.MaxInt32 }
func (b *book6) prefixBits() int { return 80 }

// takePrefix refuses the first and the last /80: they hold reserved addresses.
func (b *book6) takePrefix(p netip.Prefix) bool {
	edge := p == block80(b.addr(0)) || p == block80(b.addr(math.MaxUint64))
	if p.Bits() != 80 || p != p.Masked() || !b.cidr.Contains(p.Addr()) || edge || b.prefixes[p] || b.blocks[p] > 0 {
		return false
	}
	b.prefixes[p] = true
	return true
}

func (b *book6) dropPrefix(p netip.Prefix) { delete(b.prefixes, p) }

func (b *book6) pick(rng *rand.Rand) (netip.Addr, bool) {
	for range 1000 {
		a := b.addr(rng.Uint64())
		if _, usable, free := b.look(a); usable && free {
			return a, true
		}
	}
	return netip.Addr{}, false
}

func (b *book6) pickPrefix(rng *rand.Rand) (netip.Prefix, bool) {
	for range 1000 {
		p := block80(b.addr(rng.Uint64()))
		if b.takePrefix(p) {
			b.dropPrefix(p)
			return p, true
		}
	}
	return netip.Prefix{}, false
}
