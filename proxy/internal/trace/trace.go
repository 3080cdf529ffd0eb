// Package trace walks packets through rules as values and says what becomes of
// them: which link they leave by, what is translated, and why.
//
// It knows the hooks that a forwarded packet meets, connection tracking, and
// the routing of a node (rules 512, 1024 and 1536). It sends nothing and reads
// no kernel. What it does not know it refuses to guess: a rule-set whose jumps
// lead nowhere is an error.
package trace

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// Pod is where a pod's packets come in, and where they go by its own table.
type Pod struct {
	Veth string
	ENI  string // link of the ENI that owns the pod's address
}

// Node is all that decides a packet's way.
type Node struct {
	Rules   ruleset.Ruleset
	Mark    uint32                // selects the main table (rule 1024)
	Primary string                // link of the main table's default route
	Local   map[netip.Addr]string // the node's own addresses, with their links
	Pods    map[netip.Addr]Pod
	// DNAT stands for the service chains, which come before ours: addresses
	// that they translate, with the endpoint chosen.
	DNAT map[netip.Addr]netip.Addr
}

// Packet is a packet as it comes in.
type Packet struct {
	In       string // link
	Src, Dst netip.Addr
}

// Fate is what becomes of a packet.
type Fate struct {
	Out      string // link that it leaves by; "local" if it stays
	Src, Dst netip.Addr
	Marked   bool     // routed by the main table because of the mark
	Path     []string // rules that held, as "table chain: rule"
}

// String is the fate without its path.
func (f Fate) String() string {
	mark := ""
	if f.Marked {
		mark = " marked"
	}
	return fmt.Sprintf("%s -> %s by %s%s", f.Src, f.Dst, f.Out, mark)
}

// Conn is a connection as conntrack keeps it.
type Conn struct {
	node     Node
	src, dst netip.Addr // as the first packet came in
	snat     netip.Addr // zero if not translated
	endpoint netip.Addr // dst, or what DNAT made of it
	mark     uint32
}

// Open follows the first packet of a connection.
func (n Node) Open(p Packet) (*Conn, Fate, error) {
	c := &Conn{node: n, src: p.Src, dst: p.Dst, endpoint: p.Dst}
	w := walk{conn: c, in: p.In, src: p.Src, dst: p.Dst}
	if err := w.chain("mangle", "PREROUTING"); err != nil {
		return nil, Fate{}, err
	}
	if endpoint, ok := n.DNAT[p.Dst]; ok {
		c.endpoint, w.dst = endpoint, endpoint
		w.path = append(w.path, fmt.Sprintf("nat KUBE-SERVICES: DNAT to %s", endpoint))
	} else if err := w.chain("nat", "PREROUTING"); err != nil {
		return nil, Fate{}, err
	}
	fate := w.route()
	if fate.Out == "local" {
		return c, fate, nil
	}
	if err := w.chain("nat", "POSTROUTING"); err != nil {
		return nil, Fate{}, err
	}
	if c.snat.IsValid() {
		fate.Src = c.snat
	}
	fate.Path = w.path
	return c, fate, nil
}

// Next follows a later packet in the direction of the first.
func (c *Conn) Next(in string) (Fate, error) {
	return c.later(in, c.src, c.dst, c.endpoint, c.snat)
}

// Reply follows a packet of the answer, which comes in by a link. Its
// destination is restored before routing, its source after.
func (c *Conn) Reply(in string) (Fate, error) {
	from, to := c.endpoint, c.src
	if c.snat.IsValid() {
		to = c.snat
	}
	restored := netip.Addr{}
	if c.endpoint != c.dst {
		restored = c.dst
	}
	return c.later(in, from, to, c.src, restored)
}

// later follows a packet of a known connection: it meets no rule of nat.
func (c *Conn) later(in string, src, dst, newDst, newSrc netip.Addr) (Fate, error) {
	w := walk{conn: c, in: in, src: src, dst: dst}
	if err := w.chain("mangle", "PREROUTING"); err != nil {
		return Fate{}, err
	}
	w.dst = newDst
	fate := w.route()
	if newSrc.IsValid() {
		fate.Src = newSrc
	}
	return fate, nil
}

// walk is a packet on its way.
type walk struct {
	conn     *Conn
	in, out  string
	src, dst netip.Addr
	mark     uint32
	path     []string
}

// route applies the node's routing rules, in their order.
func (w *walk) route() Fate {
	n := w.conn.node
	fate := Fate{Src: w.src, Dst: w.dst, Path: w.path}
	toPod, isToPod := n.Pods[w.dst]
	fromPod, isFromPod := n.Pods[w.src]
	switch {
	case n.Local[w.dst] != "":
		fate.Out = "local"
	case isToPod:
		fate.Out = toPod.Veth
	case w.mark&n.Mark != 0:
		fate.Out, fate.Marked = n.Primary, true
	case isFromPod:
		fate.Out = fromPod.ENI
	default:
		fate.Out = n.Primary
	}
	w.out = fate.Out
	return fate
}

// chain runs a built-in chain.
func (w *walk) chain(table, name string) error {
	i := slices.IndexFunc(w.conn.node.Rules, func(t ruleset.Table) bool { return t.Name == table })
	if i < 0 {
		return nil
	}
	t := w.conn.node.Rules[i]
	for _, b := range t.Base {
		if b.Chain == name {
			_, err := w.rules(t, name, b.Rules)
			return err
		}
	}
	return nil
}

// rules runs a chain's rules and says whether one of them ended the hook.
func (w *walk) rules(t ruleset.Table, chain string, rules []ruleset.Rule) (ended bool, err error) {
	for _, r := range rules {
		if !w.matches(r) {
			continue
		}
		w.path = append(w.path, fmt.Sprintf("%s %s: %s", t.Name, chain, r))
		switch target := r.Target.(type) {
		case ruleset.Return:
			return false, nil
		case ruleset.SetConnmark:
			w.conn.mark |= uint32(target)
		case ruleset.RestoreMark:
			w.mark = w.mark&^uint32(target) | w.conn.mark&uint32(target)
		case ruleset.SNAT:
			w.conn.snat = target.To
			return true, nil
		case ruleset.Jump:
			ended, err := w.jump(t, string(target))
			if ended || err != nil {
				return ended, err
			}
		}
	}
	return false, nil
}

func (w *walk) jump(t ruleset.Table, chain string) (ended bool, err error) {
	i := slices.IndexFunc(t.Chains, func(c ruleset.Chain) bool { return c.Name == chain })
	if i < 0 {
		return false, fmt.Errorf("table %s: a jump to %s, which does not exist", t.Name, chain)
	}
	return w.rules(t, chain, t.Chains[i].Rules)
}

func (w *walk) matches(r ruleset.Rule) bool {
	if r.In != "" && !matchLink(r.In, w.in) || r.Not.Out != "" && matchLink(r.Not.Out, w.out) {
		return false
	}
	if r.Dst.IsValid() && !r.Dst.Contains(w.dst) {
		return false
	}
	link, local := w.conn.node.Local[w.dst]
	switch r.Local {
	case ruleset.ToLocalOnIn:
		return local && link == w.in
	case ruleset.NotToLocal:
		return !local
	}
	return true
}

// matchLink holds a link's name against a pattern that may end in +.
func matchLink(pattern, link string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(link, prefix)
	}
	return pattern == link
}
