package lb

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Marks that connections carry: what happens to the client's address.
const (
	markKept     = 1
	markReplaced = 2
)

// front is a port of a network load balancer in one zone, and where its new
// flows go.
type front struct {
	name      string // for the chain: balancer, zone, protocol, port
	addr      netip.AddrPort
	protocol  string // "tcp" or "udp"
	preserve  bool
	endpoints []netip.AddrPort
}

// pair is a source that a target cannot be reached from, with the client's
// address kept: the target itself, or any address of the same instance.
type pair struct {
	source netip.Prefix
	target netip.Addr
}

// tables is what the kernel is asked to do for all balancers.
type tables struct {
	fronts  []front
	hairpin map[pair]bool
	proxied []netip.AddrPort // where application load balancers listen
}

// ruleset writes the tables for nft, as one transaction that puts the new
// table in place of the old one. Flows keep their targets: the kernel asks
// these rules only for the first packet of each.
//
// The target is chosen by a hash of the flow, so that a client that repeats
// itself gets the same one. A packet of a flow that was idle for too long is
// answered with a reset; one that opens a flow where nothing listens vanishes.
func (t tables) ruleset() string {
	var b strings.Builder
	b.WriteString("table ip vpcsim\ndelete table ip vpcsim\ntable ip vpcsim {\n")
	set(&b, "map listeners", "type ipv4_addr . inet_proto . inet_service : verdict;", t.listeners())
	set(&b, "set hairpin", "type ipv4_addr . ipv4_addr; flags interval;", t.pairs())
	set(&b, "set proxied", "type ipv4_addr . inet_service;", texts(t.proxied))
	for _, f := range t.fronts {
		f.chain(&b)
	}
	fmt.Fprintf(&b, `
	chain listen {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr . meta l4proto . th dport vmap @listeners
	}

	chain own_address {
		type nat hook postrouting priority srcnat; policy accept;
		ct mark %d snat to ct original ip daddr
	}

	chain hairpin {
		type filter hook forward priority filter; policy accept;
		ct mark %d ct direction original ip saddr . ip daddr @hairpin drop
	}

	chain local {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		ct state invalid meta l4proto tcp reject with tcp reset
		ip daddr . tcp dport @proxied accept
	}
}
`, markReplaced, markKept)
	return b.String()
}

func (t tables) listeners() []string {
	var out []string
	for _, f := range t.fronts {
		out = append(out, fmt.Sprintf("%s . %s . %d : goto %s", f.addr.Addr(), f.protocol, f.addr.Port(), f.name))
	}
	return out
}

func (t tables) pairs() []string {
	var out []string
	for p := range maps.Keys(t.hairpin) {
		source := p.source.String()
		if p.source.IsSingleIP() {
			source = p.source.Addr().String()
		}
		out = append(out, source+" . "+p.target.String())
	}
	return slices.Sorted(slices.Values(out))
}

// chain is where a flow of the front gets its target. Without one it is left
// as it is, and vanishes.
func (f front) chain(b *strings.Builder) {
	fmt.Fprintf(b, "\n\tchain %s {\n", f.name)
	if n := len(f.endpoints); n > 0 {
		mark := markReplaced
		if f.preserve {
			mark = markKept
		}
		var slots []string
		for i, e := range f.endpoints {
			slots = append(slots, fmt.Sprintf("%d : %s . %d", i, e.Addr(), e.Port()))
		}
		fmt.Fprintf(b, "\t\tct mark set %d\n", mark)
		fmt.Fprintf(b, "\t\tmeta l4proto %[1]s dnat ip addr . port to jhash ip saddr . %[1]s sport . ip daddr . %[1]s dport mod %d seed %#x map { %s }\n",
			f.protocol, n, f.seed(), strings.Join(slots, ", "))
	}
	b.WriteString("\t}\n")
}

// seed is the same for as long as the front is there.
func (f front) seed() uint32 {
	h := fnv.New32a()
	h.Write([]byte(f.name)) // a hash takes everything
	return h.Sum32() | 1
}

func set(b *strings.Builder, head, kind string, elements []string) {
	fmt.Fprintf(b, "\t%s {\n\t\t%s\n", head, kind)
	if len(elements) > 0 {
		fmt.Fprintf(b, "\t\telements = { %s }\n", strings.Join(elements, ", "))
	}
	b.WriteString("\t}\n")
}

func texts(endpoints []netip.AddrPort) []string {
	var out []string
	for _, e := range endpoints {
		out = append(out, fmt.Sprintf("%s . %d", e.Addr(), e.Port()))
	}
	return out
}
