// Package node makes simulated instances: a process that is pid 1 of its own
// mount, pid and uts namespaces inside a network namespace of the fabric.
// Whatever runs in a node descends from its pid 1 or was put beside it by
// Enter; killing pid 1 ends all of it.
//
// A node's /run, /etc, /opt, /var/lib and /var/log are its own: default paths
// of agents, runtimes and kubelets work, and nodes do not collide. All other
// directories are the machine's. Nothing is written outside the node's folder.
package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
)

// InitCommand is the hidden command of the vpcsim program under which it is
// pid 1 of a node; its arguments are the node's folder and host name.
const InitCommand = "node-init"

// Config describes a node to start.
type Config struct {
	Name    string   // host name
	Space   string   // network namespace, which exists
	Dir     string   // the node's folder, an absolute path
	Program string   // the vpcsim program, an absolute path
	Log     *os.File // for what pid 1 has to say
}

// Start starts a node and returns its pid 1 when everything is in place.
func Start(ctx context.Context, c Config) (*Process, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the folder of node %s: %w", c.Name, err)
	}
	ready, readyChild, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("starting node %s: %w", c.Name, err)
	}
	defer ready.Close()
	cmd := exec.Command(c.Program, InitCommand, c.Dir, c.Name)
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH")}
	cmd.Stdout, cmd.Stderr = c.Log, c.Log
	cmd.ExtraFiles = []*os.File{readyChild}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS,
		Setsid:     true,
	}
	err = namespace.Do(c.Space, cmd.Start)
	readyChild.Close()
	if err != nil {
		return nil, fmt.Errorf("starting node %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, cmd: cmd, done: make(chan struct{})}
	go p.wait()
	if err := awaitReady(ctx, ready); err != nil {
		p.Kill()
		return nil, fmt.Errorf("starting node %s: %w", c.Name, err)
	}
	return p, nil
}

// awaitReady reads what pid 1 says of itself: "ready", or what is wrong.
func awaitReady(ctx context.Context, ready *os.File) error {
	stop := context.AfterFunc(ctx, func() { ready.Close() })
	defer stop()
	said, err := io.ReadAll(ready)
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("waiting for pid 1: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("waiting for pid 1: %w", err)
	case string(said) != readyWord:
		return fmt.Errorf("pid 1 gave up: %s", strings.TrimSpace(string(said)))
	}
	return nil
}

// Process is the pid 1 of a running node.
type Process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{}
}

// PID is the node's pid 1 as the machine numbers it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the node has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the node and everything in it, and waits for that.
func (p *Process) Kill() {
	// It fails only when the process has ended already.
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *Process) wait() {
	// How it ended does not matter: a node that ended is a node that is gone.
	_ = p.cmd.Wait()
	close(p.done)
}

// Root is where the node's own version of a directory is kept on the machine,
// for those directories that Bound lists.
func Root(dir, path string) string { return filepath.Join(dir, "root", path) }
