package topology

import "testing"

func TestRuleMatches(t *testing.T) {
	for _, tt := range []struct {
		rule       Rule
		host, path string
		want       bool
	}{
		{Rule{}, "a.example.com", "/", true},
		{Rule{Host: "a.example.com"}, "A.example.com", "/x", true},
		{Rule{Host: "a.example.com"}, "b.example.com", "/x", false},
		{Rule{Host: "*.example.com"}, "b.example.com", "/x", true},
		{Rule{Host: "*.example.com"}, "example.com", "/x", false},
		{Rule{Paths: []string{"/a"}}, "", "/a", true},
		{Rule{Paths: []string{"/a"}}, "", "/a/", false},
		{Rule{Paths: []string{"/a", "/a/*"}}, "", "/a/b/c", true},
		{Rule{Paths: []string{"/a", "/a/*"}}, "", "/ab", false},
		{Rule{Paths: []string{"/A"}}, "", "/a", false},
		{Rule{Paths: []string{"/*"}}, "", "/", true},
		{Rule{Paths: []string{"/*/end"}}, "", "/x/end/end", true},
		{Rule{Paths: []string{"/*/end"}}, "", "/x/end/no", false},
		{Rule{Host: "a", Paths: []string{"/x"}}, "a", "/y", false},
	} {
		if got := tt.rule.Matches(tt.host, tt.path); got != tt.want {
			t.Errorf("%+v with %s%s: %t", tt.rule, tt.host, tt.path, got)
		}
	}
}
