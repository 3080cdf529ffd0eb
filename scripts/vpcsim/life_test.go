package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
)

// TestLife raises a simulator, refuses a second one of the name, and takes it
// down without a trace.
func TestLife(t *testing.T) {
	s := raise(t, "life", "")
	st := s.status()
	if len(st.Nodes) != 2 || st.Nodes[0].Namespace != s.name+"-n1" || st.Nodes[0].PID == 0 || st.Nodes[0].Env["AWS_ENDPOINT_URL_EC2"] != "http://169.254.171.1" {
		t.Errorf("status of nodes: %+v", st.Nodes)
	}
	for _, word := range []string{st.Nodes[0].InstanceID, st.Nodes[0].Address.String(), s.name + "-n1", strconv.Itoa(st.Nodes[0].PID)} {
		if out := s.must("status"); !strings.Contains(out, word) {
			t.Errorf("status does not show %s:\n%s", word, out)
		}
	}
	if out, code := s.run("up"); code != 1 || !strings.Contains(out, "is up already") {
		t.Errorf("second up: %d %s", code, out)
	}
	s.shell("n1", "(setsid sleep 1000 & ip netns add pod; ip netns exec pod sleep 1000) >/dev/null 2>&1 &")
	s.must("down")
	if left := remains(t, s.name); len(left) > 0 {
		t.Errorf("down leaves %q", left)
	}
	s.must("down")
	if out, code := s.run("status"); code != 1 || !strings.Contains(out, "is not up") {
		t.Errorf("status after down: %d %s", code, out)
	}
}

// TestKilled finds a simulator whose daemon was killed: down removes it, and
// so does up.
func TestKilled(t *testing.T) {
	s := raise(t, "kill", "")
	for range 2 {
		before := s.status().Nodes[0].PID
		killDaemon(t, s)
		if out := s.shell("n1", "hostname"); out != "n1\n" {
			t.Errorf("a node without its daemon says it is %q", out)
		}
		s.up("")
		if after := s.status().Nodes[0].PID; after == before {
			t.Errorf("up kept node %d of a killed simulator", before)
		}
	}
	killDaemon(t, s)
	s.must("down")
	if left := remains(t, s.name); len(left) > 0 {
		t.Errorf("down leaves %q", left)
	}
}

func killDaemon(t *testing.T, s *sim) {
	t.Helper()
	pid, err := s.state.DaemonPID()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.eventually("the daemon ends", func() bool { _, err := s.state.DaemonPID(); return err != nil })
}

// TestSideBySide runs two simulators with the same addresses. One ends without
// the other noticing.
func TestSideBySide(t *testing.T) {
	const topology = `{nodes: [{name: n1, subnet: a, address: 10.0.0.50}]}`
	one, two := raise(t, "one", topology), raise(t, "two", topology)
	for _, s := range []*sim{one, two} {
		if got := s.probe("n1", "tcp", "203.0.113.10:80").Client.Addr().String(); got != "10.0.0.50" {
			t.Errorf("%s: client is %s", s.name, got)
		}
	}
	if a, b := one.status().Nodes[0].InstanceID, two.status().Nodes[0].InstanceID; a == b {
		t.Errorf("both have instance %s", a)
	}
	pid := two.status().Nodes[0].PID
	one.must("down")
	if left := remains(t, one.name); len(left) > 0 {
		t.Errorf("down leaves %q", left)
	}
	two.probe("n1", "udp", "172.31.0.10:7")
	if now := two.status().Nodes[0].PID; now != pid {
		t.Errorf("the other simulator's node changed from %d to %d", pid, now)
	}
}

// TestBadInput refuses with what is wrong, and leaves nothing.
func TestBadInput(t *testing.T) {
	s := &sim{T: t, name: "vt" + strconv.Itoa(os.Getpid()) + "bad"}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"up", "-f", "/nonexistent.yaml"}, "/nonexistent.yaml"},
		{[]string{"--name", "a-b", "up"}, `simulator name "a-b"`},
		{[]string{"exec", "n1", "true"}, `no node "n1"`},
		{[]string{"egress", "a", "vpn"}, "igw, nat, none"},
		{[]string{"fault", "add"}, "no rule given"},
		{[]string{"nonsense"}, "unknown command"},
	} {
		if out, code := s.run(c.args...); code != 1 || !strings.Contains(out, c.want) {
			t.Errorf("vpcsim %q: exit code %d, want 1 and %q in: %s", c.args, code, c.want, out)
		}
	}
	if left := remains(t, s.name); len(left) > 0 {
		t.Errorf("refusals leave %q", left)
	}
}

// TestStateNames accepts names that make clear namespace names.
func TestStateNames(t *testing.T) {
	var accepted []string
	names := []string{"vpcsim", "e2e_1", "a", "", "A", "1a", "a-b", "a/b", "..", strings.Repeat("a", 33)}
	for _, name := range names {
		if _, err := daemon.StateOf(name); err == nil {
			accepted = append(accepted, name)
		}
	}
	if want := names[:3]; !slices.Equal(accepted, want) {
		t.Errorf("accepted %q, want %q", accepted, want)
	}
}
