package ruleset

import (
	"fmt"
	"hash/maphash"
	"io"
)

// Held is what the kernel holds of services, whoever wrote it: a hash of every
// chain, and which jumps are missing. Texts are compared as iptables-save
// prints them; where a version of it prints a rule in another way than we do,
// the chain is written again, which does no harm.
type Held struct {
	seed  maphash.Seed
	sums  map[chainKey]content
	jumps []jump // missing
}

// content is what a chain holds: a hash and the number of its rules.
type content struct {
	sum   uint64
	rules int
}

// unknown is a chain that may be there.
var unknown = content{^uint64(0), -1}

// jump is a rule that leads from a built-in chain to one of services.
type jump struct {
	chainKey
	at   int // where it goes, 1 for the head, those before it being there
	line Line
}

type chainKey struct{ table, name string }

// Hold reads the output of iptables-save as it comes. The settings must be
// valid.
func Hold(r io.Reader, s Settings) (Held, error) {
	h := holder{Held: Held{seed: maphash.MakeSeed(), sums: map[chainKey]content{}}, base: map[chainKey]*built{}}
	want := Services(s, nil)
	for _, t := range want {
		for _, b := range t.Base {
			h.base[chainKey{t.Name, b.Chain}] = &built{at: map[string]int{}}
		}
	}
	if err := scan(r, &h); err != nil {
		return Held{}, err
	}
	for _, t := range want {
		for _, b := range t.Base {
			key := chainKey{t.Name, b.Chain}
			h.jumps = append(h.jumps, h.base[key].missing(key, b.Rules)...)
		}
	}
	return h.Held, nil
}

// holder is a visitor that hashes what it sees of services.
type holder struct {
	Held
	base map[chainKey]*built
}

// built is a built-in chain: where its rules are, from 1 on.
type built struct {
	rules int
	at    map[string]int
}

// missing are the wanted rules that are not there. They go behind those that
// are wanted before them, or to the head: before the rules of external SNAT, as
// they must.
func (b *built) missing(chain chainKey, want []Rule) []jump {
	var jumps []jump
	next := 1
	for _, r := range want {
		line := r.line()
		if at, there := b.at[line.canonical()]; there {
			next = max(next, at+len(jumps)+1)
			continue
		}
		jumps = append(jumps, jump{chain, next, line})
		next++
	}
	return jumps
}

func (h *holder) chain(table, name string) error {
	if ofServices(name) && (table == "nat" || table == "filter") {
		h.sums[chainKey{table, name}] = content{}
	}
	return nil
}

func (h *holder) rule(table, chain string, text []byte) error {
	key := chainKey{table, chain}
	if c, ok := h.sums[key]; ok {
		h.sums[key] = c.add(maphash.Bytes(h.seed, text))
		return nil
	}
	if b, ok := h.base[key]; ok {
		words, err := split(string(text))
		if err != nil {
			return fmt.Errorf("chain %s: %w", chain, err)
		}
		b.rules++
		b.at[Line(words).canonical()] = b.rules
	}
	return nil
}

// add adds a rule, by its hash.
func (c content) add(rule uint64) content {
	const prime = 1099511628211 // of FNV-1a, so that order counts
	return content{(c.sum+1)*prime ^ rule, c.rules + 1}
}
