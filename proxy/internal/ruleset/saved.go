package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Saved is what iptables-save reported.
type Saved []SavedTable

// SavedTable is one table of it.
type SavedTable struct {
	Name   string
	Chains []SavedChain
}

// SavedChain is a chain with its rules in order.
type SavedChain struct {
	Name  string
	Rules []Line
}

// Line is the words of a rule after "-A CHAIN".
type Line []string

// Parse reads the output of iptables-save, with or without counters.
func Parse(text string) (Saved, error) {
	var r reader
	for number, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if err := r.read(line); err != nil {
			return nil, fmt.Errorf("iptables-save, line %d: %w", number+1, err)
		}
	}
	if r.open != nil {
		return nil, fmt.Errorf("iptables-save: table %s has no COMMIT: the output is cut off", r.open.Name)
	}
	return r.saved, nil
}

// reader collects tables. A table is added when its COMMIT was seen.
type reader struct {
	saved Saved
	open  *SavedTable
	index map[string]int // of the open table's chains, by name
}

func (r *reader) read(line string) error {
	switch {
	case line[0] == '*':
		if r.open != nil {
			return fmt.Errorf("table %s begins before the COMMIT of %s", line[1:], r.open.Name)
		}
		r.open, r.index = &SavedTable{Name: line[1:]}, map[string]int{}
	case r.open == nil:
		return fmt.Errorf("%q stands outside of a table", line)
	case line == "COMMIT":
		r.saved, r.open = append(r.saved, *r.open), nil
	case line[0] == ':':
		name, _, _ := strings.Cut(line[1:], " ")
		if _, ok := r.index[name]; !ok {
			r.index[name] = len(r.open.Chains)
			r.open.Chains = append(r.open.Chains, SavedChain{Name: name})
		}
	default:
		return r.rule(line)
	}
	return nil
}

func (r *reader) rule(line string) error {
	words, err := split(line)
	if err != nil {
		return err
	}
	if strings.HasPrefix(words[0], "[") {
		words = words[1:]
	}
	if len(words) < 2 || words[0] != "-A" {
		return fmt.Errorf("%q is neither a chain nor a rule", line)
	}
	i, ok := r.index[words[1]]
	if !ok {
		return fmt.Errorf("a rule of chain %q, which was not declared", words[1])
	}
	chain := &r.open.Chains[i]
	chain.Rules = append(chain.Rules, words[2:])
	return nil
}

// chain returns the chain of that name, or nil.
func (t *SavedTable) chain(name string) *SavedChain {
	i := slices.IndexFunc(t.Chains, func(c SavedChain) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Chains[i]
}

// table returns the table of that name; an absent one is empty.
func (s Saved) table(name string) SavedTable {
	for _, t := range s {
		if t.Name == name {
			return t
		}
	}
	return SavedTable{Name: name}
}

// CountRules counts rules of all tables whose chain, or target, has a name
// with this prefix. An empty prefix counts all.
func (s Saved) CountRules(prefix string) int {
	n := 0
	for _, t := range s {
		for _, c := range t.Chains {
			for _, r := range c.Rules {
				if strings.HasPrefix(c.Name, prefix) || strings.HasPrefix(r.jump(), prefix) {
					n++
				}
			}
		}
	}
	return n
}

// HasChain says whether some table has a chain of that name.
func (s Saved) HasChain(name string) bool {
	return slices.ContainsFunc(s, func(t SavedTable) bool { return t.chain(name) != nil })
}

// String is the rule in iptables-save syntax.
func (l Line) String() string {
	quoted := make([]string, len(l))
	for i, w := range l {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, " ")
}

// after returns the word that follows an option, or "".
func (l Line) after(option string) string {
	for i := 0; i+1 < len(l); i++ {
		if l[i] == option {
			return l[i+1]
		}
		if l[i] == "--comment" {
			i++
		}
	}
	return ""
}

func (l Line) jump() string    { return l.after("-j") }
func (l Line) comment() string { return l.after("--comment") }

// line is a rule of ours in the form of Saved.
func (r Rule) line() Line {
	words, err := split(r.String())
	if err != nil {
		panic(err) // quote and split are each other's inverse
	}
	return words
}

// canonical is one text for all ways to write the same rule: addresses and the
// order of conditions differ between versions and variants of iptables.
func (l Line) canonical() string {
	var conditions []string
	target := ""
	for i := 0; i < len(l); {
		end := i + 1
		for end < len(l) && !starts(l, end) {
			end++
		}
		switch words := normal(l[i:end]); {
		case l[i] == "-j" || l[i] == "-g":
			target = strings.Join(l[i:], "\x00")
			end = len(l)
		case len(words) > 0:
			conditions = append(conditions, strings.Join(words, "\x00"))
		}
		i = end
	}
	slices.Sort(conditions)
	return strings.Join(append(conditions, target), "\x01")
}

// starts says whether a new condition begins at word i: with a one-letter
// option, or the "!" before one.
func starts(l Line, i int) bool {
	if l[i] == "!" && i+1 < len(l) {
		i++
	} else if l[i-1] == "!" || l[i-1] == "--comment" {
		return false
	}
	switch l[i] {
	case "-s", "-d", "-i", "-o", "-p", "-f", "-m", "-j", "-g":
		return true
	}
	return false
}

// normal writes -s and -d with a length, and drops those that say nothing.
func normal(words []string) []string {
	n := len(words)
	if n < 2 || (words[n-2] != "-s" && words[n-2] != "-d") {
		return words
	}
	p, err := netip.ParsePrefix(words[n-1])
	if err != nil {
		a, err := netip.ParseAddr(words[n-1])
		if err != nil {
			return words
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Bits() == 0 && n == 2 {
		return nil
	}
	return append(slices.Clone(words[:n-1]), p.Masked().String())
}
