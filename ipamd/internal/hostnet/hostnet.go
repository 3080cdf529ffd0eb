// Package hostnet plans the network of the node itself: the links, route
// tables and rules of its ENIs, the sysctls, and the host side of every pod.
//
// It is pure: ENIs, pods and settings go in, a linux.State comes out. What is
// wanted for a device or a pod that is not there yet is nothing: a device is
// configured when it appears, and a pod's routes are kept from the moment the
// plugin made its link.
package hostnet

import (
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

// Node is all that the plan depends on.
type Node struct {
	MTU  int  // of ENIs, bytes
	Mark bool // connections may carry the connection mark: node ports or SNAT are on
	// MarkValue is the connection mark, value and mask.
	MarkValue  uint32
	VethPrefix string
	// ExternalServices are destinations that the main table routes for all pods.
	ExternalServices []netip.Prefix
	ENIs             []ENI
	Pods             []podnet.Assignment
}

// ENI is an attached interface whose device is present.
type ENI struct {
	ID      string // of the ENI, for the caller
	Link    string // the device's name on this node
	Primary bool
	Table   int
	Gateway netip.Addr
	Address netip.Addr // its own primary address
	IPv6    bool       // pods may have IPv6 addresses of it
}

// Table is the route table of an ENI: main for the primary one, device number
// + 1 for the others (amazon-vpc-cni-k8s, CalculateRouteTableId).
func Table(device int) int {
	if device == 0 {
		return config.TableMain
	}
	return device + 1
}

// Scope is what the node's plan owns.
func Scope(n Node) linux.Scope {
	s := linux.Scope{
		VethPrefix: n.VethPrefix,
		Priorities: []int{config.RuleToPod, config.RuleMark, config.RuleExternalService, config.RuleFromPod},
	}
	for _, e := range n.ENIs {
		if !e.Primary && e.Table != config.TableMain { // main is never ours as a whole
			s.Secondary = append(s.Secondary, e.Link)
			s.Tables = append(s.Tables, e.Table)
		}
	}
	return s
}

// Plan is the wanted state of the node.
func Plan(n Node) linux.State {
	s := linux.State{Sysctls: []linux.Sysctl{{Key: "net/ipv4/ip_forward", Value: "1"}}}
	if n.Mark {
		s.Rules = append(s.Rules, linux.Rule{
			Priority: config.RuleMark, Mark: n.MarkValue, Mask: n.MarkValue, Table: config.TableMain,
		})
	}
	for _, block := range n.ExternalServices {
		s.Rules = append(s.Rules, linux.Rule{Priority: config.RuleExternalService, To: block, Table: config.TableMain})
	}
	s.Sysctls = append(s.Sysctls, forwarding6(n.ENIs)...)
	for _, e := range n.ENIs {
		s = linux.Join(s, eniState(e, n.MTU))
	}
	for _, p := range n.Pods {
		host := podnet.Host(p)
		host.Links = append(host.Links, linux.Link{Name: p.HostLink, MTU: p.MTU, Up: true})
		s = linux.Join(s, host)
	}
	return s
}

// forwarding6 makes the node a router of IPv6 if pods have such addresses. One
// that forwards ignores router advertisements, from which it may have its default
// route, unless it is told to accept them all the same: so that comes first.
func forwarding6(enis []ENI) []linux.Sysctl {
	if !slices.ContainsFunc(enis, func(e ENI) bool { return e.IPv6 }) {
		return nil
	}
	all := []linux.Sysctl{{Key: "net/ipv6/conf/all/disable_ipv6", Value: "0"}}
	for _, e := range enis {
		if e.Primary {
			all = append(all, linux.Sysctl{Key: "net/ipv6/conf/" + e.Link + "/accept_ra", Value: "2"})
		}
	}
	return append(all, linux.Sysctl{Key: "net/ipv6/conf/all/forwarding", Value: "1"})
}

// eniState gives a secondary ENI a table of its own by which its pods leave,
// and its own address: what a pod sends through a masquerading service leaves
// by it too, and must do so under an address that EC2 knows to be there.
// The reverse-path filter is loose on every ENI: a reply to a pod of one ENI
// may arrive on another (external SNAT), and a load balancer's clients arrive
// where no route leads back to them.
func eniState(e ENI, mtu int) linux.State {
	s := linux.State{
		Links:   []linux.Link{{Name: e.Link, MTU: mtu, Up: true}},
		Sysctls: []linux.Sysctl{{Key: "net/ipv4/conf/" + e.Link + "/rp_filter", Value: "2"}},
	}
	if e.Primary {
		return s
	}
	s.Addrs = []linux.Addr{{Link: e.Link, Prefix: linux.HostPrefix(e.Address)}}
	s.Routes = []linux.Route{
		{Table: e.Table, Dst: linux.HostPrefix(e.Gateway), Link: e.Link},
		{Table: e.Table, Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Via: e.Gateway, Link: e.Link},
	}
	if e.IPv6 {
		s.Routes = append(s.Routes, linux.Route{
			Table: e.Table, Dst: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Via: netip.MustParseAddr(config.VPCGateway6), Link: e.Link,
		})
	}
	return s
}
