package ruleset

import (
	"io"
	"slices"
	"strings"
)

// part is one transaction of one table.
type part struct {
	table  string
	chains []string // to be made, or emptied
	rules  []lines
	drops  []string // to be deleted, of chains

	// entries is how many more entries a table of legacy has after it; unsure,
	// that this cannot be known.
	entries int
	unsure  bool
}

// chainEntries is what a chain takes besides its rules: its name and its end.
const chainEntries = 2

// Transactions is how many it is.
func (b Batch) Transactions() int { return len(b.parts) }

// Entries is how many more entries each table of legacy has after it. It says
// false if that cannot be known.
func (b Batch) Entries() (map[string]int, bool) {
	entries, sure := map[string]int{}, true
	for _, p := range b.parts {
		entries[p.table] += p.entries
		sure = sure && !p.unsure
	}
	return entries, sure
}

// lines is a text, or what makes it when it is needed: the rules of 5,000
// services take 16 MB.
type lines struct {
	text string
	make func() string
}

// Empty says that there is nothing to do.
func (b Batch) Empty() bool { return len(b.parts) == 0 }

// Input is for iptables-restore --noflush, from its beginning.
func (b Batch) Input() io.Reader {
	var all texts
	for _, p := range b.parts {
		all = append(all, lines{make: p.head})
		all = append(all, p.rules...)
		all = append(all, lines{make: p.tail})
	}
	return &all
}

// head declares chains, which makes or empties them. iptables-restore of legacy
// searches its list of chains, sorted by name, from the last entry of an index
// before the one that it wants: made from the last to the first, a chain is put
// in without a search, and lies in memory beside those that are searched with it.
func (p *part) head() string {
	var b strings.Builder
	b.WriteString("*" + p.table + "\n")
	slices.Sort(p.chains)
	for _, c := range slices.Backward(p.chains) {
		b.WriteString(":" + c + " - [0:0]\n")
	}
	return b.String()
}

func (p *part) tail() string {
	var b strings.Builder
	for _, c := range p.drops {
		b.WriteString("-X " + c + "\n")
	}
	b.WriteString("COMMIT\n")
	return b.String()
}

// texts is a reader of one after the other.
type texts []lines

func (t *texts) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && len(*t) > 0 {
		first := &(*t)[0]
		if first.make != nil {
			*first = lines{text: first.make()}
		}
		copied := copy(p[n:], first.text)
		n += copied
		if first.text = first.text[copied:]; first.text == "" {
			*first = lines{} // an empty text still holds on to all that it was
			*t = (*t)[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}
