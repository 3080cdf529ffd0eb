package ruleset

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// visitor is told of every chain, before its rules, and of every rule: the text
// after "-A CHAIN ", which is gone after the call.
type visitor interface {
	chain(table, name string) error
	rule(table, chain string, text []byte) error
}

// scan reads the output of iptables-save as it comes, with or without counters.
// It keeps nothing: a node may have more rules than anybody wants in memory.
func scan(r io.Reader, v visitor) error {
	s := scanner{visitor: v}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	number := 0
	for lines.Scan() {
		number++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := s.line(line); err != nil {
			return fmt.Errorf("iptables-save, line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("iptables-save, line %d: %w", number+1, err)
	}
	if s.table != "" {
		return fmt.Errorf("iptables-save: table %s has no COMMIT: the output is cut off", s.table)
	}
	return nil
}

type scanner struct {
	visitor
	table string // that is open
	last  string // chain of the last rule
}

func (s *scanner) line(line []byte) error {
	switch {
	case line[0] == '*':
		if s.table != "" {
			return fmt.Errorf("table %s begins before the COMMIT of %s", line[1:], s.table)
		}
		s.table = string(line[1:])
	case s.table == "":
		return fmt.Errorf("%q stands outside of a table", line)
	case string(line) == "COMMIT":
		s.table = ""
	case line[0] == ':':
		name, _, _ := bytes.Cut(line[1:], space)
		return s.chain(s.table, string(name))
	default:
		return s.appended(line)
	}
	return nil
}

var space = []byte(" ")

func (s *scanner) appended(line []byte) error {
	text := line
	if text[0] == '[' {
		_, text, _ = bytes.Cut(text, space)
	}
	text, found := bytes.CutPrefix(text, []byte("-A "))
	chain, text, _ := bytes.Cut(text, space)
	if !found || len(chain) == 0 {
		return fmt.Errorf("%q is neither a chain nor a rule", line)
	}
	if string(chain) != s.last {
		s.last = string(chain)
	}
	return s.rule(s.table, s.last, text)
}
