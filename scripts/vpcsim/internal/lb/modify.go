package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Modify gives a balancer other listeners, rules, target groups and settings. It
// keeps its addresses, and a group that stays its targets with their health and
// flows; groups that are new get the targets that the spec has. As at AWS, type,
// scheme and subnets of a balancer, and kind, protocol and port of a group, are
// for life.
func (b *Balancers) Modify(ctx context.Context, spec topology.LoadBalancer) (control.BalancerStatus, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out, err := b.modify(ctx, spec)
	if err != nil {
		return out, fmt.Errorf("modifying a load balancer: %w", err)
	}
	return out, nil
}

func (b *Balancers) modify(ctx context.Context, spec topology.LoadBalancer) (control.BalancerStatus, error) {
	lb, err := b.find(spec.Name)
	if err != nil {
		return control.BalancerStatus{}, err
	}
	topo := b.model.Topology()
	spec = spec.Complete(lb.spec.Subnets)
	if err := errors.Join(topo.CheckBalancer(spec), lb.keeps(spec)); err != nil {
		return control.BalancerStatus{}, err
	}
	var groups []*group
	for _, g := range spec.TargetGroups {
		members := g.Targets
		g.Targets = nil
		i := slices.IndexFunc(lb.groups, func(o *group) bool { return o.Name == g.Name })
		if i >= 0 {
			lb.groups[i].TargetGroup = g
			groups = append(groups, lb.groups[i])
			continue
		}
		fresh := &group{TargetGroup: g, balancer: lb}
		for _, t := range members {
			b.add(fresh, t)
		}
		groups = append(groups, fresh)
	}
	lb.spec, lb.groups = spec, groups
	for _, g := range groups {
		g.used = spec.Uses(g.Name)
	}
	b.place(lb)
	err = b.reopen(ctx, lb)
	b.log.Info("load balancer modified", "name", spec.Name)
	b.stir()
	return lb.status(), err
}

// keeps refuses to change what is for life.
func (lb *balancer) keeps(spec topology.LoadBalancer) error {
	if spec.Type != lb.spec.Type || spec.Scheme != lb.spec.Scheme || !slices.Equal(spec.Subnets, lb.spec.Subnets) {
		return fmt.Errorf("load balancer %s is of type %s, %s, in subnets %v: delete it and create another to change that",
			spec.Name, lb.spec.Type, lb.spec.Scheme, lb.spec.Subnets)
	}
	for _, g := range spec.TargetGroups {
		for _, o := range lb.groups {
			if o.Name == g.Name && (o.TargetType != g.TargetType || o.Protocol != g.Protocol || o.Port != g.Port) {
				return fmt.Errorf("target group %s is for %s:%d of kind %s: make one of another name to change that", o.Name, o.Protocol, o.Port, o.TargetType)
			}
		}
	}
	return nil
}

// reopen closes what is listened on no more, and opens what is new.
func (b *Balancers) reopen(ctx context.Context, lb *balancer) error {
	var errs []error
	for at, p := range lb.proxies {
		if _, listens := lb.listener(at); !listens {
			errs = append(errs, p.close())
			delete(lb.proxies, at)
		}
	}
	if lb.ready && lb.spec.Type == topology.ALB {
		errs = append(errs, b.openProxies(ctx, lb))
	}
	return errors.Join(errs...)
}

// listener is what listens at an address of the balancer.
func (lb *balancer) listener(at netip.AddrPort) (topology.Listener, bool) {
	i := slices.IndexFunc(lb.spec.Listeners, func(l topology.Listener) bool { return l.Port == at.Port() })
	if i < 0 {
		return topology.Listener{}, false
	}
	return lb.spec.Listeners[i], true
}
