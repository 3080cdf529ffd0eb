package ec2api

import (
	"net/netip"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

type assignReply struct {
	head
	InterfaceID string              `xml:"networkInterfaceId"`
	Addresses   *list[assigned4XML] `xml:"assignedPrivateIpAddressesSet"`
	Prefixes    *list[prefix4XML]   `xml:"assignedIpv4PrefixSet"`
	Return      bool                `xml:"return"`
}

type assigned4XML struct {
	Address string `xml:"privateIpAddress"`
}

func (s *Server) assignPrivateIPAddresses(c *call) (reply, error) {
	id := c.interfaceID()
	ask := vpc.Ask{
		Count: c.number("SecondaryPrivateIpAddressCount"), Addresses: c.addrs(c.texts("PrivateIpAddress")),
		PrefixCount: c.number("Ipv4PrefixCount"), Prefixes: c.prefixes(c.texts("Ipv4Prefix")),
	}
	reassign := c.on("AllowReassignment")
	if err := c.done(); err != nil {
		return nil, err
	}
	addresses, prefixes, err := s.model.AssignPrivateIPAddresses(c.Call, id, ask, reassign)
	if err != nil {
		return nil, err
	}
	out := &assignReply{InterfaceID: id, Return: true}
	if len(addresses) > 0 {
		out.Addresses = listOf(addresses, func(a netip.Addr) assigned4XML { return assigned4XML{a.String()} })
	}
	if len(prefixes) > 0 {
		out.Prefixes = listOf(prefixes, func(p netip.Prefix) prefix4XML { return prefix4XML{p.String()} })
	}
	return out, nil
}

func (s *Server) unassignPrivateIPAddresses(c *call) (reply, error) {
	id := c.interfaceID()
	addresses, prefixes := c.addrs(c.texts("PrivateIpAddress")), c.prefixes(c.texts("Ipv4Prefix"))
	if err := c.done(); err != nil {
		return nil, err
	}
	if err := s.model.UnassignPrivateIPAddresses(c.Call, id, addresses, prefixes); err != nil {
		return nil, err
	}
	return done()
}

type assignIPv6Reply struct {
	head
	InterfaceID string        `xml:"networkInterfaceId"`
	Addresses   *list[string] `xml:"assignedIpv6Addresses"`
	Prefixes    *list[string] `xml:"assignedIpv6PrefixSet"`
}

func (s *Server) assignIPv6Addresses(c *call) (reply, error) {
	id := c.interfaceID()
	ask := vpc.Ask{
		Count: c.number("Ipv6AddressCount"), Addresses: c.addrs(c.texts("Ipv6Addresses")),
		PrefixCount: c.number("Ipv6PrefixCount"), Prefixes: c.prefixes(c.texts("Ipv6Prefix")),
	}
	if err := c.done(); err != nil {
		return nil, err
	}
	addresses, prefixes, err := s.model.AssignIPv6Addresses(c.Call, id, ask)
	if err != nil {
		return nil, err
	}
	return &assignIPv6Reply{InterfaceID: id, Addresses: &list[string]{texts(addresses)}, Prefixes: &list[string]{texts(prefixes)}}, nil
}

type unassignIPv6Reply struct {
	head
	InterfaceID string        `xml:"networkInterfaceId"`
	Addresses   *list[string] `xml:"unassignedIpv6Addresses"`
	Prefixes    *list[string] `xml:"unassignedIpv6PrefixSet"`
}

func (s *Server) unassignIPv6Addresses(c *call) (reply, error) {
	id := c.interfaceID()
	addresses, prefixes := c.addrs(c.texts("Ipv6Addresses")), c.prefixes(c.texts("Ipv6Prefix"))
	if err := c.done(); err != nil {
		return nil, err
	}
	if err := s.model.UnassignIPv6Addresses(c.Call, id, addresses, prefixes); err != nil {
		return nil, err
	}
	return &unassignIPv6Reply{InterfaceID: id, Addresses: &list[string]{texts(addresses)}, Prefixes: &list[string]{texts(prefixes)}}, nil
}
