package ruleset

import (
	"fmt"
	"net/netip"
	"strings"
)

// Rule is one rule: all conditions that are set must hold. Its text is that of
// iptables-save.
type Rule struct {
	In      string // name of the link it came in by; a final + stands for any ending
	NotOut  string // it must not leave by this link; same form
	Dst     netip.Prefix
	Comment string
	Local   Local
	Target  Target
}

// Local is a condition on the packet's destination.
type Local int

const (
	// AnyDst accepts every destination.
	AnyDst Local = iota
	// ToLocalOnIn accepts an address of the link that the packet came in by.
	ToLocalOnIn
	// NotToLocal accepts what is no address of this node.
	NotToLocal
)

var localText = [...]string{"", " -m addrtype --dst-type LOCAL --limit-iface-in", " -m addrtype ! --dst-type LOCAL"}

// String is the condition in iptables-save syntax, without the leading space.
func (l Local) String() string { return strings.TrimSpace(localText[l]) }

// Target is what a rule does: Jump, Return, SNAT, SetConnmark or RestoreMark.
type Target interface {
	fmt.Stringer
	target()
}

// Jump goes on in a chain of the same table, and comes back at its end.
type Jump string

// Return leaves the chain.
type Return struct{}

// SNAT translates the connection's source.
type SNAT struct {
	To        netip.Addr
	Randomize Randomize
}

// SetConnmark sets these bits in the connection's mark.
type SetConnmark uint32

// RestoreMark copies these bits from the connection's mark to the packet's.
type RestoreMark uint32

func (Jump) target()        {}
func (Return) target()      {}
func (SNAT) target()        {}
func (SetConnmark) target() {}
func (RestoreMark) target() {}

func (j Jump) String() string { return string(j) }

func (Return) String() string { return "RETURN" }

func (s SNAT) String() string {
	return "SNAT --to-source " + s.To.String() + randomizeFlag[s.Randomize]
}

func (m SetConnmark) String() string {
	return fmt.Sprintf("CONNMARK --set-xmark %#x/%#x", uint32(m), uint32(m))
}

func (m RestoreMark) String() string {
	return fmt.Sprintf("CONNMARK --restore-mark --nfmask %#x --ctmask %#x", uint32(m), uint32(m))
}

// Randomize is how SNAT picks source ports.
type Randomize int

const (
	// PRNG takes a random port for every connection (--random-fully).
	PRNG Randomize = iota
	// HashRandom takes a port by a keyed hash of the flow (--random).
	HashRandom
	// Sequential keeps the port where it is free.
	Sequential
)

var (
	randomizeFlag = [...]string{" --random-fully", " --random", ""}
	randomizeName = [...]string{"prng", "hashrandom", "none"}
)

// String is the value of AWS_VPC_K8S_CNI_RANDOMIZESNAT.
func (r Randomize) String() string { return randomizeName[r] }

// ParseRandomize reads the value of AWS_VPC_K8S_CNI_RANDOMIZESNAT.
func ParseRandomize(s string) (Randomize, error) {
	for i, name := range randomizeName {
		if s == name {
			return Randomize(i), nil
		}
	}
	return 0, fmt.Errorf("port randomization %q: want prng, hashrandom or none", s)
}

// String is the rule as iptables-save writes it after the chain's name.
func (r Rule) String() string {
	var b strings.Builder
	if r.Dst.IsValid() && r.Dst.Bits() > 0 {
		fmt.Fprintf(&b, " -d %s", r.Dst)
	}
	if r.In != "" {
		fmt.Fprintf(&b, " -i %s", r.In)
	}
	if r.NotOut != "" {
		fmt.Fprintf(&b, " ! -o %s", r.NotOut)
	}
	if r.Comment != "" {
		fmt.Fprintf(&b, " -m comment --comment %s", quote(r.Comment))
	}
	b.WriteString(localText[r.Local])
	fmt.Fprintf(&b, " -j %s", r.Target)
	return b.String()[1:]
}

// Ruleset is what we want in the kernel.
type Ruleset []Table

// Table is a table of netfilter with what we want in it.
type Table struct {
	Name   string
	Base   []Base
	Chains []Chain
}

// Base is a built-in chain, which others use too: these rules of ours must be
// in it, in this order.
type Base struct {
	Chain string
	// After, if set, names a chain: our rules come after any jump to it.
	After string
	Rules []Rule
}

// Chain is a chain of ours: it holds these rules and no others.
type Chain struct {
	Name  string
	Rules []Rule
}

// String is the rule-set in iptables-save syntax, as a table without anything
// else would show it.
func (rs Ruleset) String() string {
	var b strings.Builder
	for _, t := range rs {
		fmt.Fprintf(&b, "*%s\n", t.Name)
		for _, c := range t.Chains {
			fmt.Fprintf(&b, ":%s - [0:0]\n", c.Name)
		}
		for _, c := range t.Base {
			writeRules(&b, c.Chain, c.Rules)
		}
		for _, c := range t.Chains {
			writeRules(&b, c.Name, c.Rules)
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func writeRules(b *strings.Builder, chain string, rules []Rule) {
	for _, r := range rules {
		fmt.Fprintf(b, "-A %s %s\n", chain, r)
	}
}
