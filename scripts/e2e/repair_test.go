package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// metrics are those of a node's daemon, one a line.
func (s *story) metrics(node *harness.Node) (string, error) {
	const get = `exec 3<>/dev/tcp/127.0.0.1/61678; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3`
	return node.Exec(s.ctx, "bash", "-c", get)
}

// shows waits until the metrics of a node have these samples.
func (s *story) shows(node *harness.Node, limit time.Duration, samples ...string) {
	s.Helper()
	s.within(limit, func() error {
		text, err := s.metrics(node)
		for _, sample := range samples {
			if err == nil && !containsLine(text, []string{sample}) {
				err = fmt.Errorf("the metrics have no %s", sample)
			}
		}
		return err
	})
}

// calls is how many requests of the EC2 API were made.
func (s *story) calls() int {
	s.Helper()
	counts, err := s.lab.Control.Calls(s.ctx)
	s.must(err)
	n := 0
	for _, c := range counts {
		if c.Service == "ec2" {
			n += c.Calls
		}
	}
	return n
}

// TestSwitches keeps what a node has, and then keeps it from calling EC2, while
// the daemon runs. A value that is none changes nothing.
func TestSwitches(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	dir := filepath.Join(s.dir, "switches")
	s.must(os.Mkdir(dir, 0o700))
	turn := func(name, value string) {
		s.Helper()
		s.must(os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600))
	}
	turn("stop-releasing", "true")
	node := s.start("n1", "CAUSEWAY_SWITCHES="+dir, "CAUSEWAY_RELEASE_AFTER=1s", "IP_COOLDOWN_PERIOD=1", "WARM_IP_TARGET=1", "CAUSEWAY_ASSIGN_WAIT=2s")
	pods := s.crowd(node, "pod", 4)
	s.holds(node, 2, 0, 5)
	for _, p := range pods[1:] {
		s.must(p.Del(s.ctx))
	}
	turn("stop-calling-ec2", "perhaps")
	s.within(10*time.Second, func() error {
		text, err := os.ReadFile(node.Daemon().Log)
		if err == nil && !strings.Contains(string(text), "perhaps") {
			err = fmt.Errorf("the log does not name the bad value")
		}
		return err
	})
	s.shows(node, 10*time.Second, `causeway_switch_on{switch="stop-releasing"} 1`, `causeway_switch_on{switch="stop-calling-ec2"} 0`)
	s.holds(node, 2, 0, 5) // the cool-down and the delay of releases are over

	turn("stop-calling-ec2", "true")
	s.shows(node, 10*time.Second, `causeway_switch_on{switch="stop-calling-ec2"} 1`)
	before := s.calls()
	s.reach(append(s.crowd(node, "free", 4), pods[0])...) // all that there is
	if refusal := s.refused(node, "more"); !strings.Contains(refusal.Msg, "stop-calling-ec2") {
		t.Errorf("ADD: %q, want the switch to be named", refusal.Msg)
	}
	if after := s.calls(); after != before {
		t.Errorf("%d calls of EC2 with the switch on", after-before)
	}

	s.must(os.RemoveAll(dir))
	s.reach(s.add(node, "late"))
	s.shows(node, 20*time.Second, "awscni_total_ip_addresses 7") // one to spare
	s.must(pods[0].Del(s.ctx))
	s.shows(node, 20*time.Second, "awscni_total_ip_addresses 6")
}
