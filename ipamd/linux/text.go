package linux

import (
	"fmt"
	"slices"
	"strings"
)

// Text is the state in the words of `ip`, sorted, a section for each kind that
// has items: the form of golden files and of state dumps.
func (s State) Text() string {
	var b strings.Builder
	section(&b, "links", s.Links, Link.String)
	section(&b, "addresses", s.Addrs, Addr.String)
	tables := map[int][]Route{}
	for _, r := range s.Routes {
		tables[r.Table] = append(tables[r.Table], r)
	}
	for _, r := range sortedRoutes(s.Routes) {
		if routes, left := tables[r.Table]; left {
			section(&b, "table "+tableName(r.Table), routes, Route.InTable)
			delete(tables, r.Table)
		}
	}
	section(&b, "neighbours", s.Neighs, Neigh.String)
	if len(s.Rules) > 0 {
		b.WriteString("# rules\n")
		for _, r := range sortedRules(s.Rules) {
			fmt.Fprintln(&b, r)
		}
	}
	section(&b, "sysctls", s.Sysctls, Sysctl.String)
	return b.String()
}

func section[T any](b *strings.Builder, title string, items []T, text func(T) string) {
	if len(items) == 0 {
		return
	}
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = text(item)
	}
	slices.Sort(lines)
	fmt.Fprintf(b, "# %s\n%s\n", title, strings.Join(lines, "\n"))
}
