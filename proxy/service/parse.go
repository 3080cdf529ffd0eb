package service

import (
	"fmt"
	"net/netip"
	"strings"
)

// ParseAddr reads an address as the API keeps it. Old objects may hold IPv4
// addresses with leading zeros, which are read as decimal, as the API does, and
// IPv4 addresses mapped into IPv6, which are IPv4.
func ParseAddr(s string) (netip.Addr, error) {
	a, err := netip.ParseAddr(withoutZeros(strings.TrimSpace(s)))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is no IP address: want one as 10.0.0.1 or fd00::1", s)
	}
	return a.Unmap(), nil
}

// ParsePrefix reads a CIDR block as the API keeps it: as ParseAddr, and host
// bits are dropped.
func ParsePrefix(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(withoutZeros(strings.TrimSpace(s)))
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is no CIDR block: want one as 10.0.0.0/16 or fd00::/64", s)
	}
	return p.Masked(), nil
}

// withoutZeros takes leading zeros off the parts of an IPv4 address.
func withoutZeros(s string) string {
	if !strings.Contains(s, ".") || strings.Contains(s, ":") {
		return s
	}
	addr, bits, isBlock := strings.Cut(s, "/")
	parts := strings.Split(addr, ".")
	for i, part := range parts {
		if trimmed := strings.TrimLeft(part, "0"); trimmed != "" {
			parts[i] = trimmed
		} else if part != "" {
			parts[i] = "0"
		}
	}
	addr = strings.Join(parts, ".")
	if isBlock {
		return addr + "/" + bits
	}
	return addr
}
