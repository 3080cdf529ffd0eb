package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/budget"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/datapath"
	"github.com/causeway-cni/causeway/ipamd/internal/ec2"
	"github.com/causeway-cni/causeway/ipamd/internal/kube"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/server"
	"github.com/causeway-cni/causeway/ipamd/internal/telemetry"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/rpc"
)

// headroom is how many free addresses the pool holds beyond what is asked for,
// so that an ADD as a rule finds one.
const headroom = 2

// daemon is what outlives the moment: the faces that answer before the node is
// known, and the allocator once it is.
type daemon struct {
	config  config.Config
	log     *slog.Logger
	metrics *telemetry.Metrics
	causes  *causes
	cluster *cluster
	server  *server.Server
	rules   *proxy.Proxy
	off     *switches
	compare atomic.Pointer[comparer]
	service *serviceProxy // nil if services are another's
	cloud   atomic.Pointer[ec2.Cloud]
	book    atomic.Pointer[allocator.Allocator]
	// identified: the metadata service has said which instance this is.
	identified atomic.Bool
}

// run is the daemon until ctx ends. The socket and the health page answer at
// once; everything else follows when the metadata service has said which
// instance this is.
func run(ctx context.Context, c config.Config, log *slog.Logger) error {
	unlock, err := lock(ctx, config.StateDir, log)
	if err != nil {
		return ignoreCancel(ctx, err)
	}
	defer unlock()
	if err := checkHost(c.Host); err != nil {
		return err
	}
	if err := retractAfterBoot(c.Host.ConfDir, config.BookDir, log); err != nil {
		return err
	}
	d := &daemon{config: c, log: log, rules: newRules(c), cluster: &cluster{}, off: newSwitches(c.Daemon.Switches, log)}
	d.metrics = telemetry.New(rpc.Version, d.snapshot)
	d.causes = newCauses(log, d.metrics)
	answers := server.Settings{PodMTU: c.Network.PodMTU, VethPrefix: c.Network.VethPrefix, Refused: d.causes.pod, Starting: d.starting, Log: log}
	if c.Proxy.Mode != config.ProxyOff {
		if d.service, err = newServiceProxy(proxyConfig{
			Proxy: c.Proxy, Kube: c.Kube, Conntrack: c.Conntrack, NodeName: "MY_NODE_NAME",
			PodLinks: c.Network.VethPrefix, SyncPeriod: syncPeriod, Expected: settingsFile(), NAT: true, Writable: c.Host.Writable, ENIConfigs: c.Pool.CustomNetwork,
		}, d.rules, d.metrics, log); err != nil {
			return err
		}
		answers.HostPorts = true
		answers.Publish = func(ctx context.Context, _ pool.Assignment) error { return d.service.services.Await(ctx) }
	}
	d.server = server.New(answers, d.metrics)
	listener, err := server.Listen(config.Socket)
	if err != nil {
		return err
	}
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return d.server.Run(ctx, listener) })
	tasks.Go(func() error {
		return serveHTTP(ctx, log, "CAUSEWAY_METRICS_BIND_ADDRESS", c.Daemon.MetricsAddr, telemetry.Handler(d.metrics, d.ready, d.state))
	})
	if d.service == nil {
		yield := d.yieldLoop()
		tasks.Go(func() error { return yield.Run(ctx) })
	}
	api := d.kube()
	tasks.Go(func() error { return d.start(ctx, tasks, api) })
	if d.service != nil {
		for _, task := range d.service.tasks() {
			tasks.Go(func() error { return task(ctx) })
		}
	}
	if api != nil {
		d.causes.events(api, d.cluster)
		tasks.Go(func() error { return api.WriteEvents(ctx) })
		tasks.Go(func() error { return api.WatchNode(ctx, d.cluster) })
	}
	log.Info("ipamd started", "version", rpc.Version, "socket", config.Socket)
	err = tasks.Wait()
	log.Info("ipamd stopped; pods keep their network", "error", err)
	return err
}

// start learns which instance this is, and starts the loops.
func (d *daemon) start(ctx context.Context, tasks *errgroup.Group, api *kube.Client) error {
	identity, err := awaitIdentity(ctx, config.StateDir, d.log)
	if err != nil {
		return ignoreCancel(ctx, err)
	}
	d.identified.Store(true)
	cloud, err := ec2.New(ctx, ec2.Settings{
		Endpoint: d.config.EC2.Endpoint, HTTPTimeout: d.config.EC2.HTTPTimeout, ClusterName: d.config.EC2.ClusterName,
		ExtraTags: d.config.EC2.Tags, Recorder: recorder{d.metrics}, Log: d.log,
	}, identity)
	if err != nil {
		return fmt.Errorf("preparing the EC2 client: %w", err)
	}
	d.follow(ctx, tasks, cloud)
	takeTurns(ctx, cloud, api, d.log)
	d.cloud.Store(cloud)
	limits, err := awaitLimits(ctx, cloud, identity.InstanceType, d.log)
	if err != nil {
		return ignoreCancel(ctx, err)
	}
	if err := retire(config.BookDir, d.config, d.log); err != nil {
		return err
	}
	store, err := checkpoint.Open(config.BookDir)
	if err != nil {
		return err
	}
	handle, err := kernel.Open("")
	if err != nil {
		return err
	}
	handle.WriteSysctlsBelow(d.config.Host.Writable)
	rounds := &rounds{daemon: d, natWritten: make(chan struct{})}
	var named func(netip.Addr) bool
	if d.service != nil {
		named = d.service.services.Names
	}
	plan := poolSettings(d.config.Pool, d.config.EC2.ClusterName, limits, identity, d.log)
	if plan.Families, err = families(d.config.Network, limits, identity.InstanceType); err != nil {
		return err
	}
	book, err := allocator.New(allocator.Settings{Wait: d.config.Pool.AssignWait, Empty: d.metrics.NoAddress, Named: named,
		Pool: plan}, cloud, store, time.Now(), d.log, rounds.wakePool, rounds.wakeBook)
	if err != nil {
		return err
	}
	book.SetPlace(d.place())
	path := datapath.New(datapath.Settings{
		MTU: d.config.Network.MTU, VethPrefix: d.config.Network.VethPrefix,
		Mark: d.config.Network.NodePortSupport || !d.config.SNAT.External, MarkValue: d.config.Network.ConnectionMark,
		ExternalServices: d.config.Network.ExternalServices, Gone: func() { d.metrics.Release("sandbox gone") },
	}, book, handle, time.Now, d.log, func(c linux.Change) { d.metrics.DatapathChange(linux.Kind(c.Item), c.Op.String()) })
	if err := takeOver(d.config, store, path, d.log); err != nil {
		return err
	}
	comparer, err := newComparer(book, d.config.Network.VethPrefix, d.log, d.metrics.Difference)
	if err != nil {
		return err
	}
	d.compare.Store(comparer)
	vpc := newVPC(cloud, config.StateDir, d.log, rounds.wakeNAT)
	nat, err := newNAT(d.config, identity, d.rules, vpc, d.log, d.metrics.NATChanges)
	if err != nil {
		return err
	}
	d.book.Store(book)
	book.KeepAll(d.off.current().Keeps())
	if d.service != nil {
		d.service.book.Store(book)
	}
	d.server.Open(book)
	rounds.make(book, path, vpc, nat)
	rounds.followPods(d.cluster, book)
	rounds.add(loop.Settings{Name: "comparison", Resync: compareEvery, Pause: compareEvery, LongestPause: compareEvery}, comparer.Step)
	rounds.start(ctx, tasks)
	if sweep := d.sweepLoop(cloud, identity.InstanceID, api); sweep != nil {
		tasks.Go(func() error { return sweep.Run(ctx) })
	}
	return nil
}

// follow puts the switches in force before EC2 is called for the first time, and
// then as they change.
func (d *daemon) follow(ctx context.Context, tasks *errgroup.Group, cloud *ec2.Cloud) {
	d.off.apply = func(s budget.Switches) {
		cloud.Switch(s)
		if book := d.book.Load(); book != nil {
			book.KeepAll(s.Keeps())
		}
	}
	round := loop.New(loop.Settings{Name: "switches", Resync: switchesEvery, Pause: switchesEvery, LongestPause: switchesEvery},
		d.off.Step, d.log, d.metrics.StepFailed)
	_, _ = d.off.Step(ctx) // its first round says what is wrong
	tasks.Go(func() error { return round.Run(ctx) })
}

// kube is the client of the Kubernetes API; nil where the daemon was not told of
// one, which it only needs to serve services.
func (d *daemon) kube() *kube.Client {
	if d.service != nil {
		return d.service.kube
	}
	client, err := newKube(d.config.Kube, "", "MY_NODE_NAME", d.config.Pool.CustomNetwork, d.log)
	if err != nil {
		d.log.Info("pods are not planned for before they ask: the Kubernetes API is not known", "reason", err)
		return nil
	}
	return client
}

// poolSettings are what the pool plans by. A type that takes no prefixes gets
// single addresses, as with aws-node.
func poolSettings(c config.Pool, clusterName string, limits pool.Limits, identity ec2.Identity, log *slog.Logger) pool.Settings {
	target := func(n int) pool.Target { return pool.Target{Number: n, Set: n != config.Unset} }
	if c.Prefixes && !limits.Prefixes {
		log.Warn("ENABLE_PREFIX_DELEGATION has no effect: the instance type takes no prefixes", "type", identity.InstanceType)
	}
	return pool.Settings{
		Limits: limits, MaxENIs: c.MaxENIs, CoolDown: c.CoolDown, Headroom: headroom, Prefixes: c.Prefixes && limits.Prefixes,
		Targets: pool.Targets{
			WarmAddresses: c.WarmAddresses, MinimumAddresses: c.MinimumAddresses,
			WarmPrefixes: target(c.WarmPrefixes), WarmENIs: target(c.WarmENIs),
		},
		ReleaseAfter: c.ReleaseAfter, ManageUntagged: c.ManageUntagged, InstanceID: identity.InstanceID,
		Discovery: c.Discovery, ClusterName: clusterName,
	}
}

// place is where ENIs of pods are made.
func (d *daemon) place() *pool.Place {
	if !d.config.Pool.CustomNetwork {
		return nil
	}
	return d.cluster.place(d.config.Pool)
}

// cordoned says whether the node is to keep its ENIs as they are. Without word
// from the API it is not.
func (d *daemon) cordoned() bool {
	node := d.cluster.node()
	return node != nil && node.Unschedulable && !d.config.Pool.ManageCordoned
}

// starting is why there is no book yet.
func (d *daemon) starting() (rpc.Reason, string) {
	if !d.identified.Load() {
		return rpc.Reason_REASON_IMDS_LATE, "ipamd waits for the instance metadata service to say which instance this is; its log says what the service answers"
	}
	return rpc.Reason_REASON_STARTING, "ipamd is starting: it does not know the node's limits and ENIs yet; its log says what it waits for"
}

func (d *daemon) ready() error {
	book := d.book.Load()
	if book == nil {
		return errors.New("waiting for the instance metadata service")
	}
	return book.Ready()
}

func (d *daemon) state() any {
	state := struct {
		*allocator.Snapshot
		Switches    map[string]bool
		Differences []string
	}{Switches: d.off.current().ByName(), Differences: []string{}}
	for _, each := range d.compare.Load().differences() {
		state.Differences = append(state.Differences, each.String())
	}
	if book := d.book.Load(); book != nil {
		now := book.Snapshot()
		state.Snapshot = &now
	}
	return state
}

func (d *daemon) snapshot() telemetry.Snapshot {
	out := telemetry.Snapshot{DroppedEvents: d.causes.dropped(), Switches: d.off.current().ByName(), Differences: d.compare.Load().byKind()}
	book := d.book.Load()
	if book == nil {
		return out
	}
	s := book.Snapshot()
	out.MaxENIs, out.MaxAddresses, out.Waiting = s.Count.MaxENIs, s.Count.MaxAddresses, s.Waiting
	out.Total, out.Assigned, out.Cooling, out.Quarantined = s.Count.Total, s.Count.Assigned, s.Count.Cooling, s.Count.Quarantined
	for _, e := range s.ENIs {
		out.ENIs = append(out.ENIs, telemetry.ENI{ID: string(e.ID), Device: e.Device, Total: s.Count.TotalByENI[e.ID],
			Assigned: s.Count.AssignedByENI[e.ID], Ready: s.Count.ReadyENIs[e.ID]})
	}
	for _, b := range d.cloud.Load().Budget() {
		out.Budgets = append(out.Budgets, telemetry.Budget{Action: b.Action, Rate: b.Rate, Ceiling: b.Ceiling, Wait: max(0, time.Until(b.Next))})
	}
	return out
}

// recorder passes EC2 calls on to the metrics.
type recorder struct{ metrics *telemetry.Metrics }

// Call counts one call.
func (r recorder) Call(operation, code string, took time.Duration) {
	r.metrics.EC2Call(operation, code, took)
}

func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
