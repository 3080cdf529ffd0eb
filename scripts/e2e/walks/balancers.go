package walks

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// balancerWalks are those through load balancers.
func balancerWalks() []Walk {
	return []Walk{
		{"W18", "network load balancer, instances", balancedInstances},
		{"W19", "network load balancer, instances, policy Local", balancedLocal},
		{"W20", "network load balancer, pods, client not kept", balancedPods},
		{"W21", "network load balancer, pods, client kept", balancedPodsKept},
		{"W22", "application load balancer", balancedHTTP},
	}
}

// frontPort is where the first load balancer listens. Each has a port of its
// own: addresses are used again, and a flow of the one must not meet the next.
const frontPort = 80

// balancer describes a load balancer whose targets are all alike.
type balancer struct {
	kind, name, targetType string
	port                   uint16
	protos                 []string
	keep, crossZone        *bool
	check                  control.TargetGroup // for its HealthCheck
	targets                []control.Target
}

func (b balancer) spec(port uint16) control.LoadBalancer {
	out := control.LoadBalancer{Name: b.name, Type: b.kind, Scheme: "internet-facing", CrossZone: b.crossZone}
	for _, proto := range b.protos {
		group := control.TargetGroup{Name: strings.ToLower(proto), TargetType: b.targetType, Port: b.port, Targets: b.targets,
			HealthCheck: b.check.HealthCheck, DeregistrationDelay: new(control.Duration(time.Second))}
		if proto != "UDP" {
			group.PreserveClientIP = b.keep
		}
		group.HealthCheck.Interval = control.Duration(100 * time.Millisecond)
		group.HealthCheck.Timeout = control.Duration(time.Second)
		group.HealthCheck.HealthyThreshold, group.HealthCheck.UnhealthyThreshold = 2, 2
		out.TargetGroups = append(out.TargetGroups, group)
		out.Listeners = append(out.Listeners, control.Listener{Protocol: proto, Port: port, TargetGroup: group.Name})
	}
	return out
}

// balance makes a load balancer and walks when its targets are as they must
// be; healthy names those that must be healthy, all others must not be.
func balance(ctx context.Context, w *World, b balancer, healthy func(control.TargetHealth) bool, do func(control.BalancerStatus) ([]Step, error)) (steps []Step, err error) {
	port := frontPort + w.fronts
	w.fronts++
	status, err := w.Lab.Control.CreateBalancer(ctx, b.spec(port))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.Lab.Control.DeleteBalancer(ctx, b.name)) }()
	limited, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := harness.Poll(limited, func() error { return w.health(ctx, b.name, healthy) }); err != nil {
		return nil, fmt.Errorf("load balancer %s: %w", b.name, err)
	}
	return do(status)
}

func (w *World) health(ctx context.Context, name string, healthy func(control.TargetHealth) bool) error {
	targets, err := w.Lab.Control.TargetHealth(ctx, name)
	if err != nil {
		return err
	}
	for _, t := range targets {
		want := "unhealthy"
		if healthy(t) {
			want = "healthy"
		}
		if t.State != want {
			return fmt.Errorf("target %s %v of group %s is %s (%s), want %s", t.Target.Node, t.Endpoint, t.Group, t.State, t.Description, want)
		}
	}
	return nil
}

func everyTarget(control.TargetHealth) bool { return true }

func instances(w *World) []control.Target {
	return []control.Target{{Node: w.N1.Node.Name}, {Node: w.N2.Node.Name}}
}

func addresses(pods ...*harness.Pod) (out []control.Target) {
	for _, p := range pods {
		out = append(out, control.Target{Address: p.IP})
	}
	return out
}

// nameOf describes a balancer's address in a zone.
func nameOf(z control.BalancerZone) string { return "balancer in " + z.Zone }

// at is where outside clients reach a balancer in a zone.
func at(st control.BalancerStatus, z control.BalancerZone) netip.AddrPort {
	return netip.AddrPortFrom(z.Public, st.Listeners[0].Port)
}

// inside is where clients of a peered VPC do.
func inside(st control.BalancerStatus, z control.BalancerZone) netip.AddrPort {
	return netip.AddrPortFrom(z.Address, st.Listeners[0].Port)
}

// balancedInstances: the balancer's address of each zone leads to the node of
// that zone, and both serve, though only one has endpoints and on neither a
// program listens on the port.
func balancedInstances(ctx context.Context, w *World) ([]Step, error) {
	s := harness.Service{Name: "w18", Type: "LoadBalancer", Pods: []*harness.Pod{w.N2.P1, w.N2.P2}}
	return with(ctx, w, s, func(served harness.Served) ([]Step, error) {
		b := balancer{kind: "nlb", name: s.Name, targetType: "instance", port: served.NodePort, protos: []string{"TCP", "UDP"}, targets: instances(w)}
		return balance(ctx, w, b, everyTarget, func(st control.BalancerStatus) ([]Step, error) {
			var all []call
			for _, z := range st.Zones {
				node := w.inZone(z.Zone)
				all = append(all,
					call{from: abroadAt(w, "internet", internet), to: at(st, z), name: nameOf(z) + " to " + node.Node.Name, pods: s.Pods, source: node.Primary},
					call{from: abroadAt(w, "peer", peer), to: inside(st, z), name: nameOf(z) + " to " + node.Node.Name, pods: s.Pods, source: node.Primary})
			}
			return calls(ctx, all...)
		})
	})
}

// balancedLocal: only the node with endpoints is healthy, and takes it all.
func balancedLocal(ctx context.Context, w *World) ([]Step, error) {
	s := harness.Service{Name: "w19", Type: "LoadBalancer", Local: true, Pods: []*harness.Pod{w.N1.P1, w.N1.P2}}
	return with(ctx, w, s, func(served harness.Served) ([]Step, error) {
		b := balancer{kind: "nlb", name: s.Name, targetType: "instance", port: served.NodePort, protos: []string{"TCP", "UDP"},
			targets: instances(w), crossZone: new(true)}
		b.check.HealthCheck.Protocol, b.check.HealthCheck.Port, b.check.HealthCheck.Path = "HTTP", served.HealthPort, "/healthz"
		first := func(t control.TargetHealth) bool { return t.Target.Node == w.N1.Node.Name }
		return balance(ctx, w, b, first, func(st control.BalancerStatus) ([]Step, error) {
			var all []call
			for _, z := range st.Zones {
				all = append(all, call{from: abroadAt(w, "internet", internet), to: at(st, z), name: nameOf(z), pods: s.Pods})
			}
			steps, err := calls(ctx, all...)
			return append(steps, healthCodes(ctx, w, served.HealthPort)...), err
		})
	})
}

// healthCodes asks both nodes' health-check ports, as the balancer does.
func healthCodes(ctx context.Context, w *World, port uint16) (steps []Step) {
	for _, ask := range []struct {
		*Site
		want string
	}{{w.N1, "200"}, {w.N2, "503"}} {
		url := fmt.Sprintf("http://%s/healthz", netip.AddrPortFrom(ask.Primary, port))
		code, err := w.Lab.Exec(ctx, "peer", "curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", url)
		step := Step{From: "peer", To: "health-check port of " + ask.Node.Name, Saw: "code " + code}
		if err != nil || code != ask.want {
			step.Want = "code " + ask.want
		}
		steps = append(steps, step)
	}
	return steps
}

// balancedPods: the pod sees the balancer, and answers by its own ENI.
func balancedPods(ctx context.Context, w *World) (steps []Step, err error) {
	for _, p := range []*harness.Pod{w.N1.P1, w.N1.P2} {
		b := balancer{kind: "nlb", name: "w20", targetType: "ip", port: harness.Port, protos: []string{"TCP"}, targets: addresses(p), crossZone: new(true)}
		more, err := balance(ctx, w, b, everyTarget, func(st control.BalancerStatus) ([]Step, error) {
			var all []call
			for _, z := range st.Zones {
				all = append(all, call{from: abroadAt(w, "internet", internet), to: at(st, z), name: nameOf(z), protos: []string{"tcp"},
					pods: []*harness.Pod{p}, count: Repeat, source: z.Address, by: w.N1, eni: link(p)})
			}
			return calls(ctx, all...)
		})
		if steps = append(steps, more...); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

// balancedPodsKept: the pod sees the client, and its answer is not translated
// though it is for an address outside of the VPC.
func balancedPodsKept(ctx context.Context, w *World) (steps []Step, err error) {
	for _, p := range []*harness.Pod{w.N1.P1, w.N1.P2} {
		b := balancer{kind: "nlb", name: "w21", targetType: "ip", port: harness.Port, protos: []string{"TCP", "UDP"}, targets: addresses(p),
			keep: new(true), crossZone: new(true)}
		more, err := balance(ctx, w, b, everyTarget, func(st control.BalancerStatus) ([]Step, error) {
			z := st.Zones[0]
			return calls(ctx,
				call{from: abroadAt(w, "internet", internet), to: at(st, z), name: nameOf(z), pods: []*harness.Pod{p}, count: Repeat, by: w.N1, eni: link(p)},
				call{from: abroadAt(w, "peer", peer), to: inside(st, z), name: nameOf(z), pods: []*harness.Pod{p}})
		})
		if steps = append(steps, more...); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

// balancedHTTP goes through a proxy, to pods and to node ports.
func balancedHTTP(ctx context.Context, w *World) ([]Step, error) {
	pods := []*harness.Pod{w.N1.P1, w.N1.P2, w.N2.P1, w.N2.P2}
	b := balancer{kind: "alb", name: "w22-ip", targetType: "ip", port: harness.Port, protos: []string{"HTTP"}, targets: addresses(pods...)}
	steps, err := balance(ctx, w, b, everyTarget, func(st control.BalancerStatus) ([]Step, error) {
		z := st.Zones[0]
		return calls(ctx, call{from: abroadAt(w, "internet", internet), to: at(st, z), name: nameOf(z) + " to pods", protos: []string{"http"},
			pods: pods, source: z.Address})
	})
	if err != nil {
		return steps, err
	}
	s := harness.Service{Name: "w22", Type: "NodePort", Pods: []*harness.Pod{w.N2.P1, w.N2.P2}}
	more, err := with(ctx, w, s, func(served harness.Served) ([]Step, error) {
		b := balancer{kind: "alb", name: "w22-instance", targetType: "instance", port: served.NodePort, protos: []string{"HTTP"},
			targets: []control.Target{{Node: w.N1.Node.Name}}}
		return balance(ctx, w, b, everyTarget, func(st control.BalancerStatus) ([]Step, error) {
			z := st.Zones[0]
			return calls(ctx, call{from: abroadAt(w, "internet", internet), to: at(st, z), name: nameOf(z) + " to node port", protos: []string{"http"},
				pods: s.Pods, some: true, source: w.N1.Primary}) // it keeps its connection to the node
		})
	})
	return append(steps, more...), err
}
