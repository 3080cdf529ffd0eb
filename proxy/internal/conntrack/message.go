package conntrack

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Types of messages and attributes, from linux/netfilter/nfnetlink.h and
// nfnetlink_conntrack.h.
const (
	getFlow    = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	deleteFlow = unix.NFNL_SUBSYS_CTNETLINK<<8 | 2

	ctaTupleOrig  = 1
	ctaTupleReply = 2
	ctaID         = 12
	ctaZone       = 18
	ctaFilter     = 25

	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum     = 1
	ctaProtoSrcPort = 2
	ctaProtoDstPort = 3

	ctaFilterOrig = 1
	// Flags of ctaFilterOrig: the parts of the tuple to compare.
	byProtocol = 1 << 3
	byDstPort  = 1 << 5
)

const (
	headerLen = 4 // of a netfilter message: family, version, resource
	attrLen   = 4 // of an attribute: length, type
	typeMask  = ^uint16(unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
)

// entry is what we read of an entry of the table. Its raw parts, attribute
// headers included, lie in the buffer it was read from.
type entry struct {
	flow           Flow
	protocol       uint8
	orig, zone, id []byte
}

// parseEntry reads the attributes of an entry; not ok is one that is cut, or
// has no two tuples with addresses and ports.
func parseEntry(attrs []byte) (e entry, ok bool) {
	var orig, reply tuple
	for len(attrs) > 0 {
		kind, value, whole, rest, ok := cut(attrs)
		if !ok {
			return entry{}, false
		}
		switch kind {
		case ctaTupleOrig:
			e.orig, orig = whole, parseTuple(value)
		case ctaTupleReply:
			reply = parseTuple(value)
		case ctaZone:
			e.zone = whole
		case ctaID:
			e.id = whole
		}
		attrs = rest
	}
	e.protocol = orig.protocol
	e.flow = Flow{To: netip.AddrPortFrom(orig.dst, orig.dstPort), From: netip.AddrPortFrom(reply.src, reply.srcPort)}
	return e, orig.dst.IsValid() && reply.src.IsValid() && orig.ports && reply.ports
}

// tuple is one direction of a flow.
type tuple struct {
	protocol         uint8
	src, dst         netip.Addr
	ports            bool
	srcPort, dstPort uint16
}

func parseTuple(b []byte) (t tuple) {
	src, dst := false, false
	each(b, func(kind uint16, value []byte) {
		switch kind {
		case ctaTupleIP:
			each(value, func(kind uint16, value []byte) {
				switch addr, _ := netip.AddrFromSlice(value); kind {
				case ctaIPv4Src, ctaIPv6Src:
					t.src = addr
				case ctaIPv4Dst, ctaIPv6Dst:
					t.dst = addr
				}
			})
		case ctaTupleProto:
			each(value, func(kind uint16, value []byte) {
				switch {
				case kind == ctaProtoNum && len(value) == 1:
					t.protocol = value[0]
				case kind == ctaProtoSrcPort && len(value) == 2:
					t.srcPort, src = binary.BigEndian.Uint16(value), true
				case kind == ctaProtoDstPort && len(value) == 2:
					t.dstPort, dst = binary.BigEndian.Uint16(value), true
				}
			})
		}
	})
	t.ports = src && dst
	return t
}

// each goes through attributes until they end or one is cut.
func each(b []byte, f func(kind uint16, value []byte)) {
	for len(b) > 0 {
		kind, value, _, rest, ok := cut(b)
		if !ok {
			return
		}
		f(kind, value)
		b = rest
	}
}

// cut takes the first attribute off: its value, and the whole of it, padded.
func cut(b []byte) (kind uint16, value, whole, rest []byte, ok bool) {
	if len(b) < attrLen {
		return 0, nil, nil, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < attrLen || n > len(b) {
		return 0, nil, nil, nil, false
	}
	end := min(align(n), len(b))
	return binary.NativeEndian.Uint16(b[2:]) & typeMask, b[attrLen:n], b[:end], b[end:], true
}

// align rounds up to the boundary of messages and attributes.
func align(n int) int { return (n + 3) &^ 3 }

// filter is which flows the kernel is to show: those of a family, and of these
// the UDP ones only, to one port unless that is 0. Kernels before 5.8 show all
// of the family.
type filter struct {
	family uint8
	port   uint16
}

// appendList adds the request for a listing; without narrowing it shows the
// whole family, in the way that all kernels know.
func appendList(b []byte, f filter, narrow bool) []byte {
	return appendMessage(b, getFlow, unix.NLM_F_DUMP, f.family, func(b []byte) []byte {
		if !narrow {
			return b
		}
		by := uint32(byProtocol)
		if f.port != 0 {
			by |= byDstPort
		}
		b = appendNested(b, ctaTupleOrig, func(b []byte) []byte {
			return appendNested(b, ctaTupleProto, func(b []byte) []byte {
				b = appendAttr(b, ctaProtoNum, []byte{unix.IPPROTO_UDP})
				return appendAttr(b, ctaProtoDstPort, binary.BigEndian.AppendUint16(nil, f.port))
			})
		})
		return appendNested(b, ctaFilter, func(b []byte) []byte {
			return appendAttr(b, ctaFilterOrig, binary.NativeEndian.AppendUint32(nil, by))
		})
	})
}

// appendDelete adds the deletion of an entry and of no other.
func appendDelete(b []byte, family uint8, e entry) []byte {
	return appendMessage(b, deleteFlow, 0, family, func(b []byte) []byte {
		b = append(b, e.orig...)
		b = append(b, e.zone...)
		return append(b, e.id...)
	})
}

// appendMessage adds a message with a body. The sequence number is set when it
// is sent.
func appendMessage(b []byte, kind, flags uint16, family uint8, body func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, make([]byte, unix.NLMSG_HDRLEN)...)
	b = body(append(b, family, unix.NFNETLINK_V0, 0, 0))
	binary.NativeEndian.PutUint32(b[start:], uint32(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+4:], kind)
	binary.NativeEndian.PutUint16(b[start+6:], flags|unix.NLM_F_REQUEST)
	return b
}

func appendNested(b []byte, kind uint16, body func([]byte) []byte) []byte {
	start := len(b)
	b = body(append(b, 0, 0, 0, 0))
	binary.NativeEndian.PutUint16(b[start:], uint16(len(b)-start))
	binary.NativeEndian.PutUint16(b[start+2:], kind|unix.NLA_F_NESTED)
	return b
}

func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(attrLen+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, align(len(value))-len(value))...)
}
