// Package harness raises a simulated VPC and runs the real programs on it:
// ipamd as a process of each node, the CNI plugin through the real runtime
// library, probes from pods. The demo, the end-to-end stories and the
// benchmarks are written with it.
//
// Everything that it starts ends with Lab.Close, also after a failure.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// Binaries are the paths of the programs under test.
type Binaries struct {
	Vpcsim, Ipamd, CNI string
}

// In names the binaries of a directory, as `make build` fills it.
func In(dir string) Binaries {
	return Binaries{Vpcsim: filepath.Join(dir, "vpcsim"), Ipamd: filepath.Join(dir, "ipamd"), CNI: filepath.Join(dir, "causeway-cni")}
}

// Build compiles the programs into dir, with the race detector if race.
func Build(ctx context.Context, dir string, race bool) (Binaries, error) {
	b := In(dir)
	for path, pkg := range map[string]string{b.Vpcsim: "scripts/vpcsim", b.Ipamd: "ipamd", b.CNI: "cni-plugin"} {
		args := []string{"build", "-o", path}
		if race && path != b.Vpcsim {
			args = append(args, "-race")
		}
		cmd := exec.CommandContext(ctx, "go", append(args, "github.com/causeway-cni/causeway/"+pkg)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return b, fmt.Errorf("building %s: %w\n%s", pkg, err, out)
		}
	}
	return b, nil
}

// Lab is one running simulator.
type Lab struct {
	Name    string
	Control *control.Client
	// ProxyMode is the PROXY_MODE of daemons; empty leaves it to their default.
	ProxyMode string
	bins      Binaries
	dir       string
	nodes     map[string]*Node
	marks     int                 // see Programmed
	nodePort  uint16              // the last one given to a service
	serving   atomic.Pointer[Pod] // the first pod that serves
}

// Up raises a simulator from a topology in YAML; an empty one is the default
// of two nodes. dir keeps logs and the runtime's cache.
func Up(ctx context.Context, bins Binaries, name, dir, topology string) (*Lab, error) {
	l := &Lab{Name: name, bins: bins, dir: dir, nodes: map[string]*Node{}, nodePort: firstNodePort}
	args := []string{"up", "--name", name}
	if topology != "" {
		file := filepath.Join(dir, "topology.yaml")
		if err := os.WriteFile(file, []byte(topology), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "-f", file)
	}
	if _, err := run(ctx, bins.Vpcsim, args...); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.Control = control.Dial(filepath.Join("/run/vpcsim", name, "control.sock"))
	if err := l.findNodes(ctx); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func (l *Lab) findNodes(ctx context.Context) error {
	status, err := l.Control.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range status.Nodes {
		n := &Node{Name: s.Name, lab: l, dir: filepath.Join(l.dir, s.Name)}
		if err := n.prepare(); err != nil {
			return err
		}
		l.nodes[s.Name] = n
	}
	return nil
}

// Node returns a node by its name in the topology.
func (l *Lab) Node(name string) *Node { return l.nodes[name] }

// Close ends all daemons and takes the simulator down.
func (l *Lab) Close() error {
	var failed []error
	for _, n := range l.nodes {
		if n.daemon != nil {
			failed = append(failed, n.daemon.Stop())
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := run(ctx, l.bins.Vpcsim, "down", "--name", l.Name)
	return errors.Join(append(failed, err)...)
}

// Exec runs a command in a node, or in "internet", "peer" or "router".
func (l *Lab) Exec(ctx context.Context, where string, command ...string) (string, error) {
	return run(ctx, l.bins.Vpcsim, append([]string{"exec", "--name", l.Name, where, "--"}, command...)...)
}

// SourceCheckDrops counts the packets that left by an ENI that does not own
// their source.
func (l *Lab) SourceCheckDrops(ctx context.Context) (uint64, error) {
	drops, err := l.Control.Drops(ctx)
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, d := range drops {
		sum += d.Packets
	}
	return sum, nil
}

// Port is where serving pods and nodes, and the internet and the peered VPC,
// answer.
const Port = 7

func run(ctx context.Context, name string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, complaint.String()+out.String())
	}
	return out.String(), nil
}
