// Package lb simulates Elastic Load Balancing in a fabric: network load
// balancers by the kernel's address translation, application load balancers by
// an HTTP proxy, and the health checks of both.
//
//	client ── router ── lb (translates) ── router ── ENI of the target
//
// All balancers live in one place of the fabric, where each has one address
// per availability zone, that of a requester-managed ENI. Packets of clients
// come there by routing. With the client's address kept, the target's reply is
// for the client; the router sends it back to the balancer because it remembers
// the flow, and the balancer gives it its own address.
//
// Balancers keeps what was asked for and the health of targets; it compiles
// both into one nftables script and loads that when it has changed. Sync must
// follow the fabric's, so that addresses exist. Run owns the time: it checks
// targets, and ends registration and draining.
//
// Simplifications: a round of checks is made from all of the balancer's
// addresses and passes if more than half of them do; a target is healthy after
// the healthy threshold, also the first time; what an unhealthy or deregistered
// target has of flows goes on until it is idle; a client that uses one port for
// two addresses of a balancer gets another port at the target, where AWS lets
// the flows collide. IPv4 only.
package lb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// Balancers are the load balancers of one simulated VPC. Its methods may be
// called from several goroutines.
type Balancers struct {
	model  *vpc.Model
	fabric *fabric.Fabric
	log    *slog.Logger
	wake   chan struct{} // something may be due

	mu   sync.Mutex
	all  map[string]*balancer
	view vpc.View // as last synced

	loading sync.Mutex // held while rules are compiled and loaded
	loaded  string
}

// balancer is one load balancer.
type balancer struct {
	spec    topology.LoadBalancer
	zones   []control.BalancerZone
	groups  []*group
	ready   bool                      // its addresses are in the fabric
	proxies map[netip.AddrPort]*proxy // of an ALB, by address
}

// group is a target group.
type group struct {
	topology.TargetGroup
	balancer *balancer
	used     bool // by a listener
	targets  []*target
}

// New returns the load balancers of a VPC, of which there are none yet.
func New(m *vpc.Model, f *fabric.Fabric, log *slog.Logger) *Balancers {
	return &Balancers{model: m, fabric: f, log: log, wake: make(chan struct{}, 1), all: map[string]*balancer{}}
}

// Create makes a balancer and its ENIs. It works after the next Sync, and
// sends packets once targets are healthy.
func (b *Balancers) Create(spec topology.LoadBalancer) (control.BalancerStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	topo := b.model.Topology()
	spec = spec.Complete(topo.SubnetNames())
	if err := topo.CheckBalancer(spec); err != nil {
		return control.BalancerStatus{}, fmt.Errorf("creating a load balancer: %w", err)
	}
	if b.all[spec.Name] != nil {
		return control.BalancerStatus{}, fmt.Errorf("creating a load balancer: name %q is taken: names are unique", spec.Name)
	}
	lb := &balancer{spec: spec, proxies: map[netip.AddrPort]*proxy{}}
	for _, g := range spec.TargetGroups {
		members := g.Targets
		g.Targets = nil
		one := &group{TargetGroup: g, balancer: lb, used: spec.Uses(g.Name)}
		for _, t := range members {
			b.add(one, t)
		}
		lb.groups = append(lb.groups, one)
	}
	if err := b.settle(lb); err != nil {
		b.unsettle(lb)
		return control.BalancerStatus{}, err
	}
	b.all[spec.Name] = lb
	b.log.Info("load balancer created", "name", spec.Name, "addresses", lb.addresses())
	return lb.status(), nil
}

// settle gives the balancer an address in each of its subnets.
func (b *Balancers) settle(lb *balancer) error {
	for _, name := range lb.spec.Subnets {
		e, err := b.model.AddBalancerInterface(lb.spec, name)
		if err != nil {
			return err
		}
		lb.zones = append(lb.zones, control.BalancerZone{
			Zone: e.Zone, Subnet: name, ENI: e.ID, Address: e.Primary, Public: e.Public[e.Primary],
		})
	}
	return nil
}

func (b *Balancers) unsettle(lb *balancer) {
	for _, z := range lb.zones {
		b.model.RemoveBalancerInterface(z.ENI)
	}
}

// Delete removes a balancer; its flows end.
func (b *Balancers) Delete(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	lb, err := b.find(name)
	if err != nil {
		return fmt.Errorf("deleting a load balancer: %w", err)
	}
	delete(b.all, name)
	var errs []error
	for _, p := range lb.proxies {
		errs = append(errs, p.close())
	}
	b.unsettle(lb)
	b.log.Info("load balancer deleted", "name", name)
	b.stir()
	return errors.Join(errs...)
}

// List returns the balancers, sorted by name.
func (b *Balancers) List() []control.BalancerStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := []control.BalancerStatus{}
	for _, lb := range b.sorted() {
		out = append(out, lb.status())
	}
	return out
}

// Run checks targets and keeps the rules as their health asks for, until ctx
// ends; then it closes what Sync has opened.
func (b *Balancers) Run(ctx context.Context) error {
	var checks sync.WaitGroup
	defer b.close()
	defer checks.Wait()
	for {
		due, next := b.step(time.Now())
		for _, c := range due {
			checks.Go(func() { b.check(ctx, c) })
		}
		if err := b.load(ctx); err != nil && ctx.Err() == nil {
			b.log.Error("loading the rules of load balancers failed", "err", err)
			next = retry
		}
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-b.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// stir makes Run look again.
func (b *Balancers) stir() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (b *Balancers) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, lb := range b.all {
		for _, p := range lb.proxies {
			_ = p.close() // the listener goes with the process in any case
		}
	}
}

func (b *Balancers) sorted() []*balancer {
	var out []*balancer
	for _, lb := range b.all {
		out = append(out, lb)
	}
	slices.SortFunc(out, func(a, b *balancer) int { return cmp.Compare(a.spec.Name, b.spec.Name) })
	return out
}

func (b *Balancers) find(name string) (*balancer, error) {
	if lb := b.all[name]; lb != nil {
		return lb, nil
	}
	return nil, fmt.Errorf("load balancer %q does not exist: see `vpcsim lb list`", name)
}
