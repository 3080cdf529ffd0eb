package walks

import (
	"context"
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// serviceWalks are those through cluster IPs and node ports.
func serviceWalks() []Walk {
	return []Walk{
		{"W13", "pod to cluster IP", podToClusterIP},
		{"W14", "process of the node to cluster IP", nodeToClusterIP},
		{"W15", "pod to cluster IP, to itself (hairpin)", hairpin},
		{"W16", "outside to node port", nodePort},
		{"W17", "outside to node port, policy Local", nodePortLocal},
	}
}

// lots are enough connections to judge shares.
const lots = 200

// spread is a service with endpoints on both ENIs of both nodes.
func spread(w *World, name string) harness.Service {
	return harness.Service{Name: name, Pods: []*harness.Pod{w.N1.Other1, w.N1.Other2, w.N2.P1, w.N2.P2}}
}

func podToClusterIP(ctx context.Context, w *World) ([]Step, error) {
	s := spread(w, "w13")
	return with(ctx, w, s, func(at harness.Served) ([]Step, error) {
		var all []call
		for _, from := range []client{pod(w.N1, w.N1.P1), pod(w.N1, w.N1.P2)} {
			all = append(all, call{from: from, to: at.ClusterIP, name: "cluster IP", pods: s.Pods, count: lots, shares: true})
		}
		return calls(ctx, all...)
	})
}

func nodeToClusterIP(ctx context.Context, w *World) ([]Step, error) {
	s := spread(w, "w14")
	return with(ctx, w, s, func(at harness.Served) ([]Step, error) {
		return calls(ctx, call{from: process(w.N1), to: at.ClusterIP, name: "cluster IP", pods: s.Pods})
	})
}

// hairpin: a pod cannot answer itself under its own address, so the node
// translates.
func hairpin(ctx context.Context, w *World) (steps []Step, err error) {
	for _, p := range []*harness.Pod{w.N1.P1, w.N1.P2} {
		s := harness.Service{Name: "w15", Pods: []*harness.Pod{p}}
		more, err := with(ctx, w, s, func(at harness.Served) ([]Step, error) {
			return calls(ctx, call{from: pod(w.N1, p), to: at.ClusterIP, name: "cluster IP", pods: s.Pods, source: w.N1.Primary})
		})
		if steps = append(steps, more...); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

// nodePort calls one node; what is here and what is elsewhere answers, and the
// answer leaves by the ENI that the request came in on.
func nodePort(ctx context.Context, w *World) (steps []Step, err error) {
	s := spread(w, "w16")
	s.Type = "NodePort"
	steps, err = with(ctx, w, s, func(at harness.Served) ([]Step, error) {
		return calls(ctx,
			call{from: abroadAt(w, "internet", internet), to: netip.AddrPortFrom(w.N1.Public, at.NodePort), name: "node port of n1", pods: s.Pods, source: w.N1.Primary},
			call{from: abroadAt(w, "peer", peer), to: netip.AddrPortFrom(w.N1.Primary, at.NodePort), name: "node port of n1", pods: s.Pods, source: w.N1.Primary})
	})
	if err != nil {
		return steps, err
	}
	for _, p := range []*harness.Pod{w.N1.P1, w.N1.P2} {
		s.Pods = []*harness.Pod{p}
		more, err := with(ctx, w, s, func(at harness.Served) ([]Step, error) {
			return calls(ctx, call{from: abroadAt(w, "internet", internet), to: netip.AddrPortFrom(w.N1.Public, at.NodePort),
				name: "node port of n1", pods: s.Pods, count: Repeat, source: w.N1.Primary, by: w.N1, eni: "eth0"})
		})
		if steps = append(steps, more...); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

func nodePortLocal(ctx context.Context, w *World) ([]Step, error) {
	s := harness.Service{Name: "w17", Type: "NodePort", Local: true, Pods: []*harness.Pod{w.N1.P1, w.N1.P2}}
	return with(ctx, w, s, func(at harness.Served) ([]Step, error) {
		c, p := abroadAt(w, "internet", internet), abroadAt(w, "peer", peer)
		n1, n2 := netip.AddrPortFrom(w.N1.Public, at.NodePort), netip.AddrPortFrom(w.N2.Public, at.NodePort)
		return calls(ctx,
			call{from: c, to: n1, name: "node port of n1", pods: s.Pods, count: Repeat, by: w.N1, eni: "eth0"},
			call{from: p, to: netip.AddrPortFrom(w.N1.Primary, at.NodePort), name: "node port of n1", pods: s.Pods},
			call{from: c, to: n2, name: "node port of n2, no endpoint", fate: harness.Silence})
	})
}

// moreWalks are the rest of services' rules.
func moreWalks() []Walk {
	return []Walk{
		{"W23", "load-balancer address from inside, source ranges", balancerAddress},
		{"W24", "a service without endpoints", noEndpoints},
		{"W25", "session affinity", affinity},
		{"W26", "pod to ingress controller to backend", ingress},
		{"W27", "host ports", hostPorts},
	}
}

// vip is nobody's address: packets for it that leave a node are lost.
var vip = netip.MustParseAddr("192.0.2.80")

// balancerAddress: what comes from inside never leaves for the balancer. The
// source is translated to the node's, or to that of the secondary ENI by which
// it leaves; with policy Local a pod's is not. The node itself is no pod.
func balancerAddress(ctx context.Context, w *World) (steps []Step, err error) {
	address := vip
	for _, c := range []struct {
		name       string
		local      bool
		from       netip.Prefix
		fate       harness.Fate
		translated bool
	}{
		{"balancer's address", false, w.VPC, harness.Answered, true},
		{"balancer's address, policy Local", true, w.VPC, harness.Answered, false},
		{"balancer's address, other range", false, netip.MustParsePrefix("203.0.113.0/24"), harness.Silence, false},
	} {
		s := spread(w, "w23")
		s.Type, s.Local, s.Ingress, s.Ranges = "LoadBalancer", c.local, []netip.Addr{address}, []netip.Prefix{c.from}
		more, err := with(ctx, w, s, func(harness.Served) ([]Step, error) {
			var all []call
			for _, from := range []client{pod(w.N1, w.N1.P1), pod(w.N1, w.N1.P2), process(w.N1)} {
				one := call{from: from, to: netip.AddrPortFrom(address, harness.ServicePort), name: c.name, fate: c.fate}
				if c.fate == harness.Answered {
					one.pods = s.Pods
				}
				if c.translated {
					one.source, one.or = w.N1.Primary, w.N1.Secondary
				}
				all = append(all, one)
			}
			return calls(ctx, all...)
		})
		if steps = append(steps, more...); err != nil {
			return steps, err
		}
		address = address.Next()
	}
	return steps, nil
}

func noEndpoints(ctx context.Context, w *World) (steps []Step, err error) {
	s := harness.Service{Name: "w24", Type: "NodePort"}
	steps, err = with(ctx, w, s, func(at harness.Served) ([]Step, error) {
		return calls(ctx,
			call{from: pod(w.N1, w.N1.P1), to: at.ClusterIP, name: "cluster IP", fate: harness.Refused},
			call{from: pod(w.N1, w.N1.P2), to: at.ClusterIP, name: "cluster IP", fate: harness.Refused},
			call{from: process(w.N1), to: at.ClusterIP, name: "cluster IP", fate: harness.Refused},
			call{from: abroadAt(w, "internet", internet), to: netip.AddrPortFrom(w.N1.Public, at.NodePort), name: "node port of n1", fate: harness.Refused},
			call{from: abroadAt(w, "peer", peer), to: netip.AddrPortFrom(w.N1.Primary, at.NodePort), name: "node port of n1", fate: harness.Refused})
	})
	if err != nil {
		return steps, err
	}
	s.Local, s.Pods = true, []*harness.Pod{w.N2.P1}
	more, err := with(ctx, w, s, func(at harness.Served) ([]Step, error) {
		return calls(ctx, call{from: abroadAt(w, "peer", peer), to: netip.AddrPortFrom(w.N1.Primary, at.NodePort),
			name: "node port of n1, policy Local", fate: harness.Silence})
	})
	return append(steps, more...), err
}

// sticky is the affinity's timeout of W25.
const sticky = 2 * time.Second

// affinity: each client stays with one endpoint; after the timeout the clients
// choose anew. That all of them choose the same again is one chance in 4^5 for
// each of two rounds.
func affinity(ctx context.Context, w *World) ([]Step, error) {
	s := spread(w, "w25")
	s.Affinity = sticky
	return with(ctx, w, s, func(at harness.Served) (steps []Step, err error) {
		clients := []client{pod(w.N1, w.N1.P1), pod(w.N1, w.N1.P2), pod(w.N2, w.N2.Other1), pod(w.N2, w.N2.Other2), process(w.N1)}
		var stuck []call
		for _, c := range clients {
			stuck = append(stuck, call{from: c, to: at.ClusterIP, name: "cluster IP, affinity", pods: s.Pods, count: Repeat, one: true})
		}
		if steps, err = calls(ctx, stuck...); err != nil {
			return steps, err
		}
		step, err := moves(ctx, clients, at.ClusterIP)
		return append(steps, step), err
	})
}

// moves waits for the timeout and looks whether a client has another endpoint.
func moves(ctx context.Context, clients []client, to netip.AddrPort) (Step, error) {
	step := Step{From: "all of them", To: "cluster IP " + sticky.String() + " later", Saw: "the same endpoints", Want: "another endpoint for one of them"}
	before, err := chosen(ctx, clients, to)
	if err != nil {
		return step, err
	}
	for range 2 {
		select {
		case <-time.After(sticky + 500*time.Millisecond):
		case <-ctx.Done():
			return step, ctx.Err()
		}
		after, err := chosen(ctx, clients, to)
		if err != nil {
			return step, err
		}
		moved := 0
		for i := range before {
			if before[i] != after[i] {
				moved++
			}
		}
		if moved > 0 {
			step.Saw, step.Want = "other endpoints", ""
			return step, nil
		}
	}
	return step, nil
}

// chosen are the endpoints of clients by TCP.
func chosen(ctx context.Context, clients []client, to netip.AddrPort) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, c := range clients {
		answers, err := c.Probe(ctx, "tcp", to, 1)
		if err != nil {
			return nil, err
		}
		out = append(out, answers[0].Local.Addr())
	}
	return out, nil
}

// relayPort is where the ingress controller listens in its pod.
const relayPort = 8080

func ingress(ctx context.Context, w *World) ([]Step, error) {
	backend := harness.Service{Name: "w26-backend", Pods: []*harness.Pod{w.N1.Other1, w.N2.P1, w.N2.P2}}
	return with(ctx, w, backend, func(behind harness.Served) (steps []Step, err error) {
		for _, controller := range []*harness.Pod{w.N1.P1, w.N1.P2} {
			end, err := controller.Relay(ctx, relayPort, behind.ClusterIP)
			if err != nil {
				return steps, err
			}
			defer end()
			front := harness.Service{Name: "w26-ingress", Pods: []*harness.Pod{controller}, Target: relayPort}
			more, err := with(ctx, w, front, func(at harness.Served) ([]Step, error) {
				var all []call
				for _, from := range []client{pod(w.N1, w.N1.Other2), pod(w.N2, w.N2.Other1)} {
					all = append(all, call{from: from, to: at.ClusterIP, name: "ingress " + controller.Name, protos: []string{"tcp", "http"},
						pods: backend.Pods, source: controller.IP})
				}
				return calls(ctx, all...)
			})
			if steps = append(steps, more...); err != nil {
				return steps, err
			}
		}
		return steps, nil
	})
}

// hostPorts calls ports of the node that lead to its pods.
func hostPorts(ctx context.Context, w *World) ([]Step, error) {
	var all []call
	for _, p := range []*harness.Pod{w.N1.P1, w.N1.P2} {
		port := uint16(p.HostPorts[0].HostPort)
		private, public := netip.AddrPortFrom(w.N1.Primary, port), netip.AddrPortFrom(w.N1.Public, port)
		for _, c := range []call{
			{from: pod(w.N1, w.N1.Other1), to: private},
			{from: pod(w.N1, w.N1.Other2), to: private},
			{from: pod(w.N2, w.N2.P1), to: private},
			{from: pod(w.N2, w.N2.P2), to: private},
			{from: process(w.N2), to: private},
			{from: abroadAt(w, "internet", internet), to: public},
			{from: abroadAt(w, "peer", peer), to: private},
		} {
			c.name, c.pods = "host port of "+p.Name, []*harness.Pod{p}
			all = append(all, c)
		}
	}
	return calls(ctx, all...)
}
