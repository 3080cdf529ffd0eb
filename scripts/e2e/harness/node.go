package harness

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// Node is one instance of the simulated VPC.
type Node struct {
	Name   string
	lab    *Lab
	dir    string
	cni    *libcni.CNIConfig
	list   *libcni.NetworkConfigList
	daemon *Daemon
	server *exec.Cmd
	starts int
}

// prepare gives the runtime library a plugin directory whose one program runs
// the real plugin inside the node.
func (n *Node) prepare() error {
	plugins := filepath.Join(n.dir, "plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s exec --name %s %s -- %s\n", n.lab.bins.Vpcsim, n.lab.Name, n.Name, n.lab.bins.CNI)
	if err := os.WriteFile(filepath.Join(plugins, "causeway-cni"), []byte(script), 0o755); err != nil {
		return err
	}
	list, err := libcni.NetworkConfFromBytes([]byte(config.Conflist))
	if err != nil {
		return err
	}
	n.list = list
	n.cni = libcni.NewCNIConfigWithCacheDir([]string{plugins}, filepath.Join(n.dir, "cache"), nil)
	return nil
}

// Exec runs a command on the node.
func (n *Node) Exec(ctx context.Context, command ...string) (string, error) {
	return n.lab.Exec(ctx, n.Name, command...)
}

// Status is what the simulator knows of the node.
func (n *Node) Status(ctx context.Context) (control.NodeStatus, error) {
	status, err := n.lab.Control.Status(ctx)
	if err != nil {
		return control.NodeStatus{}, err
	}
	for _, s := range status.Nodes {
		if s.Name == n.Name {
			return s, nil
		}
	}
	return control.NodeStatus{}, fmt.Errorf("the simulator has no node %s", n.Name)
}

// Probe asks an echo server from a process of the node.
func (n *Node) Probe(ctx context.Context, proto string, target netip.AddrPort, count int) ([]Answer, error) {
	return n.Prober().Probe(ctx, proto, target, count)
}

// Serve starts an echo server on the node, as kubelet's port would be.
func (n *Node) Serve(ctx context.Context) (err error) {
	n.server, err = n.Prober().serve(ctx)
	return err
}

// Daemon is an ipamd that runs on a node.
type Daemon struct {
	Log  string // path of its log
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// StartIpamd starts ipamd with further environment, and does not wait for it.
// The simulator adds where EC2 and the Kubernetes API are, and the node's name.
func (n *Node) StartIpamd(env ...string) (*Daemon, error) {
	return n.StartDaemon([]string{n.lab.bins.Ipamd}, env...)
}

// StartDaemon starts a command that becomes ipamd, in a container say.
func (n *Node) StartDaemon(command []string, env ...string) (*Daemon, error) {
	n.starts++
	d := &Daemon{Log: filepath.Join(n.dir, fmt.Sprintf("ipamd-%d.log", n.starts)), done: make(chan struct{})}
	log, err := os.Create(d.Log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	d.cmd = exec.Command(n.lab.bins.Vpcsim, append([]string{"exec", "--name", n.lab.Name, n.Name, "--"}, command...)...)
	d.cmd.Env = os.Environ()
	if n.lab.ProxyMode != "" {
		d.cmd.Env = append(d.cmd.Env, "PROXY_MODE="+n.lab.ProxyMode)
	}
	d.cmd.Env = append(d.cmd.Env, env...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting ipamd on %s: %w", n.Name, err)
	}
	go func() { d.err = d.cmd.Wait(); close(d.done) }()
	n.daemon = d
	return d, nil
}

// AwaitReady waits until the plugin's STATUS says that pods can be added.
func (n *Node) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return Poll(ctx, func() error {
		if n.daemon.Ended() {
			return fmt.Errorf("ipamd on %s ended (%v):\n%s", n.Name, n.daemon.err, n.daemon.Tail())
		}
		return n.CNIStatus(ctx)
	})
}

// CNIStatus runs the CNI STATUS.
func (n *Node) CNIStatus(ctx context.Context) error { return n.cni.GetStatusNetworkList(ctx, n.list) }

// GC runs the CNI GC with these pods as all that the runtime knows.
func (n *Node) GC(ctx context.Context, pods ...*Pod) error {
	args := &libcni.GCArgs{}
	for _, p := range pods {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: p.Name, IfName: "eth0"})
	}
	return n.cni.GCNetworkList(ctx, n.list, args)
}

// Kill ends the daemon as a crash would.
func (d *Daemon) Kill() error { return d.end(syscall.SIGKILL) }

// Stop ends the daemon as an operator would. A daemon that does not end well
// is an error; one that had ended before is not.
func (d *Daemon) Stop() error {
	if d.Ended() {
		return nil
	}
	if err := d.Terminate(); err != nil {
		return err
	}
	if d.err != nil {
		return fmt.Errorf("ipamd, told to end: %w:\n%s", d.err, d.Tail())
	}
	return nil
}

// Terminate asks the daemon to end, at whatever point of its start it is, and
// waits until it has; how it ended does not matter.
func (d *Daemon) Terminate() error { return d.end(syscall.SIGTERM) }

// Ended says whether the daemon is over.
func (d *Daemon) Ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

const endTimeout = 10 * time.Second

func (d *Daemon) end(signal syscall.Signal) error {
	if d.Ended() {
		return nil
	}
	if err := d.cmd.Process.Signal(signal); err != nil {
		return err
	}
	select {
	case <-d.done:
		return nil
	case <-time.After(endTimeout):
	}
	d.cmd.Process.Signal(syscall.SIGQUIT) // to see in its log what it hangs on
	select {
	case <-d.done:
	case <-time.After(endTimeout):
		d.cmd.Process.Kill()
	}
	return fmt.Errorf("ipamd did not end within %s of %s; see %s:\n%s", endTimeout, signal, d.Log, d.Tail())
}

// Wait waits for the daemon to end by itself and returns its exit error.
func (d *Daemon) Wait(ctx context.Context) error {
	select {
	case <-d.done:
		return d.err
	case <-ctx.Done():
		return fmt.Errorf("ipamd still runs: %w", ctx.Err())
	}
}

// Tail is the end of the daemon's log.
func (d *Daemon) Tail() string {
	text, err := os.ReadFile(d.Log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// Poll calls try until it succeeds or ctx ends, and then returns its last error.
func Poll(ctx context.Context, try func() error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Daemon is the ipamd that was started last.
func (n *Node) Daemon() *Daemon { return n.daemon }
