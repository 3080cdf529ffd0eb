package ruleset

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxEdits is up to how many rules a common chain is changed in place. Beyond,
// writing it anew is no dearer.
const maxEdits = 32

// edits change the i-th common chain in place, if the kernel has it as it was
// after the last batch. It says false if the chain must be written anew. With
// 5,000 services on nft that takes 0.3 s, and a rule more or less 0.1 s.
func (l *Ledger) edits(i int) ([]string, bool) {
	if !l.settled {
		return nil, false
	}
	var lines []string
	place := 1 // of the next rule
	changed := slices.Sorted(maps.Keys(l.edited))
	for _, e := range l.order {
		for len(changed) > 0 && changed[0] < e.id { // gone
			lines = append(lines, deletes(l.edited[changed[0]], i)...)
			changed = changed[1:]
		}
		if len(changed) > 0 && changed[0] == e.id {
			if was := l.edited[e.id]; was == nil || was[i] != e.common[i] {
				lines = append(lines, deletes(was, i)...)
				lines = append(lines, inserts(e.common[i], place)...)
			}
			changed = changed[1:]
		}
		place += strings.Count(e.common[i], "\n")
	}
	for _, id := range changed {
		lines = append(lines, deletes(l.edited[id], i)...)
	}
	return lines, len(lines) <= maxEdits
}

// deletes takes out the rules that a service-port had in the i-th common chain;
// it had none at all if its texts are nil.
func deletes(texts []string, i int) []string {
	var lines []string
	if texts != nil {
		for line := range strings.Lines(texts[i]) {
			lines = append(lines, "-D"+strings.TrimPrefix(line, "-A"))
		}
	}
	return lines
}

// inserts puts rules in, the first at a place.
func inserts(text string, place int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		words := strings.SplitN(line, " ", 3) // -A, chain, rule
		lines = append(lines, "-I "+words[1]+" "+strconv.Itoa(place+len(lines))+" "+words[2])
	}
	return lines
}
