package ruleset

import (
	"bytes"
	"fmt"
	"io"
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
	return read(strings.NewReader(text), func(string, []byte) bool { return true })
}

// Read does the same as it comes, and leaves out the rules that chains of
// services have: of those it has the names, and what leads to host ports.
func Read(r io.Reader) (Saved, error) {
	return read(r, func(chain string, rule []byte) bool {
		return !ofServices(chain) || bytes.HasSuffix(rule, []byte("-j "+kubeHostPorts))
	})
}

func read(r io.Reader, keep func(chain string, rule []byte) bool) (Saved, error) {
	c := collector{keep: keep, index: map[chainKey]int{}}
	if err := scan(r, &c); err != nil {
		return nil, err
	}
	return c.saved, nil
}

// collector is a visitor that keeps what it sees.
type collector struct {
	saved Saved
	keep  func(chain string, rule []byte) bool
	index map[chainKey]int // of a table's chains
}

// open is the table of that name, which is the last, or a new one.
func (c *collector) open(table string) *SavedTable {
	if n := len(c.saved); n == 0 || c.saved[n-1].Name != table {
		c.saved = append(c.saved, SavedTable{Name: table})
	}
	return &c.saved[len(c.saved)-1]
}

func (c *collector) chain(table, name string) error {
	key := chainKey{table, name}
	if _, ok := c.index[key]; !ok {
		t := c.open(table)
		c.index[key] = len(t.Chains)
		t.Chains = append(t.Chains, SavedChain{Name: name})
	}
	return nil
}

func (c *collector) rule(table, chain string, text []byte) error {
	i, ok := c.index[chainKey{table, chain}]
	if !ok {
		return fmt.Errorf("a rule of chain %q, which was not declared", chain)
	}
	if !c.keep(chain, text) {
		return nil
	}
	words, err := split(string(text))
	if err != nil {
		return err
	}
	rules := &c.open(table).Chains[i].Rules
	*rules = append(*rules, words)
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
