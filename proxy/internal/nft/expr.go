package nft

import (
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// exprs are the expressions of a rule. Registers have 4 bytes each, from reg0.
type exprs []expr.Any

const reg0 = unix.NFT_REG32_00

func cat(parts ...exprs) exprs {
	var all exprs
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// lookup replaces a key in registers by what a map has for it; without that
// the rule ends.
func lookup(key uint32, in string, to uint32) exprs {
	return exprs{&expr.Lookup{SourceRegister: key, SetName: in, DestRegister: to, IsDestRegSet: true}}
}

func in(key uint32, set string) exprs {
	return exprs{&expr.Lookup{SourceRegister: key, SetName: set}}
}

func notIn(key uint32, set string) exprs {
	return exprs{&expr.Lookup{SourceRegister: key, SetName: set, Invert: true}}
}

// order turns a number to network order, in which ranges are compared.
func order(reg uint32) exprs {
	return exprs{&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 4, Size: 4}}
}

// and keeps the bits of a mask of a number.
func and(reg, mask uint32) exprs { return bits(reg, mask, 0) }

func bits(reg, mask, xor uint32) exprs {
	return exprs{&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: number32(mask), Xor: number32(xor)}}
}

func equal(reg uint32, v []byte) exprs {
	return exprs{&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: v}}
}

func differs(reg uint32, v []byte) exprs {
	return exprs{&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: v}}
}

func meta(key expr.MetaKey, reg uint32) exprs { return exprs{&expr.Meta{Key: key, Register: reg}} }

// ofFamily narrows a rule to packets of a family.
func ofFamily(f service.Family) exprs {
	proto := byte(unix.NFPROTO_IPV4)
	if f == service.IPv6 {
		proto = unix.NFPROTO_IPV6
	}
	return cat(meta(expr.MetaKeyNFPROTO, reg0), equal(reg0, []byte{proto}))
}

func payload(base expr.PayloadBase, offset, size, reg uint32) exprs {
	return exprs{&expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: size}}
}

// addressLen is how many registers, and bytes, an address takes.
func addressLen(f service.Family) (registers, bytes uint32) {
	if f == service.IPv6 {
		return 4, 16
	}
	return 1, 4
}

func saddr(f service.Family, reg uint32) exprs {
	if f == service.IPv6 {
		return payload(expr.PayloadBaseNetworkHeader, 8, 16, reg)
	}
	return payload(expr.PayloadBaseNetworkHeader, 12, 4, reg)
}

func daddr(f service.Family, reg uint32) exprs {
	if f == service.IPv6 {
		return payload(expr.PayloadBaseNetworkHeader, 24, 16, reg)
	}
	return payload(expr.PayloadBaseNetworkHeader, 16, 4, reg)
}

// within compares an address, already in registers, with a block.
func within(reg uint32, p netip.Prefix, op expr.CmpOp) exprs {
	size := p.Addr().BitLen() / 8
	var out exprs
	if !p.IsSingleIP() {
		mask := make([]byte, size)
		for i := range p.Bits() {
			mask[i/8] |= 0x80 >> (i % 8)
		}
		out = exprs{&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: uint32(size), Mask: mask, Xor: make([]byte, size)}}
	}
	return append(out, &expr.Cmp{Op: op, Register: reg, Data: p.Masked().Addr().AsSlice()})
}

// link compares the name of a link; a final + stands for any ending.
func link(key expr.MetaKey, name string, op expr.CmpOp) exprs {
	data := make([]byte, unix.IFNAMSIZ)
	if prefix, ok := strings.CutSuffix(name, "+"); ok {
		data = []byte(prefix)
	} else {
		copy(data, name)
	}
	return append(meta(key, reg0), &expr.Cmp{Op: op, Register: reg0, Data: data})
}

// local narrows a rule to addresses of the node.
func local(f expr.Fib) exprs {
	f.Register, f.ResultADDRTYPE = reg0, true
	return cat(exprs{&f}, equal(reg0, number32(unix.RTN_LOCAL)))
}

func toLocal() exprs   { return local(expr.Fib{FlagDADDR: true}) }
func fromLocal() exprs { return local(expr.Fib{FlagSADDR: true}) }

// protoPort puts the protocol and the destination's port into registers.
func protoPort(reg uint32) exprs {
	return cat(meta(expr.MetaKeyL4PROTO, reg), payload(expr.PayloadBaseTransportHeader, 2, 2, reg+1))
}

// fullKey puts destination, protocol and port into registers.
func fullKey(f service.Family) exprs {
	n, _ := addressLen(f)
	return cat(daddr(f, reg0), protoPort(reg0+n))
}

func random(reg, below uint32) exprs {
	return exprs{&expr.Numgen{Register: reg, Modulus: below, Type: unix.NFT_NG_RANDOM}}
}

// dnat goes to the address and port in registers.
func dnat(f service.Family, reg uint32) exprs {
	n, _ := addressLen(f)
	family := uint32(unix.NFPROTO_IPV4)
	if f == service.IPv6 {
		family = unix.NFPROTO_IPV6
	}
	return exprs{&expr.NAT{Type: expr.NATTypeDestNAT, Family: family, RegAddrMin: reg, RegProtoMin: reg + n, Specified: true}}
}

// setMark sets bits of the packet's mark, clearMark clears them.
func setMark(bit uint32) exprs   { return changeMark(^bit, bit) }
func clearMark(bit uint32) exprs { return changeMark(^bit, 0) }

func changeMark(mask, xor uint32) exprs {
	return cat(meta(expr.MetaKeyMARK, reg0), bits(reg0, mask, xor), write(expr.MetaKeyMARK))
}

// write sets a field of the packet to reg0.
func write(key expr.MetaKey) exprs {
	return exprs{&expr.Meta{Key: key, Register: reg0, SourceRegister: true}}
}

func immediate(reg uint32, v []byte) exprs { return exprs{&expr.Immediate{Register: reg, Data: v}} }

func hasMark(bit uint32) exprs {
	return cat(meta(expr.MetaKeyMARK, reg0), and(reg0, bit), equal(reg0, number32(bit)))
}

func ctMark(bit uint32, op expr.CmpOp) exprs {
	return cat(exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0}}, and(reg0, bit),
		exprs{&expr.Cmp{Op: op, Register: reg0, Data: number32(bit)}})
}

func setCtMark(bit uint32) exprs {
	return cat(exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0}}, bits(reg0, ^bit, bit),
		exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0, SourceRegister: true}})
}

// ctBits narrows a rule to connections with one of these bits of state or
// status.
func ctBits(key expr.CtKey, mask uint32) exprs {
	return cat(exprs{&expr.Ct{Key: key, Register: reg0}}, and(reg0, mask), differs(reg0, number32(0)))
}

const (
	ctInvalid = 1 << 0 // NF_CT_STATE_INVALID_BIT
	ctNew     = 1 << 3 // NF_CT_STATE_BIT(IP_CT_NEW)
	ctDNAT    = 1 << 5 // IPS_DST_NAT
)

func counter() exprs { return exprs{&expr.Counter{}} }

func verdict(kind expr.VerdictKind, chain string) exprs {
	return exprs{&expr.Verdict{Kind: kind, Chain: chain}}
}

func goTo(chain string) exprs { return verdict(expr.VerdictGoto, chain) }
func jump(chain string) exprs { return verdict(expr.VerdictJump, chain) }
func drop() exprs             { return verdict(expr.VerdictDrop, "") }
func back() exprs             { return verdict(expr.VerdictReturn, "") }

func masquerade() exprs { return exprs{&expr.Masq{FullyRandom: true}} }

// Operations of dynset.
const (
	dynsetUpdate = 1
	dynsetDelete = 2
)

func dynset(op uint32, set string, key, data uint32, stay time.Duration) exprs {
	return exprs{&expr.Dynset{SetName: set, Operation: op, SrcRegKey: key, SrcRegData: data, Timeout: stay}}
}

func snat(to netip.Addr, random, persistentlyRandom bool) exprs {
	return exprs{
		&expr.Immediate{Register: reg0, Data: to.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg0, Random: random, FullyRandom: persistentlyRandom},
	}
}
