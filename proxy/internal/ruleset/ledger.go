package ruleset

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Ledger knows what the kernel holds of services and what it should hold, and
// writes the difference. Chains that did not change cost nothing: it keeps
// their hashes only, and the rules of shared chains. It is not safe for
// concurrent use.
type Ledger struct {
	settings Settings
	ports    map[service.PortName]entry
	held     map[chainKey]uint64 // hashes of what the kernel holds
	pending  map[chainKey][]Rule // what is to be written; nil to delete the chain
	shared   bool                // shared chains are to be written, too
	seed     maphash.Seed
}

type chainKey struct{ table, name string }

// entry is what a service-port has: its rules in shared chains, and the names
// of its own chains.
type entry struct {
	rules  ServiceRules // without Chains
	chains []string
}

// NewLedger begins with what the kernel holds, whoever wrote it. Every
// service-port must be set before the first Batch: chains of others are deleted.
func NewLedger(s Settings, have Saved) *Ledger {
	l := &Ledger{
		settings: s,
		ports:    map[service.PortName]entry{},
		held:     map[chainKey]uint64{},
		pending:  map[chainKey][]Rule{},
		shared:   true,
		seed:     maphash.MakeSeed(),
	}
	for _, t := range have {
		for _, c := range t.Chains {
			key := chainKey{t.Name, c.Name}
			l.held[key] = l.hash(c.Rules)
			if t.Name == "nat" && ofService(c.Name) {
				l.pending[key] = nil
			}
		}
	}
	return l
}

// ofService says whether a chain is a service-port's own.
func ofService(chain string) bool {
	return slices.ContainsFunc([]string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-", "KUBE-HP-"}, func(prefix string) bool {
		return strings.HasPrefix(chain, prefix)
	})
}

func (l *Ledger) hash(rules []Line) uint64 {
	var h maphash.Hash
	h.SetSeed(l.seed)
	for _, r := range rules {
		h.WriteString(r.canonical())
		h.WriteByte('\n')
	}
	return h.Sum64()
}

// Set says what a service-port wants; the zero ServiceRules want nothing.
func (l *Ledger) Set(name service.PortName, want ServiceRules) {
	old := l.ports[name]
	for _, chain := range old.chains {
		l.pending[chainKey{"nat", chain}] = nil
	}
	now := entry{rules: want}
	now.rules.Chains = nil
	for _, c := range want.Chains {
		l.pending[chainKey{"nat", c.Name}] = c.Rules
		now.chains = append(now.chains, c.Name)
	}
	l.shared = l.shared || !reflect.DeepEqual(old.rules, now.rules)
	l.ports[name] = now
	if len(now.chains) == 0 && reflect.DeepEqual(now.rules, ServiceRules{}) {
		delete(l.ports, name)
	}
}

// Batch is what to write. Done must be told when the kernel has it.
type Batch struct {
	// Input is for iptables-restore --noflush; "" if there is nothing to do.
	Input string
	// Chains is how many chains it writes or deletes.
	Chains int
	held   map[chainKey]uint64
	gone   []chainKey
}

// Batch returns the difference between what is held and what is wanted. Each
// table of it is one transaction.
func (l *Ledger) Batch() Batch {
	want := maps.Clone(l.pending)
	if l.shared {
		want[chainKey{"nat", kubeHostPorts}] = nil // unless there are any
		for _, t := range Services(l.settings, l.all()) {
			for _, c := range t.Chains {
				want[chainKey{t.Name, c.Name}] = append([]Rule{}, c.Rules...)
			}
		}
	}
	b := Batch{held: map[chainKey]uint64{}}
	var input strings.Builder
	for _, table := range []string{"filter", "nat"} {
		l.write(&input, &b, table, want)
	}
	b.Input = input.String()
	return b
}

// all is the rules in shared chains, in the order of names.
func (l *Ledger) all() []ServiceRules {
	names := slices.SortedFunc(maps.Keys(l.ports), func(a, b service.PortName) int {
		return cmp.Or(cmp.Compare(a.String(), b.String()), cmp.Compare(a.Protocol, b.Protocol))
	})
	all := make([]ServiceRules, len(names))
	for i, n := range names {
		all[i] = l.ports[n].rules
	}
	return all
}

// write adds the transaction of one table, if there is anything to change.
func (l *Ledger) write(input *strings.Builder, b *Batch, table string, want map[chainKey][]Rule) {
	keys := slices.SortedFunc(maps.Keys(want), func(a, b chainKey) int { return cmp.Compare(a.name, b.name) })
	var declared, filled, deleted strings.Builder
	for _, key := range keys {
		held, there := l.held[key]
		rules := want[key]
		if key.table != table || rules == nil && !there {
			continue
		}
		if rules == nil {
			b.gone = append(b.gone, key)
			fmt.Fprintf(&deleted, "-X %s\n", key.name)
		} else {
			lines := make([]Line, len(rules))
			for i, r := range rules {
				lines[i] = r.line()
			}
			sum := l.hash(lines)
			if there && sum == held {
				continue
			}
			b.held[key] = sum
			writeRules(&filled, key.name, rules)
		}
		b.Chains++
		fmt.Fprintf(&declared, ":%s - [0:0]\n", key.name)
	}
	if declared.Len() > 0 {
		fmt.Fprintf(input, "*%s\n%s%s%sCOMMIT\n", table, declared.String(), filled.String(), deleted.String())
	}
}

// Done takes note that the kernel has what Batch returned, Set not having been
// called since. Without it the same is written again, which does no harm.
func (l *Ledger) Done(b Batch) {
	maps.Copy(l.held, b.held)
	for _, key := range b.gone {
		delete(l.held, key)
	}
	l.pending = map[chainKey][]Rule{} // clearing one that was large costs its size
	l.shared = false
}

// MissingJumps are the rules of built-in chains that lead to chains of services
// and are not there. They go to the head, in their order: before the rules of
// external SNAT, as they must.
func MissingJumps(s Settings, have Saved) []Change {
	var changes []Change
	for _, t := range Services(s, nil) {
		saved := have.table(t.Name)
		for _, b := range t.Base {
			there := map[string]bool{}
			if c := saved.chain(b.Chain); c != nil {
				for _, r := range c.Rules {
					there[r.canonical()] = true
				}
			}
			for _, r := range slices.Backward(b.Rules) {
				if line := r.line(); !there[line.canonical()] {
					changes = append(changes, Change{Insert, t.Name, b.Chain, 1, []Line{line}, "missing"})
				}
			}
		}
	}
	return changes
}
