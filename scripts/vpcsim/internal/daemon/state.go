// Package daemon is the life of one simulated VPC: the background process that
// joins the simulator with the fabric and the nodes, the folder in which it
// leaves word of itself, and the taking away of all that it made.
//
// A daemon may be killed at any moment. Its namespaces and nodes then stay, as
// does the folder; Down, and the next Up of the same name, remove them.
package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// root is where simulators keep their folders.
const root = "/run/vpcsim"

// State is the folder of the simulator of one name.
type State struct {
	Name string
	Dir  string
}

// validName leaves the hyphen to the names of namespaces: <name>-<node>.
var validName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// StateOf returns the folder of a simulator, which need not exist.
func StateOf(name string) (State, error) {
	if !validName.MatchString(name) {
		return State{}, fmt.Errorf("simulator name %q: use a lower-case letter, then up to 31 lower-case letters, digits or underscores", name)
	}
	return State{name, filepath.Join(root, name)}, nil
}

// Socket is the unix socket of the admin API.
func (s State) Socket() string { return filepath.Join(s.Dir, "control.sock") }

// RequestLog has every EC2 and IMDS request as a line of JSON.
func (s State) RequestLog() string { return filepath.Join(s.Dir, "requests.jsonl") }

// Log is what the daemon and the nodes' first processes have to say.
func (s State) Log() string { return filepath.Join(s.Dir, "vpcsim.log") }

// Kubeconfig tells programs how to reach the Kubernetes API from inside the
// simulated world. Nodes have a copy of it at NodeKubeconfig.
func (s State) Kubeconfig() string { return filepath.Join(s.Dir, "kubeconfig") }

// NodeDir is the folder of a node.
func (s State) NodeDir(node string) string { return filepath.Join(s.Dir, "nodes", node) }

func (s State) daemonRecord() string          { return filepath.Join(s.Dir, "daemon.json") }
func (s State) nodeRecord(node string) string { return filepath.Join(s.NodeDir(node), "pid1.json") }

// record names a process so that another one with the same id, later, is not
// taken for it.
type record struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // clock ticks since boot, from /proc
}

// DaemonPID returns the daemon's process while it runs.
func (s State) DaemonPID() (int, error) {
	r, err := readRecord(s.daemonRecord())
	if err != nil {
		return 0, err
	}
	if !r.alive() {
		return 0, fmt.Errorf("the daemon of simulator %s has ended", s.Name)
	}
	return r.PID, nil
}

// NodePID returns the pid 1 of a node as the machine numbers it.
func (s State) NodePID(node string) (int, error) {
	r, err := readRecord(s.nodeRecord(node))
	if errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("simulator %s has no node %q: see `vpcsim status`", s.Name, node)
	}
	if err != nil {
		return 0, err
	}
	if !r.alive() {
		return 0, fmt.Errorf("node %s of simulator %s has ended", node, s.Name)
	}
	return r.PID, nil
}

func writeRecord(path string, pid int) error {
	start, err := startOf(pid)
	if err != nil {
		return fmt.Errorf("recording process %d: %w", pid, err)
	}
	data, err := json.Marshal(record{pid, start})
	if err != nil {
		return fmt.Errorf("recording process %d: %w", pid, err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("recording process %d: %w", pid, err)
	}
	return nil
}

func readRecord(path string) (record, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return record{}, fmt.Errorf("reading a process record: %w", err)
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("reading process record %s: %w", path, err)
	}
	return r, nil
}

// alive tells whether the recorded process still runs.
func (r record) alive() bool {
	start, err := startOf(r.PID)
	return err == nil && start == r.Start
}

// startOf returns when a process started: field 22 of /proc/PID/stat, counted
// behind the program's name, which may contain anything.
func startOf(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), " ")
	fields := strings.Fields(rest)
	const state, startTime = 0, 22 - 3 // the state is field 3
	if len(fields) <= startTime {
		return "", fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	if fields[state] == "Z" {
		return "", fmt.Errorf("process %d has ended", pid)
	}
	return fields[startTime], nil
}

// errBusy is that another process holds the lock.
var errBusy = errors.New("locked")

// lock takes the simulator's name for this process and those that inherit the
// file; it is free again when all have ended. The daemon holds it for life.
func (s State) lock() (*os.File, error) {
	for {
		switch err := os.MkdirAll(s.Dir, 0o755); {
		case errors.Is(err, os.ErrNotExist):
			continue // another command has just removed the folder that all share
		case err != nil:
			return nil, fmt.Errorf("creating the state folder: %w", err)
		}
		path := filepath.Join(s.Dir, "lock")
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
		if errors.Is(err, os.ErrNotExist) {
			continue // another command has just removed the folder
		}
		if err != nil {
			return nil, fmt.Errorf("opening the lock: %w", err)
		}
		if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			file.Close()
			return nil, fmt.Errorf("%w: %w", errBusy, err)
		}
		if sameFile(file, path) {
			return file, nil
		}
		file.Close() // locked a file that is no longer the lock
	}
}

func sameFile(file *os.File, path string) bool {
	a, errA := file.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
