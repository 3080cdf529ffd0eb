package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// entry is one address in the book on a node's disk.
type entry struct {
	State     string `json:"state"` // "assigned" or "cooling"
	Container string `json:"containerID"`
	Pod       string `json:"pod"`
	Link      string `json:"link"`
	ENI       string `json:"eni"`
	Adopted   bool   `json:"adopted"`
}

// book reads the book of a node, by address.
func (s *story) book(node *harness.Node) map[string]entry {
	s.Helper()
	book := map[string]entry{}
	for _, line := range lines(s.shell(node, "cd /run/causeway/book && grep -H . [0-9]* || true")) {
		address, text, _ := strings.Cut(line, ":")
		var e entry
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			s.Fatalf("book entry %q: %v", line, err)
		}
		book[address] = e
	}
	return book
}

// traces is where a node's rules and routes still name an address.
func (s *story) traces(node *harness.Node, address string) []string {
	s.Helper()
	all := lines(s.shell(node, "ip -4 rule; ip -4 route show table all"))
	return slices.DeleteFunc(all, func(line string) bool {
		return !slices.Contains(strings.Fields(strings.ReplaceAll(line, "/32", "")), address)
	})
}

// notes lists the release notes that wait for the daemon.
func (s *story) notes(node *harness.Node) []string {
	s.Helper()
	return lines(s.shell(node, "ls /run/causeway/released 2>/dev/null || true"))
}

// noLeaks demands that a node without pods looks as one that never had any.
func (s *story) noLeaks(node *harness.Node) error {
	var left []string
	for address, e := range s.book(node) {
		if e.State == "assigned" {
			left = append(left, fmt.Sprintf("book: %s %+v", address, e))
		}
	}
	for _, n := range s.notes(node) {
		left = append(left, "note: "+n)
	}
	for _, line := range lines(s.shell(node, "ip -br link; ip rule; ip route")) {
		if strings.HasPrefix(line, "eni") || strings.Contains(line, "dev eni") || strings.HasPrefix(line, "512:") || strings.HasPrefix(line, "1536:") {
			left = append(left, "kernel: "+line)
		}
	}
	status, err := s.lab.Control.Status(s.ctx)
	if err != nil {
		return err
	}
	for _, e := range status.Detached {
		left = append(left, fmt.Sprintf("EC2: %s is %s, attached to nothing", e.ID, e.Status))
	}
	if len(left) > 0 {
		return fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	return nil
}

func lines(text string) []string {
	return slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool { return line == "" })
}
