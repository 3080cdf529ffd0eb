package vpc

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// book records which addresses of a subnet are taken. Taking and freeing are
// by exact address or aligned prefix; a taken prefix takes all its addresses.
type book interface {
	// state of one address: whether it lies in the subnet, may be handed out
	// at all, and is free.
	look(a netip.Addr) (in, usable, free bool)
	take(a netip.Addr)
	drop(a netip.Addr)
	takePrefix(p netip.Prefix) bool // false if a part of it is taken or reserved
	dropPrefix(p netip.Prefix)
	pick(rng *rand.Rand) (netip.Addr, bool)         // a free address, not taken yet
	pickPrefix(rng *rand.Rand) (netip.Prefix, bool) // a free aligned prefix, not taken yet
	free() int                                      // free addresses; saturates
	prefixBits() int                                // 28 or 80
}

// book4 is the book of an IPv4 subnet.
type book4 struct {
	cidr   netip.Prefix
	base   uint32
	used   []bool
	blocks []int // taken addresses of each aligned /28
	left   int
}

func newBook4(cidr netip.Prefix) *book4 {
	size := 1 << (32 - cidr.Bits())
	b := &book4{cidr: cidr, base: number(cidr.Addr()), used: make([]bool, size), blocks: make([]int, size/16), left: size}
	for i := range uint32(size) {
		if topology.Reserved(cidr, b.addr(i)) {
			b.set(i, true)
		}
	}
	return b
}

func number(a netip.Addr) uint32 {
	v := a.As4()
	return binary.BigEndian.Uint32(v[:])
}

func (b *book4) addr(i uint32) netip.Addr {
	var v [4]byte
	binary.BigEndian.PutUint32(v[:], b.base+i)
	return netip.AddrFrom4(v)
}

func (b *book4) set(i uint32, used bool) {
	if b.used[i] == used {
		return
	}
	b.used[i] = used
	if used {
		b.blocks[i/16]++
		b.left--
	} else {
		b.blocks[i/16]--
		b.left++
	}
}

func (b *book4) look(a netip.Addr) (in, usable, free bool) {
	if !b.cidr.Contains(a) {
		return false, false, false
	}
	return true, !topology.Reserved(b.cidr, a), !b.used[number(a)-b.base]
}

func (b *book4) take(a netip.Addr) { b.set(number(a)-b.base, true) }
func (b *book4) drop(a netip.Addr) { b.set(number(a)-b.base, false) }
func (b *book4) free() int         { return b.left }
func (b *book4) prefixBits() int   { return 28 }

func (b *book4) takePrefix(p netip.Prefix) bool {
	if p.Bits() != 28 || p != p.Masked() || !b.cidr.Contains(p.Addr()) {
		return false
	}
	first := number(p.Addr()) - b.base
	if b.blocks[first/16] > 0 {
		return false
	}
	for i := range uint32(16) {
		b.set(first+i, true)
	}
	return true
}

func (b *book4) dropPrefix(p netip.Prefix) {
	first := number(p.Addr()) - b.base
	for i := range uint32(16) {
		b.set(first+i, false)
	}
}

// pick walks from a random place to the next free address. After a few misses
// at random the walk keeps it linear in a nearly full subnet.
func (b *book4) pick(rng *rand.Rand) (netip.Addr, bool) {
	if b.left == 0 {
		return netip.Addr{}, false
	}
	for range 32 {
		if i := rng.Uint32N(uint32(len(b.used))); !b.used[i] {
			return b.addr(i), true
		}
	}
	start := rng.IntN(len(b.used))
	for n := range b.used {
		if i := (start + n) % len(b.used); !b.used[i] {
			return b.addr(uint32(i)), true
		}
	}
	return netip.Addr{}, false
}

func (b *book4) pickPrefix(rng *rand.Rand) (netip.Prefix, bool) {
	start := rng.IntN(len(b.blocks))
	for n := range b.blocks {
		if i := (start + n) % len(b.blocks); b.blocks[i] == 0 {
			return netip.PrefixFrom(b.addr(uint32(i)*16), 28), true
		}
	}
	return netip.Prefix{}, false
}
