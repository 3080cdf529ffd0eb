package ruleset

import (
	"fmt"
	"strings"
)

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`)

// quote writes a word as iptables-save does: in double quotes unless it is made
// of plain characters, with a backslash before quotes and backslashes.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, special) < 0 {
		return s
	}
	return `"` + escape.Replace(s) + `"`
}

func special(r rune) bool { return r <= ' ' || r == '"' || r == '\'' || r == '\\' }

// maxComment is the length of a comment in bytes (XT_MAX_COMMENT_LEN, less the
// byte that ends it).
const maxComment = 255

// quoteComment writes a comment as iptables-save does: it takes fewer
// characters for plain than quote. What is too long is cut, and what would
// break the line replaced: no name of a service may make its rules unfit.
func quoteComment(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxComment {
		s = strings.ToValidUTF8(s[:maxComment], "")
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
	}
	if strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return `"` + escape.Replace(s) + `"`
	}
	return s
}

// split is quote's inverse for a line of words.
func split(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	var inWord, inQuotes bool
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && inQuotes && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '"':
			inQuotes, inWord = !inQuotes, true
		case (c == ' ' || c == '\t') && !inQuotes:
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inQuotes {
		return nil, fmt.Errorf("%q has an open quote", line)
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("%q has no words", line)
	}
	return words, nil
}
