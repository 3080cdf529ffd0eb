package config

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Page returns the settings page: a text table with a row for each variable,
// in columns that line up.
func Page() string {
	var page strings.Builder
	// Writing to a strings.Builder cannot fail.
	w := tabwriter.NewWriter(&page, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "VARIABLE\tDEFAULT\tSETTING\tACCEPTS\tMEANING")
	for _, s := range settings() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.variable, orDash(s.fallback), orDash(s.name), s.accepts, s.meaning)
	}
	w.Flush()
	return page.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
