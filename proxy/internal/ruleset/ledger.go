package ruleset

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Ledger knows what the kernel holds of services and what it should hold, and
// writes the difference. Chains that did not change cost nothing: it keeps
// their hashes only, and as text the rules that services have in common chains.
// It is not safe for concurrent use.
type Ledger struct {
	settings Settings
	seed     maphash.Seed
	hash     func(string) string // of names
	ports    map[service.PortName]*entry
	order    []*entry // by name
	held     map[chainKey]content
	owners   map[string]*entry // of service-ports' own chains, by name
	jumps    []jump            // missing

	dirty  map[*entry]bool
	stale  map[string]bool // chains that no service-port has
	common bool            // common chains are to be written, too

	// settled says that the kernel had all after the last batch; edited are
	// the texts that service-ports had then in common chains, by id, if they
	// have others now.
	settled, hostPorts bool
	edited             map[string][]string
}

// entry is what a service-port has.
type entry struct {
	name    service.PortName
	id      string // by which it is ordered
	common  []string
	chains  []string           // names of its own
	pending map[string]content // of its own chains, what is not held yet
	render  func() []Chain     // makes its own chains, while any is pending
}

// NewLedger begins with what the kernel holds. Every service-port must be set
// before the first Batch: chains of others are deleted. The settings must be
// valid.
func NewLedger(s Settings, have Held) *Ledger {
	l := &Ledger{
		settings: s,
		seed:     have.seed,
		hash:     hash,
		ports:    map[service.PortName]*entry{},
		held:     have.sums,
		owners:   map[string]*entry{},
		jumps:    have.jumps,
		dirty:    map[*entry]bool{},
		stale:    map[string]bool{},
		common:   true,
		edited:   map[string][]string{},
	}
	for key := range have.sums {
		if key.table == "nat" && ofService(key.name) {
			l.stale[key.name] = true
		}
	}
	return l
}

// ownPrefixes begin the names of service-ports' own chains. Rules lead from
// chains with a prefix to those with a later one.
var ownPrefixes = []string{"KUBE-FW-", "KUBE-EXT-", hostPortPrefix, "KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-"}

func rank(chain string) int {
	return slices.IndexFunc(ownPrefixes, func(prefix string) bool { return strings.HasPrefix(chain, prefix) })
}

// ofService says whether a chain is a service-port's own.
func ofService(chain string) bool { return rank(chain) >= 0 }

// Set says what a service-port wants. It is refused, and gets nothing, if
// another one has chains of the same names.
func (l *Ledger) Set(p service.ServicePort) error {
	want := compile(p, l.settings, l.hash)
	return l.set(p.Name, want, func() []Chain { return compile(p, l.settings, l.hash).Chains })
}

// Delete says that a service-port wants nothing.
func (l *Ledger) Delete(name service.PortName) {
	l.set(name, ServiceRules{}, nil)
}

func (l *Ledger) set(name service.PortName, want ServiceRules, render func() []Chain) error {
	e := l.ports[name]
	if e == nil {
		if want.empty() {
			return nil
		}
		e = l.add(name)
	}
	err := l.taken(e, want.Chains)
	if err != nil {
		want = ServiceRules{}
	}
	l.give(e, want, render)
	if want.empty() {
		l.remove(e)
	}
	return err
}

func (l *Ledger) add(name service.PortName) *entry {
	e := &entry{name: name, id: name.String() + " " + string(name.Protocol)}
	l.ports[name] = e
	at, _ := slices.BinarySearchFunc(l.order, e, compareEntries)
	l.order = slices.Insert(l.order, at, e)
	return e
}

func (l *Ledger) remove(e *entry) {
	delete(l.ports, e.name)
	delete(l.dirty, e)
	if at, found := slices.BinarySearchFunc(l.order, e, compareEntries); found {
		l.order = slices.Delete(l.order, at, at+1)
	}
}

func compareEntries(a, b *entry) int { return cmp.Compare(a.id, b.id) }

// taken looks for chains that another service-port has, and for two endpoints
// with one.
func (l *Ledger) taken(e *entry, chains []Chain) error {
	seen := make(map[string]bool, len(chains))
	for _, c := range chains {
		if seen[c.Name] {
			return fmt.Errorf("%s %s: two of its endpoints have chain %s", e.name, e.name.Protocol, c.Name)
		}
		seen[c.Name] = true
		if other := l.owners[c.Name]; other != nil && other != e {
			return fmt.Errorf("%s %s: chain %s belongs to %s %s: one of them must be renamed",
				e.name, e.name.Protocol, c.Name, other.name, other.name.Protocol)
		}
	}
	return nil
}

// give makes an entry have these rules.
func (l *Ledger) give(e *entry, want ServiceRules, render func() []Chain) {
	for _, name := range e.chains {
		delete(l.owners, name)
		l.stale[name] = true
	}
	e.chains = make([]string, 0, len(want.Chains))
	e.pending, e.render = nil, nil
	for _, c := range want.Chains {
		delete(l.stale, c.Name)
		l.owners[c.Name] = e
		e.chains = append(e.chains, c.Name)
		now := l.content(c.Name, chainText(c))
		if held, there := l.held[chainKey{"nat", c.Name}]; there && held == now {
			continue
		}
		if e.pending == nil {
			e.pending, e.render = map[string]content{}, render
		}
		e.pending[c.Name] = now
	}
	before := e.common
	e.common = want.commonTexts()
	moved := strings.Join(before, "") != strings.Join(e.common, "")
	l.common = l.common || moved
	if _, noted := l.edited[e.id]; moved && l.settled && !noted {
		l.edited[e.id] = before
	}
	if l.dirty[e] = true; !moved && len(e.pending) == 0 {
		delete(l.dirty, e)
	}
}

// text makes the rules of the chains that are pending now.
func (e *entry) text() func() string {
	pending, render := e.pending, e.render
	return func() string {
		var b strings.Builder
		for _, c := range render() {
			if _, ok := pending[c.Name]; ok {
				writeRules(&b, c.Name, c.Rules)
			}
		}
		return b.String()
	}
}

func (r ServiceRules) empty() bool {
	return len(r.Chains) == 0 && strings.Join(r.commonTexts(), "") == ""
}

// commonTexts are the rules in common chains, in the order of commons.
func (r ServiceRules) commonTexts() []string {
	all := commons()
	texts := make([]string, len(all))
	for i, c := range all {
		texts[i] = chainText(Chain{c.name, c.of(r)})
	}
	return texts
}

// chainText is the rules of a chain, as input of iptables-restore.
func chainText(c Chain) string {
	var b strings.Builder
	writeRules(&b, c.Name, c.Rules)
	return b.String()
}

// holds says whether the kernel has a chain with these rules.
func (l *Ledger) holds(table, chain, text string) bool {
	held, there := l.held[chainKey{table, chain}]
	return there && held == l.content(chain, text)
}

// content is that of what chainText made, as of the kernel's own text.
func (l *Ledger) content(chain, text string) content {
	var c content
	prefix := len("-A ") + len(chain) + len(" ")
	for line := range strings.Lines(text) {
		c = c.add(maphash.String(l.seed, line[prefix:len(line)-1]))
	}
	return c
}
