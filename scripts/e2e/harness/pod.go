package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	IPs    []netip.Addr // IP, and with dual stack the IPv6 address
	Result *current.Result
	ENI    string // id of the ENI that owns the address
	Device int    // of that ENI
	// HostPorts are ports of the node that lead to the pod; set them before Add.
	HostPorts []HostPort
	server    *exec.Cmd
}

// HostPort is a port mapping as runtimes pass it to plugins.
type HostPort struct {
	HostPort      int    `json:"hostPort"`
	ContainerPort int    `json:"containerPort"`
	Protocol      string `json:"protocol"` // tcp, udp or sctp
	HostIP        string `json:"hostIP,omitempty"`
}

// Netns is the pod's namespace as the node sees it.
func (p *Pod) Netns() string { return "/run/netns/" + p.Name }

// Address is where the pod's echo server answers.
func (p *Pod) Address() netip.AddrPort { return netip.AddrPortFrom(p.IP, Port) }

func (p *Pod) runtimeConf() *libcni.RuntimeConf {
	conf := &libcni.RuntimeConf{ContainerID: p.Name, NetNS: p.Netns(), IfName: "eth0", Args: [][2]string{
		{"IgnoreUnknown", "1"}, {"K8S_POD_NAMESPACE", "default"}, {"K8S_POD_NAME", p.Name}, {"K8S_POD_UID", "uid-" + p.Name}}}
	if len(p.HostPorts) > 0 {
		conf.CapabilityArgs = map[string]any{"portMappings": p.HostPorts}
	}
	return conf
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
	if len(r.IPs) == 0 {
		return fmt.Errorf("pod %s: no address in the result", p.Name)
	}
	p.Result, p.IPs = r, nil
	for _, each := range r.IPs {
		ip, _ := netip.AddrFromSlice(each.Address.IP)
		p.IPs = append(p.IPs, ip.Unmap())
	}
	p.IP = p.IPs[0]
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
func (n *Node) AddPod(ctx context.Context, name string, ports ...HostPort) (*Pod, error) {
	p, err := n.NewSandbox(ctx, name)
	if err != nil {
		return nil, err
	}
	p.HostPorts = ports
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
		of := func(ip netip.Addr) bool {
			return slices.Contains(e.Addresses[1:], ip) ||
				slices.ContainsFunc(e.Prefixes, func(block netip.Prefix) bool { return block.Contains(ip) })
		}
		if !slices.ContainsFunc(p.IPs, func(ip netip.Addr) bool { return !of(ip) }) {
			p.ENI, p.Device = e.ID, e.DeviceIndex
			return nil
		}
	}
	return fmt.Errorf("pod %s has addresses %v, which no ENI of %s has for pods", p.Name, p.IPs, p.Node.Name)
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
	return p.Prober().Probe(ctx, proto, target, count)
}

// Serve starts an echo server in the pod.
func (p *Pod) Serve(ctx context.Context) (err error) {
	p.server, err = p.Prober().serve(ctx)
	if err == nil {
		p.Node.lab.serving.CompareAndSwap(nil, p)
	}
	return err
}

// serve starts an echo server and waits until it answers beside itself.
func (p Prober) serve(ctx context.Context) (*exec.Cmd, error) {
	server, err := p.start(p.lab.bins.Vpcsim, "echo", "--listen", fmt.Sprintf(":%d", Port))
	if err != nil {
		return nil, err
	}
	return server, p.await(ctx, Port)
}

// start starts a program that runs until it is ended.
func (p Prober) start(command ...string) (*exec.Cmd, error) {
	args := append([]string{"exec", "--name", p.lab.Name, p.where, "--"}, p.prefix...)
	server := exec.Command(p.lab.bins.Vpcsim, append(args, command...)...)
	if err := server.Start(); err != nil {
		return nil, fmt.Errorf("starting a server on %s: %w", p.where, err)
	}
	return server, nil
}

// await waits until a port answers from beside it.
func (p Prober) await(ctx context.Context, port uint16) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	self := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	return Poll(ctx, func() error {
		_, err := p.Probe(ctx, "tcp", self, 1)
		return err
	})
}

// Relay starts a TCP proxy in the pod, as an ingress controller's, that opens a
// connection of its own to another address for each that comes to the port. The
// returned func ends it.
func (p *Pod) Relay(ctx context.Context, port uint16, to netip.AddrPort) (end func(), err error) {
	server, err := p.Prober().start(p.Node.lab.bins.Vpcsim, "relay", "--listen", fmt.Sprintf(":%d", port), "--to", to.String())
	if err != nil {
		return nil, err
	}
	end = func() { _ = server.Process.Kill(); _ = server.Wait() } // it ends either way
	if err := p.Prober().await(ctx, port); err != nil {
		end()
		return nil, err
	}
	return end, nil
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
