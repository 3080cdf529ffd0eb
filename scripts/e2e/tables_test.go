package e2e

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

var update = flag.Bool("update", false, "write the golden files anew")

// documented is the node of the handbook: 192.168.1.50, with a pod on each ENI.
const documented = `
vpc: {cidr: 192.168.0.0/16}
subnets: [{name: a, cidr: 192.168.1.0/24}]
nodes: [{name: n1, subnet: a, type: t3.small, address: 192.168.1.50}]
`

// TestTables compares the tables of a node and of its pods with those that
// operators know from EKS nodes. EC2 chooses the pods' addresses, so they and
// the hardware addresses are replaced by those of the handbook.
func TestTables(t *testing.T) {
	t.Parallel()
	s := raise(t, documented)
	node := s.start("n1")
	primary, secondary := s.onePodOnEach(node)
	names := s.handbookNames(primary, secondary)
	inNode := func(commands ...string) string {
		return s.transcript(names, commands, node.Exec)
	}
	s.golden("node.txt", inNode("ip rule", "ip route", "ip route show table 2", "ip -o link show dev eth1", "ip -o link show dev "+link(primary)))
	s.golden("nat.txt", inNode("iptables -t nat -S", "iptables -t mangle -S", "iptables -t filter -S"))
	inPod := []string{"ip -4 -o addr show dev eth0", "ip -o link show dev eth0", "ip route", "ip neigh show nud permanent"}
	s.golden("pod-primary.txt", s.transcript(names, inPod, primary.Exec))
	s.golden("pod-secondary.txt", s.transcript(names, inPod, secondary.Exec))
}

// onePodOnEach leaves one pod on the primary ENI and one on the secondary.
func (s *story) onePodOnEach(node *harness.Node) (primary, secondary *harness.Pod) {
	s.Helper()
	pods := s.addUntil(node, 1)
	primary, secondary = pods[0], pods[len(pods)-1]
	for _, p := range pods[1 : len(pods)-1] {
		s.must(p.Del(s.ctx))
		s.must(p.Remove(s.ctx))
	}
	return primary, secondary
}

func link(p *harness.Pod) string { return p.Result.Interfaces[0].Name }

// shown is what the handbook has in place of a word.
type shown map[string]string

// Replace replaces whole words: an address may be the begin of another.
func (s shown) Replace(text string) string {
	var words []string
	for word := range s {
		words = append(words, regexp.QuoteMeta(word))
	}
	return regexp.MustCompile(`\b(?:`+strings.Join(words, "|")+`)\b`).ReplaceAllStringFunc(text, func(word string) string { return s[word] })
}

// handbookNames replaces what is random by what the handbook shows.
func (s *story) handbookNames(primary, secondary *harness.Pod) shown {
	s.Helper()
	for _, p := range []*harness.Pod{primary, secondary} {
		sum := sha1.Sum([]byte("default." + p.Name))
		if want := "eni" + hex.EncodeToString(sum[:])[:11]; link(p) != want {
			s.Errorf("the host link of %s is %s, want %s", p.Name, link(p), want)
		}
	}
	return shown{
		primary.IP.String(): "192.168.1.51", secondary.IP.String(): "192.168.1.61",
		link(primary): "enib9b00b57dd4", link(secondary): "eni69e05c2a0e5",
		primary.Result.Interfaces[0].Mac: "HOST-MAC", secondary.Result.Interfaces[0].Mac: "HOST-MAC",
		primary.Result.Interfaces[1].Mac: "POD-MAC", secondary.Result.Interfaces[1].Mac: "POD-MAC",
	}
}

var (
	index    = regexp.MustCompile(`(?m)^\d+: `)
	peerLink = regexp.MustCompile(`@if\d+`)
	anyMAC   = regexp.MustCompile(`link/ether [0-9a-f:]{17}`)
	noise    = regexp.MustCompile(`(?: qdisc \S+| qlen \d+| link-netns(?:id)? \S+)| +valid_lft.*| (?:mode|group) \S+`)
)

// transcript runs commands and shows what they printed, with its random parts
// replaced. Lines of routes and rules of the same rank have no order of their
// own and are sorted.
func (s *story) transcript(names shown, commands []string, exec executor) string {
	s.Helper()
	var b strings.Builder
	for _, command := range commands {
		out, err := exec(s.ctx, strings.Fields(command)...)
		s.must(err)
		out = names.Replace(strings.ReplaceAll(out, `\`, ""))
		if strings.Contains(command, " -o ") {
			out = index.ReplaceAllString(out, "")
		}
		out = noise.ReplaceAllString(anyMAC.ReplaceAllString(peerLink.ReplaceAllString(out, ""), "link/ether MAC"), "")
		b.WriteString("$ " + names.Replace(command) + "\n")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if strings.HasPrefix(command, "ip ru") || strings.HasPrefix(command, "ip ro") {
			slices.SortStableFunc(lines, byRank)
		}
		for _, line := range lines {
			b.WriteString(strings.Join(strings.FieldsFunc(line, func(r rune) bool { return r == ' ' }), " ") + "\n")
		}
	}
	return b.String()
}

type executor func(ctx context.Context, command ...string) (string, error)

// byRank compares rules by priority and routes with the default first.
func byRank(a, b string) int {
	rank := func(line string) int {
		priority, _, _ := strings.Cut(line, ":")
		n, err := strconv.Atoi(priority)
		if err != nil && !strings.HasPrefix(line, "default") {
			return 1
		}
		return n
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a, b))
}

// golden compares with a file of testdata.
func (s *story) golden(file, got string) {
	s.Helper()
	path := filepath.Join("testdata", file)
	if *update {
		s.must(os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	s.must(err)
	if diff := gocmp.Diff(string(want), got); diff != "" {
		s.Errorf("%s (-want +got):\n%s", file, diff)
	}
}
