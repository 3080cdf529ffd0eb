// Package e2e holds the stories that Causeway must get through on a simulated
// VPC: the real daemon and the real plugin, called by the real runtime library,
// under kills, faults of EC2 and meddling hands. No story passes if a program
// panicked, reported a data race or did not end well.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// programs under test, with the race detector.
var programs harness.Binaries

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "causeway-e2e-")
	if err == nil {
		defer os.RemoveAll(dir)
		programs, err = harness.Build(context.Background(), dir, true)
	}
	if err == nil {
		// By default a program with the race detector lingers a second at its end.
		err = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// story is a test with a simulator of its own.
type story struct {
	*testing.T
	lab *harness.Lab
	ctx context.Context
	dir string
}

// small is one node of a type with 3 ENIs of 3 pod addresses each.
const small = `
nodes: [{name: n1, subnet: a, type: t3.small}]
`

// raise begins a story on a simulator with this topology. At its end, also
// when it failed, the daemons must end well and the simulator is taken down.
func raise(t *testing.T, topology string) *story {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	t.Cleanup(cancel)
	name := fmt.Sprintf("e%d%s", os.Getpid(), strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(t.Name(), "Test")), "/", "_"))
	s := &story{T: t, ctx: ctx, dir: t.TempDir()}
	lab, err := harness.Up(ctx, programs, name[:min(len(name), 32)], s.dir, topology)
	if err != nil {
		t.Fatal(err)
	}
	s.lab = lab
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
		s.checkLogs()
	})
	return s
}

var crashed = regexp.MustCompile(`(?m)^(WARNING: DATA RACE|panic: |fatal error: ).*`)

// checkLogs looks for crashes and races in every log, and shows the logs of a
// story that failed.
func (s *story) checkLogs() {
	logs, err := filepath.Glob(filepath.Join(s.dir, "*", "ipamd-*.log"))
	if err != nil {
		s.Error(err)
	}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		if err != nil {
			s.Error(err)
		}
		if crashed.Match(text) {
			s.Errorf("%s:\n%s", path, text)
		}
	}
	if s.Failed() && len(logs) > 0 {
		slices.Sort(logs)
		for _, path := range logs[max(0, len(logs)-3):] {
			text, _ := os.ReadFile(path)
			s.Logf("end of %s:\n%s", filepath.Base(path), text[max(0, len(text)-6000):])
		}
	}
}

func (s *story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// within polls until try succeeds.
func (s *story) within(limit time.Duration, try func() error) {
	s.Helper()
	if err := s.poll(limit, try); err != nil {
		s.Fatalf("not within %s: %v", limit, err)
	}
}

func (s *story) poll(limit time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(s.ctx, limit)
	defer cancel()
	return harness.Poll(ctx, try)
}

// start starts ipamd on a node and waits until it can add pods.
func (s *story) start(name string, env ...string) *harness.Node {
	s.Helper()
	node := s.lab.Node(name)
	_, err := node.StartIpamd(env...)
	s.must(err)
	s.must(node.AwaitReady(s.ctx))
	return node
}

// restart stops ipamd and starts it again.
func (s *story) restart(node *harness.Node, env ...string) {
	s.Helper()
	s.must(node.Daemon().Stop())
	s.start(node.Name, env...)
}

// add adds a pod that serves.
func (s *story) add(node *harness.Node, name string) *harness.Pod {
	s.Helper()
	p, err := node.AddPod(s.ctx, name)
	s.must(err)
	s.must(p.Serve(s.ctx))
	return p
}

// addUntil adds pods until one of them is on the device, and returns all.
func (s *story) addUntil(node *harness.Node, device int) []*harness.Pod {
	s.Helper()
	var pods []*harness.Pod
	for len(pods) == 0 || pods[len(pods)-1].Device != device {
		pods = append(pods, s.add(node, fmt.Sprintf("pod%d", len(pods)+1)))
	}
	return pods
}

// shell runs a command line on a node.
func (s *story) shell(node *harness.Node, line string) string {
	s.Helper()
	out, err := node.Exec(s.ctx, "sh", "-c", line)
	s.must(err)
	return out
}

// reach proves that pods answer their node.
func (s *story) reach(pods ...*harness.Pod) {
	s.Helper()
	for _, p := range pods {
		if err := answers(s.ctx, p); err != nil {
			s.Error(err)
		}
	}
}

func answers(ctx context.Context, p *harness.Pod) error {
	if _, err := p.Node.Probe(ctx, "tcp", p.Address(), 1); err != nil {
		return fmt.Errorf("pod %s (%s) does not answer its node: %w", p.Name, p.IP, err)
	}
	return nil
}

// faults puts rules in force, written as in a topology file.
func (s *story) faults(rules string) {
	s.Helper()
	parsed, err := control.ParseRules([]byte(rules))
	s.must(err)
	_, err = s.lab.Control.AddFaults(s.ctx, parsed...)
	s.must(err)
}
