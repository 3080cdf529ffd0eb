package ruleset

import (
	"fmt"
	"slices"
	"strings"
)

// Op is what a Change does.
type Op int

// The operations, in the order in which Diff asks for them.
const (
	Create  Op = iota // make an empty chain
	Insert            // put a rule into a built-in chain, at Pos (1 is the head)
	Rewrite           // give a chain of ours this content, in one transaction with its table's others
	Delete            // delete the first rule of a built-in chain that reads so
	Drop              // delete a chain and its content
)

// String is the operation's verb.
func (o Op) String() string {
	return [...]string{"create", "insert", "rewrite", "delete", "drop"}[o]
}

// Change is one step from what is to what is wanted.
type Change struct {
	Op           Op
	Table, Chain string
	Pos          int    // for Insert
	Rules        []Line // one for Insert and Delete, all for Rewrite
	Reason       string
}

// String reads like "nat: insert PREROUTING 2 -i eni+ -j X (missing)".
func (c Change) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s %s", c.Table, c.Op, c.Chain)
	switch c.Op {
	case Insert:
		fmt.Fprintf(&b, " %d %s", c.Pos, c.Rules[0])
	case Delete:
		fmt.Fprintf(&b, " %s", c.Rules[0])
	case Rewrite:
		fmt.Fprintf(&b, " to %d rules", len(c.Rules))
	}
	fmt.Fprintf(&b, " (%s)", c.Reason)
	return b.String()
}

// Diff returns the changes that lead from what is to what is wanted, to be
// applied in their order. It deletes only what is ours, by name or comment;
// what it leaves alone keeps its place and its counters. Tables other than
// mangle and nat have nothing of ours.
func Diff(have Saved, want Ruleset) []Change {
	var changes []Change
	for _, name := range Tables() {
		t := tableDiff{have: have.table(name), want: Table{Name: name}}
		if i := slices.IndexFunc(want, func(t Table) bool { return t.Name == name }); i >= 0 {
			t.want = want[i]
		}
		t.chains()
		t.bases()
		changes = append(changes, t.changes...)
	}
	slices.SortStableFunc(changes, func(a, b Change) int { return int(a.Op) - int(b.Op) })
	return changes
}

// Tables are those in which we have rules.
func Tables() []string { return []string{"mangle", "nat"} }

type tableDiff struct {
	have    SavedTable
	want    Table
	changes []Change
}

func (d *tableDiff) add(op Op, chain string, pos int, reason string, rules ...Line) {
	d.changes = append(d.changes, Change{op, d.want.Name, chain, pos, rules, reason})
}

// chains compares the chains that are ours.
func (d *tableDiff) chains() {
	for _, c := range d.want.Chains {
		lines := make([]Line, len(c.Rules))
		for i, r := range c.Rules {
			lines[i] = r.line()
		}
		have := d.have.chain(c.Name)
		if have == nil {
			d.add(Create, c.Name, 0, "missing")
			d.add(Rewrite, c.Name, 0, "new chain", lines...)
		} else if !slices.Equal(contents(have.Rules), contents(lines)) {
			d.add(Rewrite, c.Name, 0, "content differs", lines...)
		}
	}
	for _, c := range d.have.Chains {
		wanted := slices.ContainsFunc(d.want.Chains, func(w Chain) bool { return w.Name == c.Name })
		if wanted || !ownedChain(c.Name) {
			continue
		}
		if len(c.Rules) > 0 {
			d.add(Rewrite, c.Name, 0, "not wanted")
		}
		d.add(Drop, c.Name, 0, "not wanted")
	}
}

// contents is the canonical texts of a chain. Rules that only return may stand
// in any order among themselves.
func contents(rules []Line) []string {
	texts := make([]string, len(rules))
	start := 0
	for i, r := range rules {
		texts[i] = r.canonical()
		if r.jump() != "RETURN" {
			start = i + 1
		}
		slices.Sort(texts[start : i+1])
	}
	return texts
}

// bases compares our rules in chains that belong to all.
func (d *tableDiff) bases() {
	for _, b := range d.want.Base {
		d.base(d.have.chain(b.Chain), b)
	}
	for _, c := range d.have.Chains {
		wanted := slices.ContainsFunc(d.want.Base, func(b Base) bool { return b.Chain == c.Name })
		if !wanted && !ownedChain(c.Name) && slices.ContainsFunc(c.Rules, ownedRule) {
			d.base(&c, Base{Chain: c.Name})
		}
	}
}

// base merges the wanted rules into the chain. iptables deletes the first rule
// that matches, so only the last of equal rules may be kept, and a rule that
// must move is inserted behind its old place.
func (d *tableDiff) base(have *SavedChain, want Base) {
	var rules []Line
	if have != nil {
		rules = have.Rules
	}
	last := map[string]int{}
	floor := -1 // ours must come behind this place
	for i, r := range rules {
		last[r.canonical()] = i
		if want.After != "" && r.jump() == want.After {
			floor = i
		}
	}
	keep := map[int]bool{}
	inserted := 0
	for i, r := range want.Rules {
		line := r.line()
		at, found := last[line.canonical()]
		if found && at > floor {
			keep[at], floor = true, at
			continue
		}
		reason := "missing"
		if found {
			reason = "out of order"
		}
		place := insertPlace(want.Rules[i+1:], last, floor, len(rules), found)
		inserted++
		d.add(Insert, want.Chain, place+inserted, reason, line)
		floor = max(floor, place-1)
	}
	for i, r := range rules {
		if ownedRule(r) && !keep[i] {
			d.add(Delete, want.Chain, 0, "not wanted", r)
		}
	}
}

// insertPlace is the index of the old rule before which a new one goes: the
// next wanted rule that stays, else the end. A rule that moves goes straight
// behind the one before it.
func insertPlace(next []Rule, last map[string]int, floor, end int, moves bool) int {
	if moves && floor >= 0 {
		return floor + 1
	}
	for _, r := range next {
		if at, ok := last[r.line().canonical()]; ok && at > floor {
			return at
		}
	}
	return end
}
