package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// Pod is a sandbox on a node: a network namespace that the runtime library
// brought into the cluster's network.
type Pod struct {
	Name   string
	Node   *Node
	IP     netip.Addr
	Result *current.Result
	ENI    string // id of the ENI that owns the address
	Device int    // of that ENI
	server *exec.Cmd
}

// Netns is the pod's namespace as the node sees it.
func (p *Pod) Netns() string { return "/run/netns/" + p.Name }

// Address is where the pod's echo server answers.
func (p *Pod) Address() netip.AddrPort { return netip.AddrPortFrom(p.IP, Port) }

func (p *Pod) runtimeConf() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: p.Name, NetNS: p.Netns(), IfName: "eth0", Args: [][2]string{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", p.Name}, {"K8S_POD_UID", "uid-" + p.Name}}}
}

// NewSandbox makes the namespace of a pod, with its loopback up, as runtimes do.
func (n *Node) NewSandbox(ctx context.Context, name string) (*Pod, error) {
	p := &Pod{Name: name, Node: n}
	if _, err := n.Exec(ctx, "ip", "netns", "add", name); err != nil {
		return nil, err
	}
	_, err := p.Exec(ctx, "ip", "link", "set", "lo", "up")
	return p, err
}

// Add runs the CNI ADD for a sandbox.
func (p *Pod) Add(ctx context.Context) error {
	result, err := p.Node.cni.AddNetworkList(ctx, p.Node.list, p.runtimeConf())
	if err != nil {
		return err
	}
	return p.take(result)
}

func (p *Pod) take(result types.Result) error {
	r, err := current.NewResultFromResult(result)
	if err != nil {
		return err
	}
	if len(r.IPs) != 1 {
		return fmt.Errorf("pod %s: %d addresses in the result, want 1", p.Name, len(r.IPs))
	}
	p.Result = r
	ip, _ := netip.AddrFromSlice(r.IPs[0].Address.IP)
	p.IP = ip.Unmap()
	return nil
}

// Check runs the CNI CHECK.
func (p *Pod) Check(ctx context.Context) error {
	return p.Node.cni.CheckNetworkList(ctx, p.Node.list, p.runtimeConf())
}

// Del runs the CNI DEL and leaves the namespace.
func (p *Pod) Del(ctx context.Context) error {
	p.StopServing()
	return p.Node.cni.DelNetworkList(ctx, p.Node.list, p.runtimeConf())
}

// Remember makes the runtime hold a result of an ADD that another plugin made,
// in libcni's cache.
func (p *Pod) Remember(result string) error {
	text, err := json.Marshal(map[string]any{
		"kind": libcni.CNICacheV1, "containerId": p.Name, "ifName": "eth0", "networkName": p.Node.list.Name,
		"config": p.Node.list.Bytes, "result": json.RawMessage(result),
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(p.Node.dir, "cache", "results")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-eth0", p.Node.list.Name, p.Name)), text, 0o600)
}

// Remove deletes the namespace.
func (p *Pod) Remove(ctx context.Context) error {
	_, err := p.Node.Exec(ctx, "ip", "netns", "del", p.Name)
	return err
}

// AddPod makes a pod with its network, and finds out which ENI carries it.
func (n *Node) AddPod(ctx context.Context, name string) (*Pod, error) {
	p, err := n.NewSandbox(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := p.Add(ctx); err != nil {
		return nil, fmt.Errorf("adding pod %s on %s: %w", name, n.Name, err)
	}
	return p, p.findENI(ctx)
}

func (p *Pod) findENI(ctx context.Context) error {
	status, err := p.Node.Status(ctx)
	if err != nil {
		return err
	}
	for _, e := range status.Interfaces {
		for _, a := range e.Addresses[1:] {
			if a == p.IP {
				p.ENI, p.Device = e.ID, e.DeviceIndex
				return nil
			}
		}
	}
	return fmt.Errorf("pod %s has address %s, which no ENI of %s owns as a secondary address", p.Name, p.IP, p.Node.Name)
}

// Exec runs a command in the pod's network namespace.
func (p *Pod) Exec(ctx context.Context, command ...string) (string, error) {
	return p.Node.Exec(ctx, p.inside(command...)...)
}

func (p *Pod) inside(command ...string) []string {
	return append([]string{"ip", "netns", "exec", p.Name}, command...)
}

// Probe asks an echo server from the pod.
func (p *Pod) Probe(ctx context.Context, proto string, target netip.AddrPort, count int) ([]Answer, error) {
	return p.Node.lab.probe(ctx, p.Node.Name, p.inside(), proto, target, count)
}

// Serve starts an echo server in the pod.
func (p *Pod) Serve(ctx context.Context) (err error) {
	p.server, err = p.Node.lab.serve(ctx, p.Node.Name, p.inside())
	return err
}

// serve starts an echo server and waits until it answers beside itself.
func (l *Lab) serve(ctx context.Context, where string, prefix []string) (*exec.Cmd, error) {
	args := append([]string{"exec", "--name", l.Name, where, "--"}, prefix...)
	server := exec.Command(l.bins.Vpcsim, append(args, l.bins.Vpcsim, "echo", "--listen", fmt.Sprintf(":%d", Port))...)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("starting a server on %s: %w", where, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	self := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), Port)
	return server, Poll(ctx, func() error {
		_, err := l.probe(ctx, where, prefix, "tcp", self, 1)
		return err
	})
}

// StopServing ends the echo server, if there is one.
func (p *Pod) StopServing() {
	if p.server == nil {
		return
	}
	p.server.Process.Kill()
	p.server.Wait()
	p.server = nil
}
