package kubernetes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// Options of a cluster.
type Options struct {
	Name string // of the simulator, and of all that is made; see vpcsim --name
	Dir  string // its own folder, which Close removes
	// Nodes is how many nodes join at once, at least one; Spare, how many more
	// instances there are, for Join.
	Nodes, Spare int
	ProxyMode    string // PROXY_MODE of Causeway; empty for its default
	// Race has Causeway built with the race detector, and Races tell what it found.
	Race bool
	// Say is told what is done, a line each.
	Say func(string)
}

// Cluster is a running cluster.
type Cluster struct {
	Control *control.Client // of the VPC
	Nodes   []*Node         // those that have joined come first

	name, dir string
	options   Options
	tools     cluster.Tools
	bins      harness.Binaries
	authority *authority
	args      map[string][]string // of the control plane's programs
	relay     *relay

	mu       sync.Mutex
	plane    map[string]*cluster.Process
	starts   map[string]int     // of logs, by program and place
	programs []*cluster.Process // all that were started
}

// Up raises a cluster, and waits until its nodes are ready and DNS serves. What
// a killed cluster of the same name has left is removed first.
func Up(ctx context.Context, o Options) (*Cluster, error) {
	if o.Nodes < 1 || o.Spare < 0 || o.Nodes+o.Spare > maxNodes {
		return nil, fmt.Errorf("%d nodes and %d spare ones: want at least 1 node, and at most %d of both", o.Nodes, o.Spare, maxNodes)
	}
	c := &Cluster{name: o.Name, dir: o.Dir, options: o, args: map[string][]string{}, plane: map[string]*cluster.Process{}, starts: map[string]int{}}
	if err := c.up(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) up(ctx context.Context) error {
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"programs and images", c.build},
		{"the VPC", c.raiseVPC},
		{"the control plane", c.raisePlane},
		{"nodes, Causeway and DNS", c.raiseNodes},
		{"the load balancer controller", c.startBalancers},
	} {
		start := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("making %s: %w", step.what, err)
		}
		c.options.Say(fmt.Sprintf("%5.1fs  %s", time.Since(start).Seconds(), step.what))
	}
	return nil
}

func (c *Cluster) build(ctx context.Context) (err error) {
	if c.tools, err = cluster.BuildAll(ctx, c.options.Say); err != nil {
		return err
	}
	bin := filepath.Join(c.dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return err
	}
	return c.buildImages(ctx, bin)
}

// raiseVPC starts the simulator, in place of what is left of one.
func (c *Cluster) raiseVPC(ctx context.Context) error {
	if err := removeGroups(c.name); err != nil {
		return err
	}
	file := filepath.Join(c.dir, "topology.yaml")
	if err := os.WriteFile(file, []byte(topology(c.options.Nodes+c.options.Spare)), 0o600); err != nil {
		return err
	}
	if _, err := run(ctx, c.bins.Vpcsim, "up", "--name", c.name, "-f", file); err != nil {
		return err
	}
	c.Control = control.Dial(filepath.Join("/run/vpcsim", c.name, "control.sock"))
	return c.findNodes(ctx)
}

func (c *Cluster) raisePlane(ctx context.Context) (err error) {
	if c.relay, err = startRelay(c.Netns(planeNode), apiPort); err != nil {
		return err
	}
	return c.startPlane(ctx)
}

func (c *Cluster) raiseNodes(ctx context.Context) error {
	tasks, inTasks := errgroup.WithContext(ctx)
	for _, n := range c.Nodes[:c.options.Nodes] {
		tasks.Go(func() error { return n.Start(inTasks) })
	}
	tasks.Go(func() error { return c.Upgrade(inTasks) })
	tasks.Go(func() error { return c.installDNS(inTasks) })
	if err := tasks.Wait(); err != nil {
		return err
	}
	for _, n := range c.Nodes[:c.options.Nodes] {
		if err := n.AwaitReady(ctx); err != nil {
			return err
		}
	}
	for _, rollout := range []string{"daemonset/causeway", "deployment/coredns"} {
		if _, err := c.Kubectl(ctx, "-n", "kube-system", "rollout", "status", rollout, "--timeout=2m"); err != nil {
			return errors.Join(err, c.Explain(ctx))
		}
	}
	return nil
}

// Explain is what is known of a cluster in which something failed.
func (c *Cluster) Explain(ctx context.Context) error {
	pods, _ := c.Kubectl(ctx, "get", "pods,nodes", "-A", "-o", "wide")
	events, _ := c.Kubectl(ctx, "get", "events", "-A")
	logs, _ := c.Kubectl(ctx, "-n", "kube-system", "logs", "-l", "app.kubernetes.io/name=causeway", "--all-containers", "--prefix", "--tail=20")
	c.mu.Lock()
	defer c.mu.Unlock()
	var ended strings.Builder
	for _, p := range c.programs {
		if p.Ended() {
			fmt.Fprintf(&ended, "%s:\n%s\n", filepath.Base(p.Log), p.Tail())
		}
	}
	return fmt.Errorf("pods and nodes:\n%s\nevents:\n%s\nCauseway says:\n%s\nprograms that ended:\n%s", pods, events, logs, &ended)
}

// Kubeconfig is the path of the file by which the machine's users reach the
// cluster.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.dir, "kubeconfig") }

// KubectlPath is the program.
func (c *Cluster) KubectlPath() string { return c.tools.Path("kubectl") }

// VpcsimPath is the simulator's program, which has probes.
func (c *Cluster) VpcsimPath() string { return c.bins.Vpcsim }

// Kubectl runs kubectl on the machine, as users do, and returns what it says.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return run(ctx, c.KubectlPath(), append([]string{"--kubeconfig", c.Kubeconfig()}, args...)...)
}

// Apply makes objects what manifests say.
func (c *Cluster) Apply(ctx context.Context, manifests string) error {
	cmd := exec.CommandContext(ctx, c.KubectlPath(), "--kubeconfig", c.Kubeconfig(), "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(manifests)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("applying manifests: %w\n%s", err, out)
	}
	return nil
}

// start starts a program in a place of the VPC.
func (c *Cluster) start(place, name string, env []string, command ...string) (*cluster.Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := name + "-" + place
	c.starts[id]++
	log := filepath.Join(c.dir, fmt.Sprintf("%s-%d.log", id, c.starts[id]))
	p, err := cluster.Launch(name, log, env, append([]string{c.bins.Vpcsim, "exec", "--name", c.name, place, "--"}, command...)...)
	if err == nil {
		c.programs = append(c.programs, p)
	}
	return p, err
}

// startBalancers starts the controller that gives services and ingresses load
// balancers, on the machine: as on EKS, it is none of the cluster's nodes'.
func (c *Cluster) startBalancers(context.Context) error {
	p, err := cluster.Launch("controller", filepath.Join(c.dir, "controller.log"), nil,
		filepath.Join(c.dir, "bin", controller), "-name", c.name, "-kubeconfig", c.Kubeconfig(), "-addresses")
	if err == nil {
		c.programs = append(c.programs, p)
	}
	return err
}

// Netns is the path of the network namespace of a place of the VPC that is no
// node: internet or peer.
func (c *Cluster) Netns(place string) string { return "/run/netns/" + c.name + "-" + place }

// Close ends everything and removes it.
func (c *Cluster) Close() error {
	if c.relay != nil {
		c.relay.close()
	}
	// All at once and by force: nothing of it is to last.
	var ends sync.WaitGroup
	for _, p := range c.programs {
		if !p.Ended() {
			ends.Go(func() { _ = p.Kill() }) // it may have ended meanwhile
		}
	}
	ends.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return Clean(ctx, c.bins.Vpcsim, c.name, c.dir)
}

func run(ctx context.Context, name string, args ...string) (string, error) {
	var out, complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, complaint.String()+out.String())
	}
	return out.String(), nil
}
