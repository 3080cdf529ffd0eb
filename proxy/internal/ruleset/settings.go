package ruleset

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Settings are what all services of one family have in common.
type Settings struct {
	Family service.Family
	// MasqueradeMark is the packet mark's bit for "translate the source";
	// kube-proxy's is bit 14, 0x4000.
	MasqueradeMark uint32
	// MasqueradeAll translates the source of all that goes to a cluster IP.
	MasqueradeAll bool
	// Pods tells this node's, or the cluster's, pods from other sources.
	Pods Detector
	// NodeAddrs are this node's addresses: if a service's source ranges have
	// one of them, its balancer's addresses may come from this node.
	NodeAddrs []netip.Addr
	// NodePortAddrs are the addresses that have node ports; empty for all.
	NodePortAddrs []netip.Addr
	// LocalhostNodePorts gives 127.0.0.1 node ports, too. IPv4 only.
	LocalhostNodePorts bool
	// DropInvalid drops what conntrack cannot place; off if the sysctl
	// nf_conntrack_tcp_be_liberal is on.
	DropInvalid bool
	// AffinityLists is how many more lists of clients an endpoint has than
	// kube-proxy's one, for services with session affinity: 0, or a power of
	// two to 128. One list has room for xt_recent's ip_list_tot clients, 100
	// unless the module was loaded with more.
	AffinityLists int
	// Terse leaves the comments of endpoints out, as kube-proxy does beyond
	// 1,000 endpoints.
	Terse bool
}

// Equal says whether two settings lead to the same rules.
func (s Settings) Equal(other Settings) bool { return reflect.DeepEqual(s, other) }

// Detector tells pods by their block of addresses, or by the link that their
// packets come in by. The zero value knows none.
type Detector struct {
	Block netip.Prefix
	Link  string // name; a final + stands for any ending
}

func (d Detector) works() bool { return d.Block.IsValid() || d.Link != "" }

// pods narrows a rule to packets of pods.
func (d Detector) pods(r Rule) Rule {
	r.Src, r.In = d.Block, d.Link
	return r
}

// others narrows a rule to packets that are not of pods.
func (d Detector) others(r Rule) Rule {
	r.Not.Src, r.Not.In = d.Block, d.Link
	return r
}

// Validate says which field cannot be used, and what would be right.
func (s Settings) Validate() error {
	if s.Family != service.IPv4 && s.Family != service.IPv6 {
		return fmt.Errorf("family %s: want IPv4 or IPv6", s.Family)
	}
	if s.MasqueradeMark == 0 || s.MasqueradeMark&(s.MasqueradeMark-1) != 0 {
		return fmt.Errorf("masquerade mark %#x: want one bit, as 0x4000", s.MasqueradeMark)
	}
	if b := s.Pods.Block; b.IsValid() && (s.Pods.Link != "" || service.FamilyOf(b.Addr()) != s.Family || b.Masked() != b || b.Bits() == 0) {
		return fmt.Errorf("pods in block %s, by link %q: want an %s block without host bits, or a link", b, s.Pods.Link, s.Family)
	}
	if s.Pods.Link != "" && (!linkName(s.Pods.Link) || s.Pods.Link == "+") {
		return fmt.Errorf("pods by link %q: want the name of a link, 1 to 15 characters, or the beginning of one and +", s.Pods.Link)
	}
	for _, a := range slices.Concat(s.NodeAddrs, s.NodePortAddrs) {
		if service.FamilyOf(a) != s.Family {
			return fmt.Errorf("node address %s: want an %s address", a, s.Family)
		}
	}
	if n := s.AffinityLists; n < 0 || n > 128 || n&(n-1) != 0 {
		return fmt.Errorf("%d lists of clients: want none, or a power of two to 128", n)
	}
	if s.LocalhostNodePorts && s.Family != service.IPv4 {
		return fmt.Errorf("localhost node ports: %s has none", s.Family)
	}
	return nil
}

// protocol is how rules write a protocol.
func protocol(p service.Protocol) string { return strings.ToLower(string(p)) }

// host is the block of one address.
func host(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
