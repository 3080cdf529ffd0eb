package ruleset

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Batch is what to write. Done or Failed must be told what became of it.
type Batch struct {
	// Chains is how many chains it writes or deletes.
	Chains int
	// Jumps is how many rules of built-in chains a removal deletes.
	Jumps int

	limit int
	parts []*part
	held  map[chainKey]content
	gone  []chainKey
	ports []*entry // whose chains are in it
	whole bool     // nothing is missing after it

	hostPorts bool // there are any, if common chains are in it
}

// Batch returns the difference between what is held and what is wanted. With no
// limit, 0, a table is one transaction. With a limit each service-port is one,
// with others up to about that many chains, and all of them come before the
// chains that lead to them.
func (l *Ledger) Batch(limit int) Batch {
	b := Batch{limit: limit, held: map[chainKey]content{}, whole: true}
	b.commons(l, "filter")
	b.jumps(l, "filter")
	if l.common {
		b.write(l, "nat", l.settings.constant("nat")...)
	}
	b.own(l, slices.SortedFunc(maps.Keys(l.dirty), compareEntries))
	b.commons(l, "nat")
	b.drop(l)
	b.jumps(l, "nat")
	return b
}

// Ports are the names of the service-ports that it bears on.
func (b Batch) Ports() []service.PortName {
	names := make([]service.PortName, len(b.ports))
	for i, e := range b.ports {
		names[i] = e.name
	}
	return names
}

// Done takes note that the kernel has what Batch or Probe returned, Set not
// having been called since.
func (l *Ledger) Done(b Batch) {
	maps.Copy(l.held, b.held)
	for _, key := range b.gone {
		delete(l.held, key)
	}
	for _, e := range b.ports {
		e.pending, e.render = nil, nil
	}
	if b.whole {
		if l.common {
			l.hostPorts = b.hostPorts
		}
		l.settled, l.edited = true, map[string][]string{}
		l.dirty, l.stale, l.jumps, l.common = map[*entry]bool{}, map[string]bool{}, nil, false
	}
}

// Failed takes note that the kernel may have some of what Batch or Probe
// returned: each transaction before the one that failed. Chains are written
// again; which jumps are missing must be read anew.
func (l *Ledger) Failed(b Batch, now Held) {
	l.settled = false
	for key := range b.held {
		l.held[key] = unknown
	}
	for _, key := range b.gone {
		l.held[key] = unknown
	}
	l.jumps = now.jumps
}

// part is the transaction of a table to which more can be added.
func (b *Batch) part(table string) *part {
	if n := len(b.parts); n > 0 {
		last := b.parts[n-1]
		if last.table == table && (b.limit == 0 || len(last.chains) < b.limit) {
			return last
		}
	}
	b.parts = append(b.parts, &part{table: table})
	return b.parts[len(b.parts)-1]
}

// put makes a chain have these rules.
func (b *Batch) put(l *Ledger, p *part, name, text string) {
	p.chains, p.rules = append(p.chains, name), append(p.rules, lines{text: text})
	b.hold(l, p, name, l.content(name, text))
}

// hold notes what a chain will hold.
func (b *Batch) hold(l *Ledger, p *part, name string, now content) {
	key := chainKey{p.table, name}
	b.held[key] = now
	b.Chains++
	p.entries += now.rules
	if held, there := l.held[key]; !there {
		p.entries += chainEntries
	} else if p.entries -= held.rules; held == unknown {
		p.unsure = true
	}
}

// write makes chains have these rules, where the kernel holds others.
func (b *Batch) write(l *Ledger, table string, chains ...Chain) {
	for _, c := range chains {
		if text := chainText(c); !l.holds(table, c.Name, text) {
			b.put(l, b.part(table), c.Name, text)
		}
	}
}

// own writes the chains of service-ports.
func (b *Batch) own(l *Ledger, ports []*entry) {
	b.ports = ports
	for _, e := range ports {
		if len(e.pending) == 0 {
			continue
		}
		p := b.part("nat") // one for all of an entry's
		for _, name := range slices.Sorted(maps.Keys(e.pending)) {
			p.chains = append(p.chains, name)
			b.hold(l, p, name, e.pending[name])
		}
		p.rules = append(p.rules, lines{make: e.text()})
	}
}

// commons writes the chains of a table that have rules of many services: in one
// part, for some lead to others. That of host ports goes with its last rule.
func (b *Batch) commons(l *Ledger, table string) {
	if !l.common {
		return
	}
	b.hostPorts = slices.ContainsFunc(l.order, func(e *entry) bool { return e.common[hostPortsCommon] != "" })
	var p *part
	for i, c := range commons() {
		if c.table != table {
			continue
		}
		if i == hostPortsCommon && !b.hostPorts {
			l.stale[c.name] = true
			continue
		}
		text := l.commonText(i, c, b.hostPorts)
		if l.holds(table, c.name, text) {
			continue
		}
		if p == nil {
			p = b.part(table)
		}
		if edits, ok := l.edits(i); ok && b.hostPorts == l.hostPorts {
			p.rules = append(p.rules, lines{text: strings.Join(edits, "")})
			b.hold(l, p, c.name, l.content(c.name, text))
			continue
		}
		b.put(l, p, c.name, text)
	}
	if table == "filter" {
		b.write(l, table, l.settings.constant(table)...)
	}
}

// commonText is the i-th common chain.
func (l *Ledger) commonText(i int, c common, hostPorts bool) string {
	var text strings.Builder
	for _, e := range l.order {
		text.WriteString(e.common[i])
	}
	if c.tail != nil {
		writeRules(&text, c.name, c.tail(l.settings, hostPorts))
	}
	return text.String()
}

// drop deletes chains that no service-port has; those that lead to others go
// first.
func (b *Batch) drop(l *Ledger) {
	names := slices.SortedFunc(maps.Keys(l.stale), func(a, c string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(c)), cmp.Compare(a, c))
	})
	for _, name := range names {
		key := chainKey{"nat", name}
		if held, there := l.held[key]; there {
			p := b.part("nat")
			p.entries -= chainEntries + held.rules
			p.unsure = p.unsure || held == unknown
			p.chains, p.drops = append(p.chains, name), append(p.drops, name)
			b.gone = append(b.gone, key)
			b.Chains++
		}
	}
}

// jumps puts in what is missing in built-in chains.
func (b *Batch) jumps(l *Ledger, table string) {
	for _, j := range l.jumps {
		if j.table == table {
			p := b.part(table)
			p.rules = append(p.rules, lines{text: "-I " + j.name + " " + strconv.Itoa(j.at) + " " + j.line.String() + "\n"})
			p.entries++
		}
	}
}
