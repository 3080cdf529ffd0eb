//go:build cluster

package stories

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// end is one end of a call: a pod, a node, or a host beyond the VPC.
type end struct {
	name  string
	addr  netip.Addr
	netns *os.File
}

// call is a client that calls a front end, and what must come of it.
type call struct {
	from    end
	name    string // of the front end
	to      netip.AddrPort
	protos  []string // default: tcp and udp
	count   int      // of connections; default: 15 for each endpoint, so that none is missed by chance
	fate    harness.Fate
	reaches []end        // all of them, and nobody else
	sources []netip.Addr // that they may see; default: the client's own
	shares  bool         // each of them equally often
	one     bool         // all connections the same of them
}

// hark is how long a call waits for an answer that must not come.
const hark = 500 * time.Millisecond

// calls makes each call by each of its protocols, once the first one has ended
// as it must: rules come some time after the objects.
func (s story) calls(all ...call) {
	s.Helper()
	for _, c := range all {
		if c.fate == "" {
			c.fate = harness.Answered
		}
		if c.count == 0 {
			c.count = max(15*len(c.reaches), 1)
		}
		if c.sources == nil {
			c.sources = []netip.Addr{c.from.addr}
		}
		if c.protos == nil {
			c.protos = []string{"tcp", "udp"}
		}
		for _, proto := range c.protos {
			what := fmt.Sprintf("%s -> %s %s/%s", c.from.name, c.name, c.to, proto)
			s.eventually(what, func() error {
				answers, err := s.ask(c, proto, 1)
				if err == nil && !c.fits(answers[0]) {
					err = fmt.Errorf("%s: %s; want: %s", answers[0].Fate(), answers[0].Error, c.fate)
				}
				return err
			})
			answers, err := s.ask(c, proto, c.count)
			if err != nil {
				s.Fatalf("%s: %v", what, err)
			}
			saw, wrong := c.judge(answers)
			s.Logf("%s: %s", what, saw)
			if len(wrong) > 0 {
				s.Errorf("%s: %s; want: %s", what, saw, strings.Join(wrong[:min(len(wrong), 3)], "; "))
			}
		}
	}
}

// ask probes, up to the first that has no answer.
func (s story) ask(c call, proto string, count int) ([]harness.Answer, error) {
	wait := patience
	if c.fate == harness.Silence {
		wait = hark
	}
	cmd := exec.CommandContext(s.ctx, "nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), c.from.netns.Fd()), "--",
		s.cluster.VpcsimPath(), "probe", proto, c.to.String(), "--json", "--fail-fast", "--count", fmt.Sprint(count), "--timeout", wait.String())
	out, failure := cmd.Output() // it fails if a probe does
	var answers []harness.Answer
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var a harness.Answer
		if err := decoder.Decode(&a); err != nil {
			return nil, fmt.Errorf("reading the probe's answer %q: %w", out, err)
		}
		answers = append(answers, a)
	}
	if len(answers) == 0 || len(answers) < count && answers[len(answers)-1].Fate() == harness.Answered {
		return nil, errors.Join(fmt.Errorf("%d results, want %d", len(answers), count), failure)
	}
	return answers, nil
}

// fits says whether a probe ended as it must. A node's own kernel may refuse or
// drop its datagrams in words that do not tell which.
func (c call) fits(a harness.Answer) bool {
	return a.Fate() == c.fate || a.Fate() == harness.Forbidden && c.fate != harness.Answered
}

// judge says what was seen, and what should have been instead.
func (c call) judge(answers []harness.Answer) (saw string, wrong []string) {
	counts, sources, slowest := map[netip.Addr]int{}, map[string]bool{}, time.Duration(0)
	for _, a := range answers {
		slowest = max(slowest, a.RTT)
		if !c.fits(a) {
			wrong = append(wrong, fmt.Sprintf("%s, but: %s %s", c.fate, a.Fate(), a.Error))
		}
		if a.Fate() != harness.Answered {
			continue
		}
		counts[a.Local.Addr()]++
		sources[a.Source.Addr().String()] = true
		if !slices.Contains(c.sources, a.Source.Addr()) {
			wrong = append(wrong, fmt.Sprintf("source %s", c.sources))
		}
	}
	if c.fate != harness.Answered {
		return fmt.Sprintf("%s, slowest %s", answers[len(answers)-1].Fate(), slowest.Round(time.Millisecond)), wrong
	}
	var reached []string
	for _, e := range c.reaches {
		n := counts[e.addr]
		delete(counts, e.addr)
		if n > 0 {
			reached = append(reached, fmt.Sprintf("%s %d", e.name, n))
		}
		mean := float64(c.count) / float64(len(c.reaches))
		switch {
		case n == 0 && !c.one:
			wrong = append(wrong, e.name+" reached")
		case c.shares && math.Abs(float64(n)-mean) > 5*math.Sqrt(mean*(1-1/float64(len(c.reaches)))): // more than chance does
			wrong = append(wrong, fmt.Sprintf("about %.0f connections to %s", mean, e.name))
		}
	}
	for addr := range counts {
		wrong = append(wrong, "nobody reached at "+addr.String())
	}
	if c.one && len(reached) != 1 {
		wrong = append(wrong, "one endpoint")
	}
	return fmt.Sprintf("%s; source %s; slowest %s", strings.Join(reached, ", "),
		strings.Join(slices.Sorted(maps.Keys(sources)), ", "), slowest.Round(time.Millisecond)), wrong
}
