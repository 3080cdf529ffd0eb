package ruleset

import (
	"slices"
	"strconv"
	"strings"
)

// aws-node of older versions made one chain for every CIDR block, numbered.
var generations = []string{"AWS-SNAT-CHAIN-", "AWS-CONNMARK-CHAIN-"}

// ownedChain says whether a chain is ours, or was aws-node's.
func ownedChain(name string) bool {
	return slices.ContainsFunc(generations, func(prefix string) bool {
		number, ok := strings.CutPrefix(name, prefix)
		_, err := strconv.ParseUint(number, 10, 16)
		return ok && err == nil
	})
}

// ownedRule says whether a rule of a built-in chain is ours, or was aws-node's:
// by its comment, because the primary's link or the mark may have been others.
func ownedRule(l Line) bool {
	switch l.comment() {
	case commentSNAT, commentOutbound, commentConnmark, commentPrimary:
		return true
	}
	return ownedChain(l.jump())
}

// HasOwned says whether anything of ours, or of aws-node's, is there.
func (s Saved) HasOwned() bool { return len(Diff(s, nil)) > 0 }
