package ruleset

import (
	"fmt"
	"hash/maphash"
	"io"
	"strings"
)

// Held is what the kernel holds of services, whoever wrote it: a hash of every
// chain, and which jumps are missing. Texts are compared as iptables-save
// prints them; where a version of it prints a rule in another way than we do,
// the chain is written again, which does no harm.
type Held struct {
	seed  maphash.Seed
	sums  map[chainKey]uint64
	jumps []jump // missing
}

// unknown is the hash of a chain that may be there.
const unknown = ^uint64(0)

// jump is a rule that leads from a built-in chain to one of services.
type jump struct {
	chainKey
	line Line
}

type chainKey struct{ table, name string }

// Hold reads the output of iptables-save as it comes. The settings must be
// valid.
func Hold(r io.Reader, s Settings) (Held, error) {
	h := holder{Held: Held{seed: maphash.MakeSeed(), sums: map[chainKey]uint64{}}, base: map[chainKey]map[string]bool{}}
	want := Services(s, nil)
	for _, t := range want {
		for _, b := range t.Base {
			h.base[chainKey{t.Name, b.Chain}] = map[string]bool{}
		}
	}
	if err := scan(r, &h); err != nil {
		return Held{}, err
	}
	for _, t := range want {
		for _, b := range t.Base {
			key := chainKey{t.Name, b.Chain}
			for _, r := range b.Rules {
				if line := r.line(); !h.base[key][line.canonical()] {
					h.jumps = append(h.jumps, jump{key, line})
				}
			}
		}
	}
	return h.Held, nil
}

// holder is a visitor that hashes what it sees of services.
type holder struct {
	Held
	base map[chainKey]map[string]bool // rules of built-in chains that lead to services
}

func (h *holder) chain(table, name string) error {
	if strings.HasPrefix(name, "KUBE-") && (table == "nat" || table == "filter") {
		h.sums[chainKey{table, name}] = 0
	}
	return nil
}

func (h *holder) rule(table, chain string, text []byte) error {
	key := chainKey{table, chain}
	if sum, ok := h.sums[key]; ok {
		h.sums[key] = addLine(h.seed, sum, text)
		return nil
	}
	if there, ok := h.base[key]; ok {
		words, err := split(string(text))
		if err != nil {
			return fmt.Errorf("chain %s: %w", chain, err)
		}
		there[Line(words).canonical()] = true
	}
	return nil
}

// addLine adds a rule's text to the hash of a chain; 0 is the empty chain's.
func addLine[text string | []byte](seed maphash.Seed, sum uint64, line text) uint64 {
	const prime = 1099511628211 // of FNV-1a, so that order counts
	return (sum+1)*prime ^ maphash.String(seed, string(line))
}
