package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// maxNodes is as many as two subnets' address blocks and a machine bear.
const maxNodes = 20

// instanceType is of the nodes: 4 ENIs with 15 addresses, 58 pods.
const (
	instanceType = "m5.xlarge"
	maxPods      = 58
)

// topology is a VPC with the control plane's host and so many instances.
func topology(nodes int) string {
	var text strings.Builder
	fmt.Fprintf(&text, "nodes:\n- {name: %s, subnet: a, address: %s}\n", planeNode, planeAddr)
	for i := range nodes {
		fmt.Fprintf(&text, "- {name: n%d, subnet: %c, type: %s}\n", i+1, 'a'+rune(i%2), instanceType)
	}
	return text.String()
}

// Node is an instance that is a node, or can be one.
type Node struct {
	Name string     // of its Node object: its private DNS name, as on EKS
	Addr netip.Addr // its primary address
	// Labels are more of its Node object's, as NAME=VALUE, from its start on.
	Labels []string

	place      string // its name in the topology
	instance   string
	zone       string
	cluster    *Cluster
	containerd *cluster.Process
	kubelet    *cluster.Process
	ended      bool   // the instance is
	races      string // found before
}

func (c *Cluster) findNodes(ctx context.Context) error {
	status, err := c.Control.Status(ctx)
	if err != nil {
		return err
	}
	for _, s := range status.Nodes {
		if s.Name == planeNode {
			continue
		}
		addr := s.Interfaces[0].Addresses[0]
		name := fmt.Sprintf("ip-%s.%s.compute.internal", strings.ReplaceAll(addr.String(), ".", "-"), status.Region)
		c.Nodes = append(c.Nodes, &Node{Name: name, Addr: addr, place: s.Name, instance: s.InstanceID, zone: s.Zone, cluster: c})
	}
	return nil
}

// loopbackPlugin is the one that runtimes call for each sandbox, and that nodes
// of EKS bring along.
const loopbackPlugin = "/usr/lib/cni/loopback"

// Start makes a node of the instance, up to a kubelet that runs.
func (n *Node) Start(ctx context.Context) error {
	if err := n.shieldSysctls(ctx); err != nil {
		return err
	}
	if err := n.confine(ctx); err != nil {
		return err
	}
	if _, err := n.Exec(ctx, "cp", loopbackPlugin, "/opt/cni/bin/"); err != nil {
		return err
	}
	if err := n.writeConfigs(); err != nil {
		return err
	}
	if err := n.StartContainerd(ctx); err != nil {
		return err
	}
	if err := n.importImages(ctx); err != nil {
		return err
	}
	return n.StartKubelet()
}

// Exec runs a command on the node.
func (n *Node) Exec(ctx context.Context, command ...string) (string, error) {
	return run(ctx, n.cluster.bins.Vpcsim, append([]string{"exec", "--name", n.cluster.name, n.place, "--"}, command...)...)
}

// tunables are the sysctls of the whole machine that kubelet sets if they are
// not what it wants (k8s.io/component-helpers/node/util/sysctl).
var tunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// shieldSysctls lets kubelet find the tunables as it wants them: files in the
// node's view of the file system, over those of the machine.
func (n *Node) shieldSysctls(ctx context.Context) error {
	for name, value := range tunables {
		file := filepath.Join(n.cluster.dir, "sysctl-"+strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if _, err := n.Exec(ctx, "mount", "--bind", file, "/proc/sys/"+name); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) file(name string) string {
	return filepath.Join(n.cluster.dir, n.place+"-"+name)
}

// StartContainerd starts the runtime and waits until it answers.
func (n *Node) StartContainerd(ctx context.Context) (err error) {
	if n.containerd, err = n.cluster.start(n.place, "containerd", []string{raceOptions}, "containerd", "--config", n.file("containerd.toml")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = harness.Poll(ctx, func() error {
		if n.containerd.Ended() {
			cancel()
		}
		_, err := n.Exec(ctx, "ctr", "version")
		return err
	})
	if err != nil {
		return fmt.Errorf("containerd on %s does not answer: %w\n%s", n.place, err, n.containerd.Tail())
	}
	return nil
}

// StartKubelet starts kubelet, with the name and the labels that EKS gives.
func (n *Node) StartKubelet() (err error) {
	labels := append([]string{
		"topology.kubernetes.io/zone=" + n.zone, "topology.kubernetes.io/region=" + strings.TrimRight(n.zone, "abcdef"),
		"node.kubernetes.io/instance-type=" + instanceType,
	}, n.Labels...)
	n.kubelet, err = n.cluster.start(n.place, "kubelet", nil, n.cluster.tools.Path("kubelet"), "--config", n.file("kubelet.yaml"),
		"--kubeconfig", n.file("kubeconfig"), "--hostname-override", n.Name, "--node-ip", n.Addr.String(), "--node-labels", strings.Join(labels, ","))
	return err
}

// Races are what the race detector found in Causeway's programs on the node,
// until its end.
func (n *Node) Races(ctx context.Context) (string, error) {
	if n.ended {
		return n.races, nil
	}
	return n.Exec(ctx, "sh", "-c", "cat "+raceFiles+".* 2>/dev/null || true")
}

// Netns opens the network namespace of the pod that has an address, or of the
// node for its own: the path is good until the file is closed, whatever becomes
// of the pod.
func (n *Node) Netns(addr netip.Addr) (*os.File, error) {
	// One thread of the process that started the runtime is in the node.
	paths, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/root/run/netns/cni-*", n.containerd.PID()))
	if err != nil {
		return nil, err
	}
	for _, path := range append(paths, n.cluster.Netns(n.place)) {
		var addrs []net.Addr
		err := cluster.Within(path, func() (err error) { addrs, err = net.InterfaceAddrs(); return err })
		if err != nil {
			continue // of a pod that goes
		}
		if slices.ContainsFunc(addrs, func(a net.Addr) bool {
			prefix, err := netip.ParsePrefix(a.String())
			return err == nil && prefix.Addr() == addr
		}) {
			return os.Open(path)
		}
	}
	return nil, fmt.Errorf("no pod of %s has the address %s", n.Name, addr)
}

// Containerd is the runtime's process.
func (n *Node) Containerd() *cluster.Process { return n.containerd }

// Kubelet is the kubelet's process.
func (n *Node) Kubelet() *cluster.Process { return n.kubelet }

// Join makes a node of a spare instance, and waits until it is ready.
func (n *Node) Join(ctx context.Context) error {
	if err := n.Start(ctx); err != nil {
		return err
	}
	return n.AwaitReady(ctx)
}

// Terminate ends all that runs on the node, and then its instance.
func (n *Node) Terminate(ctx context.Context) (err error) {
	if n.races, err = n.Races(ctx); err != nil {
		return err
	}
	n.ended = true
	if _, err := n.Exec(ctx, "sh", "-c", "kill -9 -1"); err != nil { // all but the first process, which the simulator has
		return fmt.Errorf("ending what runs on %s: %w", n.place, err)
	}
	for _, p := range []*cluster.Process{n.kubelet, n.containerd} {
		if p == nil { // it was never started
			continue
		}
		if err := p.Stop(); err != nil {
			return err
		}
	}
	return n.cluster.Control.Terminate(ctx, n.place)
}

// Interfaces are the ENIs of the node's instance.
func (n *Node) Interfaces(ctx context.Context) ([]control.InterfaceStatus, error) {
	status, err := n.cluster.Control.Status(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range status.Nodes {
		if s.Name == n.place {
			return s.Interfaces, nil
		}
	}
	return nil, fmt.Errorf("the VPC has no instance %s", n.place)
}

// AwaitReady waits until the node is ready.
func (n *Node) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	err := harness.Poll(ctx, func() error {
		if n.kubelet.Ended() {
			cancel()
			return errors.New("kubelet ended")
		}
		_, err := n.cluster.Kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=20s", "node/"+n.Name)
		return err
	})
	if err != nil {
		return fmt.Errorf("node %s is not ready: %w\n%s\n%w", n.Name, err, n.kubelet.Tail(), n.cluster.Explain(context.WithoutCancel(ctx)))
	}
	return nil
}
