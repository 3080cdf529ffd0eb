package lb

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Register adds targets to a group, all or none.
func (b *Balancers) Register(c control.TargetChange) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(c)
	if err != nil {
		return fmt.Errorf("registering targets: %w", err)
	}
	for _, t := range c.Targets {
		if err := b.model.Topology().CheckTarget(g.TargetGroup, t); err != nil {
			return fmt.Errorf("registering targets: %w", err)
		}
	}
	for _, t := range c.Targets {
		b.add(g, g.Member(t))
	}
	b.place(g.balancer)
	b.stir()
	return nil
}

// add registers one target. One that drains begins anew.
func (b *Balancers) add(g *group, t topology.Target) {
	now, takes := time.Now(), b.model.CallTime("RegisterTargets")
	i := slices.IndexFunc(g.targets, func(o *target) bool { return o.Target == t })
	if i < 0 {
		g.targets = append(g.targets, newTarget(t, now, takes))
	} else if g.targets[i].health.State == Draining {
		g.targets[i].register(now, takes)
	}
}

// Deregister lets targets drain, all or none.
func (b *Balancers) Deregister(c control.TargetChange) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.group(c)
	if err != nil {
		return fmt.Errorf("deregistering targets: %w", err)
	}
	var found []*target
	for _, t := range c.Targets {
		i := slices.IndexFunc(g.targets, func(o *target) bool { return o.Target == g.Member(t) })
		if i < 0 {
			return fmt.Errorf("deregistering targets: %s is not registered with group %s: see `vpcsim lb health %s`", Text(g.Member(t)), g.Name, c.Balancer)
		}
		found = append(found, g.targets[i])
	}
	for _, t := range found {
		t.drain(time.Now(), time.Duration(*g.DeregistrationDelay))
	}
	b.stir()
	return nil
}

// Text writes a target as people name it: n1:30080 or 10.0.0.7:80.
func Text(t topology.Target) string {
	if t.Address.IsValid() {
		return netip.AddrPortFrom(t.Address, t.Port).String()
	}
	return fmt.Sprintf("%s:%d", t.Node, t.Port)
}

// Health returns the targets of a balancer, or of all if the name is empty.
// What it tells is in force: a target that is healthy gets flows.
func (b *Balancers) Health(ctx context.Context, name string) ([]control.TargetHealth, error) {
	out, err := b.health(name)
	if err == nil {
		err = b.load(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the health of targets: %w", err)
	}
	return out, nil
}

func (b *Balancers) health(name string) ([]control.TargetHealth, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	chosen := b.sorted()
	if name != "" {
		lb, err := b.find(name)
		if err != nil {
			return nil, err
		}
		chosen = []*balancer{lb}
	}
	out := []control.TargetHealth{}
	for _, lb := range chosen {
		for _, g := range lb.groups {
			for _, t := range g.targets {
				out = append(out, g.status(t))
			}
		}
	}
	return out, nil
}

func (b *Balancers) group(c control.TargetChange) (*group, error) {
	lb, err := b.find(c.Balancer)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, g := range lb.groups {
		if g.Name == c.Group || c.Group == "" {
			return g, nil
		}
		names = append(names, g.Name)
	}
	return nil, fmt.Errorf("load balancer %s has no target group %q: name one of %s", c.Balancer, c.Group, strings.Join(names, ", "))
}
