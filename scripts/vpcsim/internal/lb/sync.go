package lb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

const (
	retry = 500 * time.Millisecond // after rules that could not be loaded
	quiet = time.Hour              // with nothing to wait for
)

// Sync brings the balancers to what v says: which addresses are there to use,
// and where targets are. The fabric must have been synced to v.
func (b *Balancers) Sync(ctx context.Context, v vpc.View) error {
	err := b.observe(ctx, v)
	b.stir()
	return errors.Join(err, b.load(ctx))
}

func (b *Balancers) observe(ctx context.Context, v vpc.View) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.view = v
	var errs []error
	for _, lb := range b.sorted() {
		lb.ready = lb.ready || lb.present(v)
		b.place(lb)
		if lb.ready && lb.spec.Type == topology.ALB {
			errs = append(errs, b.openProxies(ctx, lb))
		}
	}
	return errors.Join(errs...)
}

// present reports whether the view has all of the balancer's ENIs.
func (lb *balancer) present(v vpc.View) bool {
	for _, z := range lb.zones {
		if !slices.ContainsFunc(v.Balancers, func(e vpc.BalancerView) bool { return e.ID == z.ENI }) {
			return false
		}
	}
	return true
}

// place tells the targets of a balancer where they are in the last view.
func (b *Balancers) place(lb *balancer) {
	for _, g := range lb.groups {
		for _, t := range g.targets {
			addr, zone, unused := locate(b.view, t.Target)
			switch {
			case unused.State == Unused:
			case !g.used:
				unused = groupUnused
			case zone != "" && !lb.in(zone):
				unused = zoneDisabled
			}
			t.place(addr, zone, unused, time.Now())
		}
	}
}

func (lb *balancer) in(name string) bool {
	return slices.ContainsFunc(lb.zones, func(z control.BalancerZone) bool { return z.Zone == name })
}

// locate finds where packets for a target go: an instance is reached at the
// primary address of its primary interface.
func locate(v vpc.View, t topology.Target) (addr netip.Addr, zone string, unused Health) {
	zones := map[string]string{}
	for _, s := range v.Subnets {
		zones[s.ID] = s.Zone
		if t.Address.IsValid() && s.CIDR.Contains(t.Address) {
			zone = s.Zone
		}
	}
	if t.Address.IsValid() {
		return t.Address, zone, Health{}
	}
	for _, i := range v.Interfaces {
		if i.Node == t.Node && i.DeviceIndex == 0 && i.NetworkCard == 0 {
			return i.Addresses[0], zones[i.Subnet], Health{}
		}
	}
	return netip.Addr{}, "", notRunning
}

// load compiles the rules and gives them to the kernel if they have changed.
func (b *Balancers) load(ctx context.Context) error {
	b.loading.Lock()
	defer b.loading.Unlock()
	rules := b.compile().ruleset()
	if rules == b.loaded {
		return nil
	}
	if err := b.fabric.LoadRules(ctx, fabric.LB, rules); err != nil {
		return fmt.Errorf("loading the rules of load balancers: %w", err)
	}
	b.loaded = rules
	return nil
}

func (b *Balancers) compile() tables {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := tables{hairpin: map[pair]bool{}}
	for _, lb := range b.sorted() {
		for _, l := range lb.spec.Listeners {
			for _, z := range lb.zones {
				addr := netip.AddrPortFrom(z.Address, l.Port)
				if lb.spec.Type == topology.ALB {
					t.proxied = append(t.proxied, addr)
					continue
				}
				g, protocol := lb.group(l), strings.ToLower(l.Protocol)
				t.fronts = append(t.fronts, front{
					name: fmt.Sprintf("%s %s %s %d", lb.spec.Name, z.Zone, protocol, l.Port), addr: addr, protocol: protocol,
					preserve: *g.PreserveClientIP, endpoints: pick(g.targets, z.Zone, *lb.spec.CrossZone),
				})
			}
		}
		for _, g := range lb.groups {
			if *g.PreserveClientIP {
				g.hairpins(b.view, t.hairpin)
			}
		}
	}
	return t
}

// hairpins adds the sources from which targets with the client's address kept
// cannot be reached: an address by itself, an instance by all that it has.
func (g *group) hairpins(v vpc.View, out map[pair]bool) {
	for _, t := range g.targets {
		if !t.addr.IsValid() {
			continue
		}
		out[pair{netip.PrefixFrom(t.addr, 32), t.addr}] = true
		for _, i := range v.Interfaces {
			if t.Node == "" || i.Node != t.Node {
				continue
			}
			sources := slices.Clone(i.Prefixes)
			for _, a := range i.Addresses {
				sources = append(sources, netip.PrefixFrom(a, a.BitLen()))
			}
			for _, s := range sources {
				if s.Addr().Is4() {
					out[pair{s, t.addr}] = true
				}
			}
		}
	}
}

// group returns the group of a listener; the spec was checked to have it.
func (lb *balancer) group(l topology.Listener) *group {
	i := slices.IndexFunc(lb.groups, func(g *group) bool { return g.Name == l.TargetGroup })
	return lb.groups[i]
}

// status describes the balancer with its present targets.
func (lb *balancer) status() control.BalancerStatus {
	out := control.BalancerStatus{LoadBalancer: lb.spec, Zones: slices.Clone(lb.zones)}
	out.TargetGroups = nil
	for _, g := range lb.groups {
		described := g.TargetGroup
		for _, t := range g.targets {
			described.Targets = append(described.Targets, t.Target)
		}
		out.TargetGroups = append(out.TargetGroups, described)
	}
	return out
}

func (g *group) status(t *target) control.TargetHealth {
	out := control.TargetHealth{
		Balancer: g.balancer.spec.Name, Group: g.Name, Target: t.Target, Zone: t.zone,
		State: string(t.health.State), Reason: t.health.Reason, Description: t.health.Description,
	}
	if t.addr.IsValid() {
		out.Endpoint = t.endpoint()
	}
	return out
}

func (lb *balancer) addresses() []netip.Addr {
	var out []netip.Addr
	for _, z := range lb.zones {
		out = append(out, z.Address)
	}
	return out
}
