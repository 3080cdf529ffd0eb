package ruleset

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/config"
)

// NodeNAT is all that decides external SNAT and the connection mark.
type NodeNAT struct {
	// PrimaryLink is the name of the primary ENI's link.
	PrimaryLink string
	// PrimaryAddr is the primary IPv4 address of the primary ENI.
	PrimaryAddr netip.Addr
	// VPCBlocks are the IPv4 CIDR blocks of the VPC; Excluded are further
	// ones towards which pods keep their addresses.
	VPCBlocks, Excluded []netip.Prefix
	// External leaves SNAT to a NAT gateway outside of the node.
	External bool
	// Randomize is how SNAT picks source ports.
	Randomize Randomize
	// NodePorts keeps replies to node ports on the primary ENI.
	NodePorts bool
	// Mark is the bit of the connection mark; it is also the mask.
	Mark uint32
	// VethPrefix begins the name of every pod's link.
	VethPrefix string
}

// Validate says which field cannot be used, and what would be right.
func (n NodeNAT) Validate() error {
	if !linkName(n.PrimaryLink) || strings.HasSuffix(n.PrimaryLink, "+") {
		return fmt.Errorf("primary link %q: want the name of a link, 1 to 15 characters without spaces", n.PrimaryLink)
	}
	if !n.PrimaryAddr.Is4() {
		return fmt.Errorf("primary address %s: want an IPv4 address", n.PrimaryAddr)
	}
	if !linkName(n.VethPrefix) || len(n.VethPrefix) > 4 {
		return fmt.Errorf("veth prefix %q: want 1 to 4 characters without spaces", n.VethPrefix)
	}
	if n.Mark == 0 {
		return fmt.Errorf("connection mark 0: want at least one bit, as %#x", config.ConnectionMark)
	}
	for _, p := range slices.Concat(n.VPCBlocks, n.Excluded) {
		if !p.Addr().Is4() || p.Masked() != p {
			return fmt.Errorf("CIDR block %s: want an IPv4 block without host bits, as 10.0.0.0/16", p)
		}
	}
	if !n.External && len(n.VPCBlocks) == 0 {
		return fmt.Errorf("no VPC CIDR block: at least one is needed, or traffic between pods would be translated")
	}
	return nil
}

func linkName(s string) bool {
	return s != "" && len(s) <= 15 && !strings.ContainsAny(s, " \t\r\n/\"'\\!")
}

const (
	commentSNAT      = "AWS SNAT CHAIN"
	commentTranslate = "AWS, SNAT"
	commentOutbound  = "AWS, outbound connections"
	commentConnmark  = "AWS, CONNMARK"
	commentPrimary   = "AWS, primary ENI"
)

// Ruleset is the rules, in two tables. n must be valid.
func (n NodeNAT) Ruleset() Ruleset {
	return Ruleset{n.mangle(), n.nat()}
}

func (n NodeNAT) mangle() Table {
	var rules []Rule
	restore := RestoreMark(n.Mark)
	if n.NodePorts {
		rules = append(rules, Rule{In: n.PrimaryLink, Comment: commentPrimary, Local: ToLocalOnIn, Target: SetConnmark(n.Mark)})
	}
	if n.NodePorts || !n.External {
		rules = append(rules, Rule{In: n.VethPrefix + "+", Comment: commentPrimary, Target: restore})
	}
	if n.NodePorts {
		rules = append(rules, Rule{In: "vlan+", Comment: commentPrimary, Target: restore})
	}
	return Table{Name: "mangle", Base: []Base{{Chain: "PREROUTING", Rules: rules}}}
}

func (n NodeNAT) nat() Table {
	if n.External {
		return Table{Name: "nat"}
	}
	mark := append(n.returns("AWS CONNMARK CHAIN, VPC CIDR", "AWS CONNMARK CHAIN, EXCLUDED CIDR"),
		Rule{Comment: commentConnmark, Target: SetConnmark(n.Mark)})
	snat := append(n.returns(commentSNAT, commentSNAT+" EXCLUSION"),
		Rule{Not: Not{Out: "vlan+"}, Comment: commentTranslate, Local: NotToLocal, Target: SNAT{n.PrimaryAddr, n.Randomize}})
	return Table{
		Name: "nat",
		Base: []Base{
			{Chain: "PREROUTING", After: "KUBE-SERVICES", Rules: []Rule{
				{In: n.VethPrefix + "+", Comment: commentOutbound, Target: Jump(config.ConnmarkChain)},
				{Comment: commentConnmark, Target: RestoreMark(n.Mark)},
			}},
			{Chain: "POSTROUTING", After: "KUBE-POSTROUTING", Rules: []Rule{
				{Comment: commentSNAT, Target: Jump(config.SNATChain)},
			}},
		},
		Chains: []Chain{{config.ConnmarkChain, mark}, {config.SNATChain, snat}},
	}
}

// returns leaves a chain for every block that keeps its addresses. aws-node
// inserts each at the head, so that the last comes first.
func (n NodeNAT) returns(vpc, excluded string) []Rule {
	var rules []Rule
	seen := map[netip.Prefix]bool{}
	add := func(blocks []netip.Prefix, comment string) {
		for _, p := range slices.Backward(blocks) {
			if !seen[p] {
				seen[p] = true
				rules = append(rules, Rule{Dst: p, Comment: comment, Target: Return{}})
			}
		}
	}
	add(n.Excluded, excluded)
	add(n.VPCBlocks, vpc)
	return rules
}
