package elbcontroller

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// fake is a simulator that keeps balancers, and refuses as the real one does.
// Targets that are deregistered drain for ever.
type fake struct {
	mu        sync.Mutex
	balancers []control.BalancerStatus
	draining  map[string]bool // balancer, group and target
	calls     []string        // that changed something
	health    string          // of targets that do not drain; empty for healthy
	away      error
}

func (f *fake) did(format string, args ...any) {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
}

// taken returns the calls since the last time.
func (f *fake) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func (f *fake) index(name string) int {
	return slices.IndexFunc(f.balancers, func(b control.BalancerStatus) bool { return b.Name == name })
}

func (f *fake) Status(context.Context) (control.Status, error) {
	return control.Status{Region: "us-west-2", Nodes: []control.NodeStatus{{Name: "n1", InstanceID: "i-1"}, {Name: "n2", InstanceID: "i-2"}}}, nil
}

func (f *fake) Balancers(context.Context) ([]control.BalancerStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []control.BalancerStatus
	for _, b := range f.balancers {
		b.LoadBalancer = b.Complete(b.Subnets) // copies
		out = append(out, b)
	}
	return out, f.away
}

func (f *fake) TargetHealth(_ context.Context, name string) (out []control.TargetHealth, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.balancers {
		if name != "" && b.Name != name {
			continue
		}
		for _, g := range b.TargetGroups {
			for _, t := range g.Targets {
				h := control.TargetHealth{Balancer: b.Name, Group: g.Name, Target: t, State: cmp.Or(f.health, "healthy")}
				if f.draining[b.Name+g.Name+fmt.Sprint(t)] {
					h.State = "draining"
				}
				out = append(out, h)
			}
		}
	}
	return out, nil
}

func (f *fake) CreateBalancer(_ context.Context, b control.LoadBalancer) (control.BalancerStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.index(b.Name) >= 0 {
		return control.BalancerStatus{}, fmt.Errorf("name %q is taken", b.Name)
	}
	f.did("create %s %s", b.Scheme, b.Name)
	st := control.BalancerStatus{LoadBalancer: b.Complete([]string{"a"}), Zones: []control.BalancerZone{{Zone: "us-west-2a", Address: netip.MustParseAddr("10.0.0.200")}}}
	if b.Scheme == "internet-facing" {
		st.Zones[0].Public = netip.MustParseAddr("198.51.100.13")
	}
	f.balancers = append(f.balancers, st)
	return st, nil
}

func (f *fake) ModifyBalancer(_ context.Context, b control.LoadBalancer) (control.BalancerStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.index(b.Name)
	old := f.balancers[i]
	f.did("modify %s", b.Name)
	now := b.Complete(old.Subnets)
	for j, g := range now.TargetGroups {
		for _, o := range old.TargetGroups {
			if o.Name == g.Name {
				now.TargetGroups[j].Targets = o.Targets
			}
		}
	}
	f.balancers[i].LoadBalancer = now
	return f.balancers[i], nil
}

func (f *fake) DeleteBalancer(_ context.Context, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("delete %s", name)
	f.balancers = slices.Delete(f.balancers, f.index(name), f.index(name)+1)
	return nil
}

func (f *fake) RegisterTargets(_ context.Context, c control.TargetChange) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("register %d with %s", len(c.Targets), c.Balancer)
	groups := f.balancers[f.index(c.Balancer)].TargetGroups
	i := slices.IndexFunc(groups, func(g control.TargetGroup) bool { return g.Name == c.Group })
	for _, t := range c.Targets {
		delete(f.draining, c.Balancer+c.Group+fmt.Sprint(t))
		if !slices.Contains(groups[i].Targets, t) {
			groups[i].Targets = append(groups[i].Targets, t)
		}
	}
	return nil
}

func (f *fake) DeregisterTargets(_ context.Context, c control.TargetChange) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did("deregister %d of %s", len(c.Targets), c.Balancer)
	for _, t := range c.Targets {
		f.draining[c.Balancer+c.Group+fmt.Sprint(t)] = true
	}
	return nil
}
