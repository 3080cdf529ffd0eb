package ec2api

import (
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/limits"
)

type describeTypesReply struct {
	head
	Types     *list[typeXML] `xml:"instanceTypeSet"`
	NextToken string         `xml:"nextToken,omitempty"`
}

type typeXML struct {
	Name       string `xml:"instanceType"`
	BareMetal  bool   `xml:"bareMetal"`
	Hypervisor string `xml:"hypervisor,omitempty"` // absent for bare metal
	Network    struct {
		MaxInterfaces int            `xml:"maximumNetworkInterfaces"`
		MaxCards      int            `xml:"maximumNetworkCards"`
		DefaultCard   int            `xml:"defaultNetworkCardIndex"`
		Cards         *list[cardXML] `xml:"networkCards"`
		IPv4          int            `xml:"ipv4AddressesPerInterface"`
		IPv6          int            `xml:"ipv6AddressesPerInterface"`
		IPv6Supported bool           `xml:"ipv6Supported"`
	} `xml:"networkInfo"`
}

type cardXML struct {
	Index         int    `xml:"networkCardIndex"`
	Performance   string `xml:"networkPerformance"`
	MaxInterfaces int    `xml:"maximumNetworkInterfaces"`
}

type namedType struct {
	name string
	limits.Type
}

func (s *Server) describeInstanceTypes(c *call) (reply, error) {
	names, filters := c.texts("InstanceType"), c.filters()
	p := c.page(5, 100)
	c.exclusive(p, names, "instanceTypes")
	if err := c.dry(); err != nil {
		return nil, err
	}
	var all []namedType
	for _, name := range s.model.Types() {
		t, _ := s.model.Type(name)
		all = append(all, namedType{name, t})
	}
	var unknown []string
	for _, n := range names {
		if _, ok := s.model.Type(n); !ok {
			unknown = append(unknown, n)
		}
	}
	if len(unknown) > 0 {
		return nil, awserr.New("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", strings.Join(unknown, ", "))
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(t namedType) bool { return !slices.Contains(names, t.name) })
	}
	chosen, err := choose(all, filters, typeFields(), func(namedType) map[string]string { return nil })
	if err != nil {
		return nil, err
	}
	items, next := cut(chosen, p, min(100, s.topo.PageLimit), func(t namedType) string { return t.name })
	return &describeTypesReply{Types: listOf(items, typeShape), NextToken: next}, nil
}

func typeShape(t namedType) typeXML {
	out := typeXML{Name: t.name, BareMetal: t.BareMetal}
	if !t.BareMetal && t.Hypervisor != "unknown" {
		out.Hypervisor = t.Hypervisor
	}
	n := &out.Network
	n.MaxInterfaces, n.MaxCards, n.DefaultCard = t.MaxInterfaces(), len(t.Cards), t.DefaultCard
	n.IPv4, n.IPv6, n.IPv6Supported = t.IPv4, t.IPv4, true
	n.Cards = listOf(t.Cards, func(c limits.Card) cardXML { return cardXML{c.Index, "Up to 10 Gigabit", c.MaxInterfaces} })
	return out
}

func typeFields() fields[namedType] {
	return fields[namedType]{
		"instance-type": one(func(t namedType) string { return t.name }),
		"bare-metal":    one(func(t namedType) string { return strconv.FormatBool(t.BareMetal) }),
		"hypervisor":    one(func(t namedType) string { return t.Hypervisor }),
		"network-info.ipv4-addresses-per-interface": one(func(t namedType) string { return strconv.Itoa(t.IPv4) }),
		"network-info.maximum-network-interfaces":   one(func(t namedType) string { return strconv.Itoa(t.MaxInterfaces()) }),
	}
}
