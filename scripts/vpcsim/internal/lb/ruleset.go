package lb

import (
	"fmt"
	"hash/fnv"
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
	name      string // balancer, zone, protocol, port
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

// chains are always there; only their rules change. With chains that were made
// anew by each transaction, TestReload lost first packets.
const chains = `table ip vpcsim {
	chain listen { type nat hook prerouting priority dstnat; policy accept; }
	chain own_address { type nat hook postrouting priority srcnat; policy accept; }
	chain hairpin { type filter hook forward priority filter; policy accept; }
	chain local { type filter hook input priority filter; policy drop; }
}
flush table ip vpcsim
`

// ruleset writes the tables for nft, as one transaction that puts the new rules
// in place of the old ones. Flows keep their targets: the kernel asks these
// rules only for the first packet of each.
//
// The target is chosen by a hash of the flow, so that a client that repeats
// itself gets the same one. A packet of a flow that was idle for too long is
// answered with a reset; one that opens a flow where nothing listens vanishes.
func (t tables) ruleset() string {
	var b strings.Builder
	b.WriteString(chains)
	for _, f := range t.fronts {
		for _, r := range f.rules() {
			rule(&b, "listen", "%s", r)
		}
	}
	rule(&b, "own_address", "ct mark %d snat to ct original ip daddr", markReplaced)
	if pairs := t.pairs(); len(pairs) > 0 {
		rule(&b, "hairpin", "ct mark %d ct direction original ip saddr . ip daddr { %s } drop", markKept, strings.Join(pairs, ", "))
	}
	rule(&b, "local", "ct state established,related accept")
	rule(&b, "local", "ct state invalid meta l4proto tcp reject with tcp reset")
	for _, p := range t.proxied {
		rule(&b, "local", "ip daddr %s tcp dport %d accept", p.Addr(), p.Port())
	}
	return b.String()
}

func rule(b *strings.Builder, chain, format string, args ...any) {
	fmt.Fprintf(b, "add rule ip vpcsim %s %s\n", chain, fmt.Sprintf(format, args...))
}

// rules give a flow of the front its target, one rule for each. A map from
// hash to target would be shorter; but a packet that is under way while rules
// change could find it empty, where a list of rules is the old or the new one.
func (f front) rules() []string {
	mark := markReplaced
	if f.preserve {
		mark = markKept
	}
	var out []string
	for i, e := range f.endpoints {
		out = append(out, fmt.Sprintf("ip daddr %[1]s %[2]s dport %[3]d"+
			" jhash ip saddr . %[2]s sport . ip daddr . %[2]s dport mod %[4]d seed %#[5]x == %[6]d ct mark set %[7]d dnat to %[8]s comment %[9]q",
			f.addr.Addr(), f.protocol, f.addr.Port(), len(f.endpoints), f.seed(), i, mark, e, f.name))
	}
	return out
}

// seed is the same for as long as the front is there.
func (f front) seed() uint32 {
	h := fnv.New32a()
	h.Write([]byte(f.name)) // a hash takes everything
	return h.Sum32() | 1
}

func (t tables) pairs() []string {
	var out []string
	for p := range t.hairpin {
		source := p.source.String()
		if p.source.IsSingleIP() {
			source = p.source.Addr().String()
		}
		out = append(out, source+" . "+p.target.String())
	}
	slices.Sort(out)
	return out
}
