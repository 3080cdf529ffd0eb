//go:build cluster

package stories

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// balanced is who walks.
type balanced struct {
	story
	n1, n2         site
	internet, peer end
}

// balancers are the walks by load balancers, and to their addresses.
func balancers(s story) {
	lab := harness.Lab{Control: s.cluster.Control}
	dropped, err := lab.SourceCheckDrops(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	w := balanced{story: s, internet: s.end("internet", internetAddr, s.fromPlace("internet")), peer: s.end("peer", peerAddr, s.fromPlace("peer"))}
	w.n1, w.n2 = s.cast()
	for label, pods := range map[string][]end{"site=n1": {w.n1.p1, w.n1.p2}, "site=n2": {w.n2.p1, w.n2.p2}, "eni=secondary": {w.n1.p2, w.n2.p2}} {
		for _, p := range pods {
			s.kubectl("label", "pod", p.name, label)
		}
	}
	s.apply(fronts, s.space, prompt, both, w.n1.p1.addr)
	for _, walk := range []func(){w.instances, w.policyLocal, w.pods, w.ingresses, w.addresses, w.gone} {
		walk()
	}
	now, err := lab.SourceCheckDrops(s.ctx)
	if err != nil || now != dropped {
		s.Errorf("the fabric has dropped %d packets that left by a wrong ENI (%v), want none", now-dropped, err)
	}
	s.number("packets that left by a wrong ENI", float64(now-dropped), "")
}

// instances are W18: both nodes serve though only one has endpoints.
func (w balanced) instances() {
	other := w.kubectl("get", "node", w.n2.self.name, "-o", `jsonpath={.metadata.labels.topology\.kubernetes\.io/zone}`)
	for _, z := range w.balancer("service", "w18", everyTarget).Zones {
		node := w.n1
		if z.Zone == other {
			node = w.n2
		}
		for _, c := range []call{{from: w.internet, to: at(z.Public)}, {from: w.peer, to: at(z.Address)}} {
			c.name, c.reaches, c.sources = "instances in "+z.Zone, []end{w.n2.p1, w.n2.p2}, []netip.Addr{node.self.addr}
			w.calls(c)
		}
	}
}

// policyLocal is W19: the health check finds the node that has endpoints.
func (w balanced) policyLocal() {
	b := w.balancer("service", "w19", func(t control.TargetHealth) bool { return t.Endpoint.Addr() == w.n1.self.addr })
	for _, z := range b.Zones {
		w.calls(call{from: w.internet, name: "instances, policy Local", to: at(z.Public), reaches: []end{w.n1.p1, w.n1.p2}})
	}
	port := w.healthPort("w19")
	for node, want := range map[netip.Addr]int{w.n1.self.addr: http.StatusOK, w.n2.self.addr: http.StatusServiceUnavailable} {
		if got, err := w.status(w.peer, netip.AddrPortFrom(node, port), "/healthz"); got != want {
			w.Errorf("the health check port of %s says %d (%v), want %d", node, got, err, want)
		}
	}
}

// pods are W20 and W21. What a pod or a node sends to the public address of a
// balancer leaves the VPC, and comes back from the public address of the node.
func (w balanced) pods() {
	inside := []end{w.n2.p1, w.n2.p2, w.n2.self}
	for _, z := range w.balancer("service", "w20", everyTarget).Zones {
		for _, from := range append(inside, w.internet) {
			w.calls(call{from: from, name: "pods", to: at(z.Public), protos: []string{"tcp"}, reaches: []end{w.n1.p1, w.n1.p2}, sources: []netip.Addr{z.Address}})
		}
	}
	for _, z := range w.balancer("service", "w21", everyTarget).Zones {
		for _, from := range inside {
			w.calls(call{from: from, name: "a pod, client kept", to: at(z.Public), reaches: []end{w.n1.p2}, sources: []netip.Addr{w.n2.public}})
		}
		w.calls(
			call{from: w.internet, name: "a pod, client kept", to: at(z.Public), reaches: []end{w.n1.p2}},
			call{from: w.peer, name: "a pod, client kept", to: at(z.Address), reaches: []end{w.n1.p2}})
	}
}

// ingresses are W22.
func (w balanced) ingresses() {
	for _, z := range w.balancer("ingress", "w22", everyTarget).Zones {
		w.calls(call{from: w.internet, name: "ingress to pods", to: at(z.Public), protos: []string{"http"}, reaches: []end{w.n1.p1, w.n1.p2},
			sources: []netip.Addr{z.Address}})
	}
	for _, z := range w.balancer("ingress", "w22-nodes", everyTarget).Zones {
		w.calls(call{from: w.internet, name: "ingress to node ports", to: at(z.Public), protos: []string{"http"}, reaches: []end{w.n2.p2},
			sources: []netip.Addr{w.n1.self.addr, w.n2.self.addr}})
	}
}

// addresses are W23: nobody has those that the status tells, so that only a node
// can know what to do. With policy Local a pod's address is not translated.
func (w balanced) addresses() {
	for i, service := range []string{"w23", "w23-local", "w23-narrow"} {
		address := netip.AddrFrom4([4]byte{192, 0, 2, byte(80 + i)})
		w.kubectl("patch", "service", service, "--subresource=status", "--type=merge", "-p", fmt.Sprintf(`{"status": {"loadBalancer": {"ingress": [{"ip": "%s"}]}}}`, address))
		for _, from := range []end{w.n1.p1, w.n1.p2, w.n1.self} {
			c := call{from: from, name: service, to: at(address), reaches: []end{w.n2.p1, w.n2.p2}, sources: w.n1.own}
			switch {
			case service == "w23-local" && from.addr != w.n1.self.addr:
				c.sources = nil
			case service == "w23-narrow" && from.addr != w.n1.p1.addr:
				c.reaches, c.fate = nil, harness.Silence
			}
			w.calls(c)
		}
	}
}

// gone wants load balancers to go with their objects.
func (w balanced) gone() {
	w.kubectl("delete", "services,ingresses", "--all")
	w.eventually("the end of the load balancers", func() error {
		left, err := w.cluster.Control.Balancers(w.ctx)
		if err != nil || len(left) > 0 {
			return fmt.Errorf("%d are left: %w", len(left), err)
		}
		return nil
	})
}

// at is where load balancers listen.
func at(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, 80) }

func everyTarget(control.TargetHealth) bool { return true }

// balancer waits until the status of a service or an ingress has the addresses
// of its load balancer, whose targets are as they should be.
func (s story) balancer(kind, name string, healthy func(control.TargetHealth) bool) (found control.BalancerStatus) {
	s.Helper()
	s.eventually("load balancer of "+kind+" "+name, func() error {
		told := s.kubectl("get", kind, name, "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}")
		all, err := s.cluster.Control.Balancers(s.ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(b control.BalancerStatus) bool {
			var public []string
			for _, z := range b.Zones {
				public = append(public, z.Public.String())
			}
			return strings.Join(public, " ") == told
		})
		if i < 0 {
			return fmt.Errorf("none has the addresses %q", told)
		}
		found = all[i]
		targets, err := s.cluster.Control.TargetHealth(s.ctx, found.Name)
		if err != nil || len(targets) == 0 {
			return fmt.Errorf("%d targets: %w", len(targets), err)
		}
		for _, t := range targets {
			if want := map[bool]string{true: "healthy", false: "unhealthy"}[healthy(t)]; t.State != want {
				return fmt.Errorf("target %s of group %s is %s (%s), want %s", t.Endpoint, t.Group, t.State, t.Description, want)
			}
		}
		return nil
	})
	return found
}

// healthPort is the one at which nodes say whether they have endpoints.
func (s story) healthPort(service string) (port uint16) {
	s.Helper()
	if _, err := fmt.Sscan(s.kubectl("get", "service", service, "-o", "jsonpath={.spec.healthCheckNodePort}"), &port); err != nil {
		s.Fatalf("health check port of service %s: %v", service, err)
	}
	return port
}

// status asks over HTTP for a path, and returns the status of the answer.
func (s story) status(from end, to netip.AddrPort, path string) (int, error) {
	client := http.Client{Timeout: patience, Transport: &http.Transport{DialContext: from.dial(), DisableKeepAlives: true}}
	response, err := client.Get("http://" + to.String() + path)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// dial opens connections from the end.
func (e end) dial() func(context.Context, string, string) (net.Conn, error) {
	return cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", e.netns.Fd()))
}
