package ruleset

import (
	"fmt"
	"strings"
)

// quote writes a word as iptables-save does: in double quotes unless it is made
// of plain characters, with a backslash before quotes and backslashes.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, special) < 0 {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `'`, `\'`).Replace(s) + `"`
}

func special(r rune) bool { return r <= ' ' || r == '"' || r == '\'' || r == '\\' }

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
