package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/daemon"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
)

// program is the vpcsim program under test, built by TestMain.
var program string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "vpcsim-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "vpcsim")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building vpcsim: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// sim is a running simulator under test.
type sim struct {
	*testing.T
	name  string
	state daemon.State
	*control.Client
}

// raise starts a simulator, which goes with the test.
func raise(t *testing.T, suffix, topology string) *sim {
	t.Helper()
	name := fmt.Sprintf("vt%d%s", os.Getpid(), suffix)
	state, err := daemon.StateOf(name)
	if err != nil {
		t.Fatal(err)
	}
	s := &sim{t, name, state, control.Dial(state.Socket())}
	t.Cleanup(func() {
		if err := daemon.Down(context.Background(), state); err != nil {
			t.Errorf("taking %s down: %v", name, err)
		}
	})
	s.up(topology)
	return s
}

func (s *sim) up(topology string) {
	s.Helper()
	file := filepath.Join(s.TempDir(), "topology.yaml")
	if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
		s.Fatal(err)
	}
	s.must("up", "-f", file)
}

// run runs a vpcsim command and returns output and exit code.
func (s *sim) run(args ...string) (string, int) {
	s.Helper()
	cmd := exec.CommandContext(s.Context(), program, append([]string{"--name", s.name}, args...)...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (s *sim) must(args ...string) string {
	s.Helper()
	out, code := s.run(args...)
	if code != 0 {
		s.Fatalf("vpcsim %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// shell runs a script in a node, or in another place.
func (s *sim) shell(place, script string) string {
	s.Helper()
	return s.must("exec", place, "--", "bash", "-euc", script)
}

func (s *sim) status() status {
	s.Helper()
	var st status
	if err := json.Unmarshal([]byte(s.must("status", "--json")), &st); err != nil {
		s.Fatal(err)
	}
	return st
}

// probe asks an echo server and returns what both ends saw.
func (s *sim) probe(place, proto, target string) echo.Result {
	s.Helper()
	var res echo.Result
	out := s.must("exec", place, "--", program, "probe", proto, target, "--json", "--timeout", "1s")
	if err := json.Unmarshal([]byte(out), &res); err != nil {
		s.Fatalf("%v in %q", err, out)
	}
	return res
}

// httpFrom is an HTTP client whose connections begin in a place.
func (s *sim) httpFrom(place string) *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = namespace.Do(s.name+"-"+place, func() (err error) {
				conn, err = new(net.Dialer).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}
}

// eventually polls until ok says so.
func (s *sim) eventually(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	s.Fatalf("not within 10 s: %s", what)
}

// remains lists what there is of a simulator on the machine.
func remains(t *testing.T, name string) (found []string) {
	t.Helper()
	spaces, err := namespace.Names(name + "-")
	if err != nil {
		t.Fatal(err)
	}
	found = append(found, spaces...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, name) {
			found = append(found, "mount "+strings.TrimSpace(line))
		}
	}
	if _, err := os.Stat("/run/vpcsim/" + name); err == nil {
		found = append(found, "folder /run/vpcsim/"+name)
	}
	commands, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		words, err := os.ReadFile(c)
		if err == nil && bytes.Contains(words, []byte(name)) {
			found = append(found, "process "+string(bytes.ReplaceAll(words, []byte{0}, []byte{' '})))
		}
	}
	return found
}
