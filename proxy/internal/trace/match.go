package trace

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// matches says whether a rule's conditions hold. What the rule leaves to
// chance or memory comes last, as in the kernel.
func (w *walk) matches(r ruleset.Rule) bool {
	return matchLinks(r, w.in, w.out) && matchBlocks(r, w.src, w.dst) && r.Share.Has(w.src) &&
		(r.To.Protocol == "" || r.To.Protocol == w.conn.first.Protocol) &&
		(r.To.Number == 0 || r.To.Number == w.port) &&
		w.matchLocal(r.Local) && w.match(r.Match)
}

func matchLinks(r ruleset.Rule, in, out string) bool {
	return (r.In == "" || matchLink(r.In, in)) &&
		(r.Not.In == "" || !matchLink(r.Not.In, in)) &&
		(r.Not.Out == "" || !matchLink(r.Not.Out, out))
}

// matchLink holds a link's name against a pattern that may end in +.
func matchLink(pattern, link string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "+"); ok {
		return strings.HasPrefix(link, prefix)
	}
	return pattern == link
}

func matchBlocks(r ruleset.Rule, src, dst netip.Addr) bool {
	return (!r.Src.IsValid() || r.Src.Contains(src)) && (!r.Dst.IsValid() || r.Dst.Contains(dst)) &&
		!r.Not.Src.Contains(src) && !r.Not.Dst.Contains(dst)
}

func (w *walk) matchLocal(l ruleset.Local) bool {
	link, toLocal := w.conn.node.Local[w.dst]
	_, fromLocal := w.conn.node.Local[w.src]
	switch l {
	case ruleset.ToLocalOnIn:
		return toLocal && link == w.in
	case ruleset.NotToLocal:
		return !toLocal
	case ruleset.ToLocal:
		return toLocal
	case ruleset.FromLocal:
		return fromLocal
	}
	return true
}

func (w *walk) match(m ruleset.Match) bool {
	lists := w.conn.node.Lists
	switch m := m.(type) {
	case ruleset.CTState:
		return w.inState(string(m))
	case ruleset.NotCTState:
		return !w.inState(string(m))
	case ruleset.Mark:
		return w.mark&uint32(m) == uint32(m)
	case ruleset.NotMark:
		return w.mark&uint32(m) != uint32(m)
	case ruleset.OneIn:
		return w.luck.holds()
	case ruleset.SeenWithin:
		return lists[m.List][w.src]
	case ruleset.See:
		if lists != nil {
			if lists[m.List] == nil {
				lists[m.List] = map[netip.Addr]bool{}
			}
			lists[m.List][w.src] = true
		}
	}
	return true
}

// inState says whether the connection is in one of these states.
func (w *walk) inState(states string) bool {
	all := strings.Split(states, ",")
	return slices.Contains(all, w.state) || w.conn.dnat && slices.Contains(all, "DNAT")
}
