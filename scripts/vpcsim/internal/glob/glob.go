// Package glob matches text against the wildcards of EC2 filters: * stands
// for any run of characters (also none, also a slash), ? for exactly one, and
// a backslash takes the meaning from the character after it. Matching is
// case-sensitive and takes time proportional to len(pattern)*len(text) at
// worst; no pattern is refused.
package glob

// Match reports whether the whole of text matches pattern.
func Match(pattern, text string) bool {
	p, t := []rune(pattern), []rune(text)
	pi, ti := 0, 0
	star, mark := -1, 0 // position after the last *, and where its match began
	for ti < len(t) {
		if pi < len(p) && p[pi] == '*' {
			pi++
			star, mark = pi, ti
			continue
		}
		if width := one(p[pi:], t[ti]); width > 0 {
			pi += width
			ti++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		pi, ti = star, mark
	}
	for pi < len(p) && p[pi] == '*' {
		pi++
	}
	return pi == len(p)
}

// one returns how many runes of the pattern stand for the rune r, 0 for no match.
func one(p []rune, r rune) int {
	switch {
	case len(p) == 0:
		return 0
	case p[0] == '?':
		return 1
	case p[0] == '\\' && len(p) > 1:
		if p[1] == r {
			return 2
		}
		return 0
	case p[0] == r:
		return 1
	}
	return 0
}
