package ruleset

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Rule is one rule: all conditions that are set must hold. Its text is that of
// iptables-save.
type Rule struct {
	Src, Dst netip.Prefix
	Share    Share  // of all sources; not with Src
	In       string // name of the link it came in by; a final + stands for any ending
	Not      Not
	To       Port
	Comment  string
	Local    Local
	Match    Match  // one further condition, or nil
	Target   Target // nil only counts
}

// Not are conditions that must not hold.
type Not struct {
	Src, Dst netip.Prefix
	In, Out  string // names of links, as in Rule
}

// Share is one of Of equal shares of all sources, which their last bits tell
// apart: those that end in Number. Of is a power of two; 0 is all sources.
type Share struct {
	Number, Of int
	Bits       int // of an address
}

// Has says whether a source is of this share.
func (s Share) Has(a netip.Addr) bool {
	bytes := a.AsSlice()
	return s.Of == 0 || int(bytes[len(bytes)-1])%s.Of == s.Number
}

// String is the share as iptables-save writes it after -s.
func (s Share) String() string {
	if s.Bits == 32 {
		return fmt.Sprintf("0.0.0.%d/0.0.0.%d", s.Number, s.Of-1)
	}
	at := netip.AddrFrom16([16]byte{15: byte(s.Number)})
	return fmt.Sprintf("%s/::%x", at, s.Of-1)
}

// Port is a transport protocol, as "tcp", and a destination port; 0 is any.
type Port struct {
	Protocol string
	Number   uint16
}

// Local is a condition on which of the packet's addresses are this node's.
type Local int

const (
	// AnyDst accepts every packet.
	AnyDst Local = iota
	// ToLocalOnIn accepts an address of the link that the packet came in by.
	ToLocalOnIn
	// NotToLocal accepts what is no address of this node.
	NotToLocal
	// ToLocal accepts a destination that is an address of this node.
	ToLocal
	// FromLocal accepts a source that is an address of this node.
	FromLocal
)

var localText = [...]string{
	"",
	" -m addrtype --dst-type LOCAL --limit-iface-in",
	" -m addrtype ! --dst-type LOCAL",
	" -m addrtype --dst-type LOCAL",
	" -m addrtype --src-type LOCAL",
}

// String is the condition in iptables-save syntax, without the leading space.
func (l Local) String() string { return strings.TrimSpace(localText[l]) }

// String is the rule as iptables-save writes it after the chain's name.
func (r Rule) String() string {
	var b strings.Builder
	r.write(&b)
	return b.String()[1:]
}

// write is String with a leading space.
func (r Rule) write(b *strings.Builder) {
	writeBlock(b, "-s", r.Src, r.Not.Src)
	if r.Share.Of > 0 {
		writeOption(b, "-s", r.Share.String(), "")
	}
	writeBlock(b, "-d", r.Dst, r.Not.Dst)
	writeOption(b, "-i", r.In, r.Not.In)
	writeOption(b, "-o", "", r.Not.Out)
	writeOption(b, "-p", r.To.Protocol, "")
	if r.Comment != "" {
		writeOption(b, "-m comment --comment", quoteComment(r.Comment), "")
	}
	b.WriteString(localText[r.Local])
	if r.Match != nil {
		b.WriteByte(' ')
		b.WriteString(r.Match.String())
	}
	writeOption(b, "-m", r.To.Protocol, "")
	if r.To.Number != 0 {
		writeOption(b, "--dport", strconv.Itoa(int(r.To.Number)), "")
	}
	if r.Target != nil {
		writeOption(b, "-j", r.Target.String(), "")
	}
}

// writeOption writes an option that must, or must not, be something.
func writeOption(b *strings.Builder, option, is, not string) {
	switch {
	case is != "":
		b.WriteByte(' ')
	case not != "":
		b.WriteString(" ! ")
		is = not
	default:
		return
	}
	b.WriteString(option)
	b.WriteByte(' ')
	b.WriteString(is)
}

func writeBlock(b *strings.Builder, option string, is, not netip.Prefix) {
	switch {
	case is.IsValid() && is.Bits() > 0:
		writeOption(b, option, is.String(), "")
	case not.IsValid():
		writeOption(b, option, "", not.String())
	}
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
		b.WriteString("-A ")
		b.WriteString(chain)
		r.write(b)
		b.WriteByte('\n')
	}
}
