package nft

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Keys and data of elements are as registers hold them: every part fills up
// its last 4 bytes.

func protocolNumber(p service.Protocol) byte {
	switch p {
	case service.UDP:
		return unix.IPPROTO_UDP
	case service.SCTP:
		return unix.IPPROTO_SCTP
	}
	return unix.IPPROTO_TCP
}

func portKey(p service.Protocol, port uint16) string { return string(appendPort(nil, p, port)) }

func appendPort(b []byte, p service.Protocol, port uint16) []byte {
	return append(b, protocolNumber(p), 0, 0, 0, byte(port>>8), byte(port), 0, 0)
}

func frontKey(a netip.Addr, p service.Protocol, port uint16) string {
	b := make([]byte, 0, 24)
	return string(appendPort(append(b, a.AsSlice()...), p, port))
}

func numberKey(v uint32) string { return string(number32(v)) }

func pairKey(a, b uint32) string {
	return string(binary.NativeEndian.AppendUint32(number32(a), b))
}

func rangeKey(group uint32, p netip.Prefix) (key, end string) {
	last := p.Masked().Addr().AsSlice()
	for i := range last {
		if host := p.Bits() - 8*i; host < 8 {
			last[i] |= byte(0xff >> max(host, 0))
		}
	}
	id := string(binary.BigEndian.AppendUint32(nil, group))
	return id + string(p.Masked().Addr().AsSlice()), id + string(last)
}

func appendEndpoint(b []byte, at netip.AddrPort) []byte {
	if a := at.Addr(); a.Is4() {
		v4 := a.As4()
		b = append(b, v4[:]...)
	} else {
		v6 := a.As16()
		b = append(b, v6[:]...)
	}
	return append(b, byte(at.Port()>>8), byte(at.Port()), 0, 0)
}

func endpointData(at netip.AddrPort) string { return string(appendEndpoint(nil, at)) }

// endpointFrom reads what appendEndpoint wrote; false if it is not that.
func endpointFrom(b []byte) (netip.AddrPort, bool) {
	if len(b) != 8 && len(b) != 20 {
		return netip.AddrPort{}, false
	}
	n := len(b) - 4
	a, ok := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[n:])), ok
}
