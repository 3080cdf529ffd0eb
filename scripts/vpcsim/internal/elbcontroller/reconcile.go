package elbcontroller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elb"
)

// Simulator is what has the load balancers; control.Client is one.
type Simulator interface {
	Balancers(context.Context) ([]control.BalancerStatus, error)
	TargetHealth(ctx context.Context, balancer string) ([]control.TargetHealth, error)
	CreateBalancer(context.Context, control.LoadBalancer) (control.BalancerStatus, error)
	ModifyBalancer(context.Context, control.LoadBalancer) (control.BalancerStatus, error)
	DeleteBalancer(ctx context.Context, name string) error
	RegisterTargets(context.Context, control.TargetChange) error
	DeregisterTargets(context.Context, control.TargetChange) error
}

// Reconciler makes the simulator's balancers what is wanted.
type Reconciler struct {
	simulator Simulator
	made      map[string]bool // names that an annotation gave
}

// NewReconciler returns one that has made nothing.
func NewReconciler(s Simulator) *Reconciler { return &Reconciler{s, map[string]bool{}} }

// Outcome is what became of an object's balancer.
type Outcome struct {
	elb.Wanted
	Status control.BalancerStatus // of the balancer, if there is one
	Failed error                  // what is wrong with the object, or went wrong
}

// Step does one round, and goes on where the balancer of one object fails. The
// error is that of the simulator itself.
func (r *Reconciler) Step(ctx context.Context, wanted []elb.Wanted) ([]Outcome, error) {
	found, err := r.simulator.Balancers(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the simulator's load balancers: %w", err)
	}
	have := map[string]control.BalancerStatus{}
	for _, b := range found {
		have[b.Name] = b
	}
	names := map[string]bool{}
	var out []Outcome
	for _, w := range wanted {
		o := Outcome{Wanted: w, Failed: w.Err}
		old, there := have[w.Balancer.Name]
		switch {
		case names[w.Balancer.Name]:
			o.Failed = fmt.Errorf("another object has load balancer %s: names are unique", w.Balancer.Name)
		case w.Err != nil: // what is there stays as it is
			o.Status = old
		default:
			o.Status, o.Failed = r.ensure(ctx, w.Balancer, old, there)
		}
		names[w.Balancer.Name] = true
		out = append(out, o)
	}
	var failed []error
	for _, b := range found {
		if !names[b.Name] && (r.made[b.Name] || strings.HasPrefix(b.Name, "k8s-")) {
			failed = append(failed, r.simulator.DeleteBalancer(ctx, b.Name))
			delete(r.made, b.Name)
		}
	}
	return out, errors.Join(failed...)
}

// ensure brings one balancer about.
func (r *Reconciler) ensure(ctx context.Context, want control.LoadBalancer, old control.BalancerStatus, there bool) (control.BalancerStatus, error) {
	if there && replaced(old, want) {
		if err := r.simulator.DeleteBalancer(ctx, want.Name); err != nil {
			return old, err
		}
		there = false
	}
	if !there {
		r.made[want.Name] = true
		return r.simulator.CreateBalancer(ctx, want)
	}
	if want.Subnets == nil {
		want.Subnets = old.Subnets
	}
	now := old
	if changed(old.LoadBalancer, want) {
		var err error
		if now, err = r.simulator.ModifyBalancer(ctx, want); err != nil {
			return old, err
		}
	}
	return now, r.targets(ctx, want)
}

// replaced says whether another balancer must take the place of one.
func replaced(old control.BalancerStatus, want control.LoadBalancer) bool {
	return old.Type != want.Type || old.Scheme != want.Scheme || len(want.Subnets) > 0 && !slices.Equal(old.Subnets, want.Subnets)
}

// changed says whether more than targets differs.
func changed(old, want control.LoadBalancer) bool {
	return description(old) != description(want)
}

// description is the balancer without targets, with all defaults.
func description(b control.LoadBalancer) string {
	b = b.Complete(nil)
	for i := range b.TargetGroups {
		b.TargetGroups[i].Targets = nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // a value of plain fields
	}
	return string(text)
}

// targets registers those that are missing, and deregisters those that are not
// wanted and do not drain yet.
func (r *Reconciler) targets(ctx context.Context, want control.LoadBalancer) error {
	health, err := r.simulator.TargetHealth(ctx, want.Name)
	if err != nil {
		return err
	}
	var failed []error
	for _, g := range want.TargetGroups {
		var active []control.Target
		for _, h := range health {
			if h.Group == g.Name && h.State != "draining" {
				active = append(active, h.Target)
			}
		}
		if add := without(g.Targets, active); len(add) > 0 {
			failed = append(failed, r.simulator.RegisterTargets(ctx, control.TargetChange{Balancer: want.Name, Group: g.Name, Targets: add}))
		}
		if surplus := without(active, g.Targets); len(surplus) > 0 {
			failed = append(failed, r.simulator.DeregisterTargets(ctx, control.TargetChange{Balancer: want.Name, Group: g.Name, Targets: surplus}))
		}
	}
	return errors.Join(failed...)
}

// without are those of a that b does not have.
func without(a, b []control.Target) (out []control.Target) {
	for _, t := range a {
		if !slices.Contains(b, t) {
			out = append(out, t)
		}
	}
	return out
}
