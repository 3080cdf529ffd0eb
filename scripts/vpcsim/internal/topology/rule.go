package topology

import (
	"fmt"
	"slices"
	"strings"
)

// Rule sends requests with a host and a path to a group. Rules of a listener are
// tried in their order; the listener's own group is for the rest.
type Rule struct {
	Host   string   `json:"host,omitempty"`  // in lower case; "*.example.com" is every name below; empty is every host
	Paths  []string `json:"paths,omitempty"` // like /a or /a/*; * stands for anything; empty is every path
	Target string   `json:"targetGroup"`     // name of the group
}

// Matches reports whether a request is the rule's. Hosts have no case, paths do.
func (r Rule) Matches(host, path string) bool {
	return (r.Host == "" || wild(r.Host, strings.ToLower(host))) &&
		(len(r.Paths) == 0 || slices.ContainsFunc(r.Paths, func(p string) bool { return wild(p, path) }))
}

// wild matches a text with a pattern in which * stands for any text.
func wild(pattern, text string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, head)
	if !ok {
		return false
	}
	for i := range len(text) + 1 {
		if wild(rest, text[i:]) {
			return true
		}
	}
	return false
}

// Group is the name of the group for a request; empty if none is for it.
func (l Listener) Group(host, path string) string {
	for _, r := range l.Rules {
		if r.Matches(host, path) {
			return r.Target
		}
	}
	return l.TargetGroup
}

// Uses reports whether a listener sends to a group.
func (b LoadBalancer) Uses(group string) bool {
	return slices.ContainsFunc(b.Listeners, func(l Listener) bool {
		return l.TargetGroup == group || slices.ContainsFunc(l.Rules, func(r Rule) bool { return r.Target == group })
	})
}

// checkRules refuses rules that cannot be followed.
func (b LoadBalancer) checkRules(field string, l Listener) error {
	if len(l.Rules) > 0 && b.Type != ALB {
		return fmt.Errorf("%s.listeners: port %d has rules: only an %s reads requests", field, l.Port, ALB)
	}
	for i, r := range l.Rules {
		of := fmt.Sprintf("%s.listeners: port %d: rules[%d]", field, l.Port, i)
		if !slices.ContainsFunc(b.TargetGroups, func(g TargetGroup) bool { return g.Name == r.Target }) {
			return fmt.Errorf("%s.targetGroup %q is not in targetGroups: name one of them", of, r.Target)
		}
		if r.Host != strings.ToLower(r.Host) {
			return fmt.Errorf("%s.host %q: write it in lower case", of, r.Host)
		}
		for _, p := range r.Paths {
			if !strings.HasPrefix(p, "/") || strings.Count(p, "*") > 5 {
				return fmt.Errorf("%s.paths %q: a path begins with / and has at most 5 stars", of, p)
			}
		}
	}
	return nil
}
