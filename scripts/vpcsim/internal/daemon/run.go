package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/admin"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/imds"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/lb"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/node"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/simulator"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Main is the life of the daemon. It returns when it is told to end or cannot
// go on, and leaves the namespaces to Down, which the one who ends it runs.
func Main(s State) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	for _, fd := range []int{readyFD, lockFD} {
		unix.CloseOnExec(fd) // not for nodes
	}
	ready := os.NewFile(readyFD, "ready")
	d, err := newDaemon(s)
	if err == nil {
		err = d.start(ctx)
	}
	if err != nil {
		fmt.Fprintln(ready, err)
		return errors.Join(err, ready.Close())
	}
	if _, err := ready.WriteString(readyWord); err != nil {
		return fmt.Errorf("reporting that the simulator is ready: %w", err)
	}
	if err := ready.Close(); err != nil {
		return fmt.Errorf("reporting that the simulator is ready: %w", err)
	}
	d.log.Info("ready", "seed", d.sim.Model.Seed())
	return d.serve(ctx)
}

type daemon struct {
	state  State
	log    *slog.Logger
	sim    *simulator.Simulator
	fabric *fabric.Fabric
	lb     *lb.Balancers
	nodes  map[string]*node.Process
	tasks  []func(context.Context) error // what serve runs

	endpoint string          // of the Kubernetes API
	joined   map[string]bool // nodes that the Kubernetes API was told of
}

func newDaemon(s State) (*daemon, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("reading the topology: %w", err)
	}
	topo, err := topology.Parse(text)
	if err != nil {
		return nil, err
	}
	requests, err := os.OpenFile(s.RequestLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the request log: %w", err)
	}
	sim, err := simulator.New(topo, requests, log)
	if err != nil {
		return nil, err
	}
	f := fabric.New(s.Name, log)
	return &daemon{
		state: s, log: log, sim: sim, fabric: f, lb: lb.New(sim.Model, f, log),
		nodes: map[string]*node.Process{}, joined: map[string]bool{},
	}, nil
}

// start builds everything, up to the point where every node answers.
func (d *daemon) start(ctx context.Context) error {
	if err := d.fabric.Create(ctx); err != nil {
		return err
	}
	if err := d.writeKubeconfig(); err != nil {
		return err
	}
	for _, b := range d.sim.Model.Topology().LoadBalancers {
		if _, err := d.lb.Create(b); err != nil {
			return err
		}
	}
	if err := d.sync(ctx); err != nil {
		return err
	}
	for _, open := range []func(context.Context) error{d.openAPIs, d.openControl, d.openEchoes, d.reachNodes} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// openAPIs opens EC2, IMDS and Kubernetes where nodes reach them: in the router.
func (d *daemon) openAPIs(ctx context.Context) error {
	for _, api := range []struct {
		addr   netip.Addr
		server *http.Server
	}{
		{fabric.EC2Addr, &http.Server{Handler: d.sim.EC2}},
		{fabric.ControlPlane(d.sim.Model.View()), &http.Server{Handler: d.sim.Kubernetes}},
		{fabric.IMDSAddr, &http.Server{Handler: d.sim.IMDS, ConnContext: imds.ConnContext}},
		{fabric.IMDSAddr6, &http.Server{Handler: d.sim.IMDS, ConnContext: imds.ConnContext}},
	} {
		var l net.Listener
		err := d.fabric.In(fabric.Router, func() (err error) {
			l, err = new(net.ListenConfig).Listen(ctx, "tcp", netip.AddrPortFrom(api.addr, 80).String())
			return err
		})
		if err != nil {
			return fmt.Errorf("opening an API at %s: %w", api.addr, err)
		}
		d.serveHTTP(api.server, l)
	}
	return nil
}

func (d *daemon) openControl(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "unix", d.state.Socket())
	if err != nil {
		return fmt.Errorf("opening the control socket: %w", err)
	}
	d.serveHTTP(&http.Server{Handler: d.sim.Admin(admin.Fabric{
		Drops: d.drops, Node: d.place, Balancers: d.lb, ClusterEndpoint: d.endpoint,
	})}, l)
	return nil
}

func (d *daemon) serveHTTP(s *http.Server, l net.Listener) {
	s.ErrorLog = slog.NewLogLogger(d.log.Handler(), slog.LevelDebug)
	d.tasks = append(d.tasks, func(ctx context.Context) error {
		stop := context.AfterFunc(ctx, func() { s.Close() })
		defer stop()
		if err := s.Serve(l); ctx.Err() == nil {
			return fmt.Errorf("serving %s: %w", l.Addr(), err)
		}
		return nil
	})
}

// echoPorts are what the hosts outside the VPC answer on.
var echoPorts = []string{":7", ":80"}

func (d *daemon) openEchoes(ctx context.Context) error {
	for _, place := range []string{fabric.Internet, fabric.Peer} {
		for _, port := range echoPorts {
			var sockets echo.Sockets
			err := d.fabric.In(place, func() (err error) {
				sockets, err = echo.Open(ctx, port)
				return err
			})
			if err != nil {
				return fmt.Errorf("opening the echo server in %s: %w", place, err)
			}
			d.tasks = append(d.tasks, func(ctx context.Context) error {
				return echo.Server{Host: place}.Serve(ctx, sockets)
			})
		}
	}
	return nil
}

// reachNodes waits until every node answers the router.
func (d *daemon) reachNodes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for _, i := range d.sim.Model.View().Interfaces {
		if i.DeviceIndex == 0 && i.NetworkCard == 0 {
			group.Go(func() error {
				if err := d.fabric.Ping(ctx, fabric.Router, i.Addresses[0]); err != nil {
					return fmt.Errorf("waiting for node %s: %w", i.Node, err)
				}
				return nil
			})
		}
	}
	return group.Wait()
}

func (d *daemon) serve(ctx context.Context) error {
	defer d.sim.Close()
	group, ctx := errgroup.WithContext(ctx)
	for _, task := range append(d.tasks, d.follow, d.lb.Run) {
		group.Go(func() error { return task(ctx) })
	}
	return group.Wait()
}

func (d *daemon) drops() ([]control.Drop, error) {
	drops, err := d.fabric.Drops(context.Background())
	if err != nil {
		return nil, err
	}
	out := make([]control.Drop, 0, len(drops))
	for _, p := range drops {
		out = append(out, control.Drop{Node: p.Node, ENI: p.ENI, Reason: string(p.Reason), Packets: p.Packets, Bytes: p.Bytes})
	}
	return out, nil
}

func (d *daemon) place(name string) (namespace string, env map[string]string) {
	return d.fabric.Space(name), NodeEnv(name, d.endpoint)
}

// NodeEnv is the environment that a program on a node needs and that a real
// instance gets from elsewhere: the EC2 endpoint by DNS, the node's Kubernetes
// name from the pod's specification, where the Kubernetes API is from the
// cluster's settings.
func NodeEnv(name, clusterEndpoint string) map[string]string {
	return map[string]string{
		"AWS_ENDPOINT_URL_EC2": "http://" + fabric.EC2Addr.String(),
		"CLUSTER_ENDPOINT":     clusterEndpoint,
		"KUBECONFIG":           NodeKubeconfig,
		"MY_NODE_NAME":         name,
	}
}
