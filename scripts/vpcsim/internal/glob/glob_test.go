package glob

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true},
		{"", "a", false},
		{"abc", "abc", true},
		{"abc", "ABC", false},
		{"a*", "a", true},
		{"*", "", true},
		{"*/macs/*", "/latest/meta-data/network/interfaces/macs/02:aa/local-ipv4s", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*a*b", "xaxxbxb", true},
		{"*a*b", "xaxxbx", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{`a\?b`, "a?b", true},
		{`\\`, `\`, true},
		{`a\`, `a\`, true},
		{"日?語", "日本語", true},
	}
	for _, tt := range tests {
		if got := Match(tt.pattern, tt.text); got != tt.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tt.pattern, tt.text, got, tt.want)
		}
	}
}

// FuzzMatch compares with the same pattern as a regular expression.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add(`\**`, "*x")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 40 || strings.Contains(pattern, `\`) || !utf8.ValidString(pattern) || !utf8.ValidString(text) {
			return
		}
		expr := regexp.QuoteMeta(pattern)
		expr = strings.ReplaceAll(strings.ReplaceAll(expr, `\*`, ".*"), `\?`, ".")
		want := regexp.MustCompile(`(?s)\A` + expr + `\z`).MatchString(text)
		if got := Match(pattern, text); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", pattern, text, got, want)
		}
	})
}
