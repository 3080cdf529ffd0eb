package linux

import (
	"cmp"
	"fmt"
	"slices"
)

// Op is what a Change does.
type Op int

const (
	// Add makes an item that is not there.
	Add Op = iota
	// Set gives an item that is there its wanted values.
	Set
	// Delete removes an item.
	Delete
)

// String is the verb.
func (o Op) String() string { return [...]string{"add", "set", "delete"}[o] }

// Change is one step from what is to what is wanted. Applying it twice is the
// same as applying it once.
type Change struct {
	Op     Op
	Item   Item
	Reason string // what was found: "missing", "mtu is 1500", "not wanted"
}

// String is the change in one line, with `ip`'s words.
func (c Change) String() string {
	return fmt.Sprintf("%s %s %s (%s)", c.Op, Kind(c.Item), c.Item, c.Reason)
}

// Kind is the name of the item's kind: link, address, route, rule, neighbour
// or sysctl.
func Kind(i Item) string {
	switch i.(type) {
	case Link:
		return "link"
	case Addr:
		return "address"
	case Route:
		return "route"
	case Rule:
		return "rule"
	case Neigh:
		return "neighbour"
	}
	return "sysctl"
}

// Diff returns the changes that make have into want, in the order in which
// the kernel takes them: links, sysctls, addresses, neighbours, on-link routes
// before routes by way of a gateway, rules; then deletions of rules and routes
// that have holds and want does not. Its result for equal states is empty.
func Diff(have, want State) []Change {
	var out []Change
	out = append(out, diffLinks(have.Links, want.Links)...)
	out = append(out, diffSysctls(have.Sysctls, want.Sysctls)...)
	out = append(out, diffKeyed(have.Addrs, want.Addrs, func(a Addr) Addr { return a })...)
	out = append(out, diffKeyed(have.Neighs, want.Neighs, func(n Neigh) Neigh { n.MAC = MAC{}; return n })...)
	addRoutes, delRoutes := diffRoutes(have.Routes, want.Routes)
	addRules, delRules := diffRules(have.Rules, want.Rules)
	out = append(out, addRoutes...)
	out = append(out, addRules...)
	out = append(out, delRules...)
	return append(out, delRoutes...)
}

func diffLinks(have, want []Link) []Change {
	byName := make(map[string]Link, len(have))
	for _, l := range have {
		byName[l.Name] = l
	}
	var out []Change
	for _, w := range want {
		h, there := byName[w.Name]
		switch {
		case !there:
			out = append(out, Change{Add, w, "missing"})
		case w.MTU != 0 && h.MTU != w.MTU:
			out = append(out, Change{Set, w, fmt.Sprintf("mtu is %d", h.MTU)})
		case w.Up && !h.Up:
			out = append(out, Change{Set, w, "is down"})
		case w.Group != 0 && w.Group != h.Group:
			out = append(out, Change{Set, w, fmt.Sprintf("group is %d", h.Group)})
		case w.MAC != (MAC{}) && h.MAC != w.MAC:
			out = append(out, Change{Set, w, fmt.Sprintf("address is %s", h.MAC)})
		}
	}
	return out
}

// diffKeyed compares items that are never deleted: what is missing is added,
// what has the same key but another value is set.
func diffKeyed[T interface {
	comparable
	Item
}, K comparable](have, want []T, key func(T) K) []Change {
	byKey := make(map[K]T, len(have))
	for _, h := range have {
		byKey[key(h)] = h
	}
	var out []Change
	for _, w := range want {
		switch h, there := byKey[key(w)]; {
		case !there:
			out = append(out, Change{Add, w, "missing"})
		case h != w:
			out = append(out, Change{Set, w, "is " + h.String()})
		}
	}
	return out
}

// diffSysctls leaves out what the kernel does not have: it was observed with
// no value (no IPv6, or a link that has just gone).
func diffSysctls(have, want []Sysctl) []Change {
	absent := map[string]bool{}
	for _, h := range have {
		absent[h.Key] = h.Value == ""
	}
	there := slices.DeleteFunc(slices.Clone(want), func(w Sysctl) bool { return absent[w.Key] })
	return diffKeyed(have, there, func(s Sysctl) string { return s.Key })
}

type routeKey struct {
	table int
	dst   string
}

func keyOf(r Route) routeKey { return routeKey{r.Table, r.Dst.String()} }

// diffRoutes adds by replacing: a route to the same destination in the same
// table gives way in one step, so it is not deleted as well.
func diffRoutes(have, want []Route) (add, del []Change) {
	found := make(map[Route]bool, len(have))
	at := make(map[routeKey]Route, len(have))
	for _, h := range have {
		found[h] = true
		at[keyOf(h)] = h
	}
	wanted := make(map[Route]bool, len(want))
	replaced := make(map[routeKey]bool)
	for _, w := range sortedRoutes(want) {
		wanted[w] = true
		if found[w] {
			continue
		}
		old, there := at[keyOf(w)]
		if there {
			add = append(add, Change{Set, w, "is " + old.InTable()})
		} else {
			add = append(add, Change{Add, w, "missing"})
		}
		replaced[keyOf(w)] = true
	}
	for _, h := range sortedRoutes(have) {
		if !wanted[h] && !replaced[keyOf(h)] {
			del = append(del, Change{Delete, h, "not wanted"})
		}
	}
	return add, del
}

// sortedRoutes puts on-link routes first: a gateway must be reachable when a
// route names it.
func sortedRoutes(in []Route) []Route {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), boolCompare(a.Via.IsValid(), b.Via.IsValid()),
			a.Dst.Addr().Compare(b.Dst.Addr()), cmp.Compare(a.Dst.Bits(), b.Dst.Bits()), cmp.Compare(a.Link, b.Link))
	})
	return out
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// diffRules counts: the kernel can hold the same rule twice, and then one is
// too many.
func diffRules(have, want []Rule) (add, del []Change) {
	spare := make(map[Rule]int, len(have))
	for _, h := range have {
		spare[h]++
	}
	for _, w := range sortedRules(want) {
		if spare[w] > 0 {
			spare[w]--
			continue
		}
		add = append(add, Change{Add, w, "missing"})
	}
	wanted := make(map[Rule]bool, len(want))
	for _, w := range want {
		wanted[w] = true
	}
	for _, h := range sortedRules(have) {
		if spare[h] == 0 {
			continue
		}
		spare[h]--
		reason := "not wanted"
		if wanted[h] {
			reason = "is there twice"
		}
		del = append(del, Change{Delete, h, reason})
	}
	return add, del
}

func sortedRules(in []Rule) []Rule {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), a.To.Addr().Compare(b.To.Addr()),
			a.From.Addr().Compare(b.From.Addr()), cmp.Compare(a.Table, b.Table))
	})
	return out
}
