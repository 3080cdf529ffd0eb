package pool

import (
	"iter"
	"net/netip"
	"slices"
	"time"
)

// shrink gives back what has been too much for a while: an ENI that no pod
// needs as a whole, for it also takes an address for itself, or else what is
// free on the ENIs that have fewest pods. Nothing goes while anything is asked
// for: the answer may be late, and what goes would have to come back.
func (g *growth) shrink(all []*entry) {
	excess := g.free - g.spare.high - max(g.waiting, g.scheduled)
	empty := g.removable(all, max(0, excess))
	if g.keepAll || g.settings.ReleaseAfter <= 0 || len(g.flying) > 0 || len(g.actions) > 0 || g.waiting > 0 ||
		empty == nil && (g.spare.whole || excess <= g.spare.keep-g.spare.high) {
		g.surplus = time.Time{}
		return
	}
	if g.surplus.IsZero() {
		g.surplus = g.now
	}
	if g.now.Sub(g.surplus) < g.settings.ReleaseAfter {
		return
	}
	if empty != nil {
		g.actions = append(g.actions, DetachENI{ENI: empty.ID, AttachmentID: empty.AttachmentID,
			Reason: "no pod has an address of it, " + g.spare.reason})
		return
	}
	for _, e := range slices.Backward(g.fullestFirst()) {
		if excess > 0 && g.ours(e) && g.usable(e) && !g.blocked(block{release, string(e.ID)}, g.now) {
			excess -= g.giveBack(e, excess, "too many for a while, "+g.spare.reason)
		}
	}
}

// ours says whether the addresses of an ENI are ours to give back.
func (g *growth) ours(e *entry) bool {
	return e.Status == Attached && !e.missing && g.managed(e.ENI) && (e.Primary || e.Tags[TagInstance] == g.settings.InstanceID)
}

// removable is the ENI to detach: the last one that nobody has an address of,
// and without which there is still enough. None is on a cordoned node.
func (g *growth) removable(all []*entry, excess int) *entry {
	if g.cordoned {
		return nil
	}
	for _, e := range slices.Backward(all) {
		if g.ours(e) && g.usable(e) && e.size() <= excess && g.detachable(e) && !g.blocked(block{release, string(e.ID)}, g.now) {
			return e
		}
	}
	return nil
}

// detachable says whether an ENI may go: one of the common type that has been
// there for a while and that no pod needs.
func (g *growth) detachable(e *entry) bool {
	return !e.Primary && e.AttachmentID != "" && e.common() &&
		g.now.Sub(e.changed) >= g.settings.ReleaseAfter && !g.serves(e) && !g.rests(e)
}

// giveBack unassigns up to so many addresses of an ENI: whole prefixes, and
// single addresses, the last ones first.
func (g *growth) giveBack(e *entry, excess int, why string) int {
	a := UnassignAddresses{ENI: e.ID, Reason: why}
	gone := 0
	free := map[netip.Prefix]int{}
	var single []netip.Addr
	g.eachIdle(e, g.now, func(address netip.Addr) {
		if b := e.block(address); b.IsValid() {
			free[b]++
		} else {
			single = append(single, address)
		}
	})
	for _, p := range slices.Backward(e.Prefixes) {
		if free[p] == prefixSize && gone+prefixSize <= excess {
			a.Prefixes = append(a.Prefixes, p)
			gone += prefixSize
		}
	}
	slices.SortFunc(single, func(a, b netip.Addr) int { return b.Compare(a) })
	for _, address := range single[:min(len(single), excess-gone)] {
		a.Addresses = append(a.Addresses, address)
		gone++
	}
	if gone > 0 {
		g.actions = append(g.actions, a)
	}
	return gone
}

// GivenBack are the addresses that an action gives back, none as a rule.
func (p *Pool) GivenBack(action Action) iter.Seq[netip.Addr] {
	switch a := action.(type) {
	case UnassignAddresses:
		return ENI{Addresses: a.Addresses, Prefixes: a.Prefixes}.all()
	case DetachENI:
		if e := p.enis[a.ENI]; e != nil {
			return e.all()
		}
	}
	return func(func(netip.Addr) bool) {}
}
