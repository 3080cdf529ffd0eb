package trace

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// walk is a packet on its way.
type walk struct {
	conn     *Conn
	luck     *luck
	in, out  string
	src, dst netip.Addr
	port     uint16
	mark     uint32
	state    string // of the connection, as conntrack says it
	marked   bool   // routed by the mark
	path     []string
}

// first takes the way of the first packet of a connection.
func (w *walk) first() error {
	enter := []hook{{"mangle", "PREROUTING"}, {"nat", "PREROUTING"}}
	if w.in == "" {
		enter = []hook{{"mangle", "OUTPUT"}, {"nat", "OUTPUT"}}
	}
	if err := w.hooks(enter...); err != nil {
		return err
	}
	w.route()
	if err := w.filter(); err != nil || w.out == Local {
		return err
	}
	return w.hooks(hook{"nat", "POSTROUTING"})
}

// later takes the way of a packet of a known connection: it meets no rule of
// nat, but is translated all the same, the destination before it is routed and
// the source after.
func (w *walk) later(dst, src netip.Addr) error {
	table := hook{"mangle", "PREROUTING"}
	if w.in == "" {
		table.chain = "OUTPUT"
	}
	if err := w.hooks(table); err != nil {
		return err
	}
	w.dst = dst
	w.route()
	err := w.filter()
	if src.IsValid() {
		w.src = src
	}
	return err
}

// route applies the node's routing rules, in their order.
func (w *walk) route() {
	n := w.conn.node
	toPod, isToPod := n.Pods[w.dst]
	fromPod, isFromPod := n.Pods[w.src]
	switch {
	case n.Local[w.dst] != "":
		w.out = Local
	case isToPod:
		w.out = toPod.Veth
	case w.mark&n.Mark != 0:
		w.out, w.marked = n.Primary, true
	case isFromPod:
		w.out = fromPod.ENI
	default:
		w.out = n.Primary
	}
}

func (w *walk) fate() Fate {
	return Fate{Out: w.out, Src: w.src, Dst: w.dst, Port: w.port, Marked: w.marked, Path: w.path}
}

// over says whether the packet is gone.
func (w *walk) over() bool { return w.out == Dropped || w.out == Rejected }

func (w *walk) filter() error {
	switch {
	case w.in == "":
		return w.hooks(hook{"filter", "OUTPUT"})
	case w.out == Local:
		return w.hooks(hook{"filter", "INPUT"})
	}
	return w.hooks(hook{"filter", "FORWARD"})
}

// hook is a built-in chain of a table.
type hook struct{ table, chain string }

// hooks runs built-in chains, until the packet is gone.
func (w *walk) hooks(hooks ...hook) error {
	for _, h := range hooks {
		if err := w.hook(h); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) hook(h hook) error {
	for _, t := range w.conn.node.Rules {
		for _, b := range t.Base {
			if t.Name != h.table || b.Chain != h.chain || w.over() {
				continue
			}
			ended, err := w.rules(t, h.chain, b.Rules)
			if ended || err != nil {
				return err
			}
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
		case ruleset.Jump:
			ended, err = w.jump(t, string(target))
		default:
			ended = w.act(target)
		}
		if ended || err != nil {
			return ended, err
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

// act does what a target says and says whether that ends the hook.
func (w *walk) act(target ruleset.Target) (ended bool) {
	c := w.conn
	switch target := target.(type) {
	case ruleset.SetConnmark:
		c.mark |= uint32(target)
	case ruleset.RestoreMark:
		w.mark = w.mark&^uint32(target) | c.mark&uint32(target)
	case ruleset.SetMark:
		w.mark |= uint32(target)
	case ruleset.FlipMark:
		w.mark ^= uint32(target)
	case ruleset.DNAT:
		c.endpoint, c.dnat = target.To, true
		w.dst, w.port = target.To.Addr(), target.To.Port()
		return true
	case ruleset.SNAT:
		c.snat, w.src = target.To, target.To
		return true
	case ruleset.Masquerade:
		c.snat = c.node.addrOf(w.out)
		w.src = c.snat
		return true
	case ruleset.Accept:
		return true
	case ruleset.Discard:
		w.out = Dropped
		return true
	case ruleset.Reject:
		w.out = Rejected
		return true
	}
	return false
}

// addrOf is the lowest address of a link, or of the primary one if the link
// has none, as the kernel finds it for a pod's veth.
func (n Node) addrOf(link string) netip.Addr {
	var found netip.Addr
	for a, l := range n.Local {
		if l == link && (!found.IsValid() || a.Less(found)) {
			found = a
		}
	}
	if !found.IsValid() && link != n.Primary {
		return n.addrOf(n.Primary)
	}
	return found
}
