//go:build cluster

package stories

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// Ports of pods that are probed.
const (
	probedPort = 8090
	gatePort   = 8091 // where the gate says what kubelet asks for
)

// fill takes the addresses of the first node's primary ENI.
const fill = `apiVersion: apps/v1
kind: Deployment
metadata: {name: fill, namespace: %[1]s}
spec:
  replicas: 15
  selector: {matchLabels: {app: fill}}
  template:
    metadata: {labels: {app: fill}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %[2]s}
      terminationGracePeriodSeconds: 1
      containers: [{name: fill, image: %[3]s, args: [echo]}]
---
apiVersion: v1
kind: Service
metadata: {name: probed, namespace: %[1]s}
spec:
  type: LoadBalancer
  loadBalancerClass: example.com/own
  externalTrafficPolicy: Local
  selector: {app: probed}
  ports: [{port: 80, targetPort: %[4]d}]
`

// probedPod restarts soon if it is not alive, but is given time to start.
const probedPod = `apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s, labels: {app: probed}}
spec:
  nodeSelector: {kubernetes.io/hostname: %[3]s}
  hostNetwork: %[4]t
  terminationGracePeriodSeconds: 1
  containers:
  - name: probed
    image: %[5]s
    args: [echo, --listen, ":%[6]d"]
    startupProbe: {httpGet: {path: /live, port: %[7]d}, periodSeconds: 1, failureThreshold: 60}
    livenessProbe: {httpGet: {path: /live, port: %[7]d}, periodSeconds: 1, failureThreshold: 1}
    readinessProbe: {httpGet: {path: /ready, port: %[7]d}, periodSeconds: 1, failureThreshold: 1}
`

// gate answers kubelet's probes of a pod, in the pod's network.
type gate struct {
	end
	live, ready atomic.Bool
}

// probed is pods on either kind of ENI and on the node's network, with what
// their gates say.
type probed struct {
	story
	gates      []*gate
	client     end
	service    netip.AddrPort
	peer       end
	healthPort netip.AddrPort
}

// probes of kubelet reach pods wherever they are, and the services follow what
// comes of them.
func probes(s story) {
	node := s.cluster.Nodes[0]
	s.client("client", "  nodeSelector: {kubernetes.io/hostname: "+s.cluster.Nodes[1].Name+"}\n")
	w := probed{story: s, peer: s.end("peer", peerAddr, s.fromPlace("peer")), client: s.end("client", netip.Addr{}, s.fromPod("client"))}
	w.client.addr = netip.MustParseAddr(s.kubectl("get", "pod", "client", "-o", "jsonpath={.status.podIP}"))
	w.gates = append(w.gates, w.gate(node, "early", false), w.gate(node, "host", true))
	s.apply(fill, s.space, node.Name, kubernetes.ProbeImage, probedPort)
	s.kubectl("rollout", "status", "deployment/fill", "--timeout=3m")
	w.gates = append(w.gates, w.secondary(node))
	w.service = at(netip.MustParseAddr(s.kubectl("get", "service", "probed", "-o", "jsonpath={.spec.clusterIP}")))
	w.healthPort = netip.AddrPortFrom(node.Addr, s.healthPort("probed"))
	w.readiness()
	w.liveness()
}

// secondary makes a pod on another ENI than the primary one, of which earlier
// pods may have given addresses back meanwhile.
func (w probed) secondary(node *kubernetes.Node) *gate {
	w.Helper()
	for replicas := 30; ; replicas += 15 {
		g := w.gate(node, "secondary", false)
		status, err := w.cluster.Control.Status(w.ctx)
		if err != nil {
			w.Fatal(err)
		}
		if !slices.ContainsFunc(status.Nodes, func(n control.NodeStatus) bool { return slices.Contains(n.Interfaces[0].Addresses, g.addr) }) {
			return g
		}
		if replicas > 45 {
			w.Fatalf("pod secondary is on the primary ENI, beside 45 others")
		}
		w.kubectl("delete", "pod", "secondary")
		w.kubectl("scale", "deployment/fill", fmt.Sprint("--replicas=", replicas))
		w.kubectl("rollout", "status", "deployment/fill", "--timeout=3m")
	}
}

// gate makes a pod and opens its gate, as soon as the pod has a network.
func (w probed) gate(node *kubernetes.Node, name string, host bool) *gate {
	w.Helper()
	w.apply(probedPod, name, w.space, node.Name, host, kubernetes.ProbeImage, probedPort, gatePort)
	g := &gate{}
	w.eventually("a network for pod "+name, func() error {
		addr, err := netip.ParseAddr(w.kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}"))
		g.end = end{name: name, addr: addr}
		return err
	})
	g.netns = w.fromPod(name)
	w.Cleanup(func() { g.netns.Close() })
	var listener net.Listener
	err := cluster.Within(fmt.Sprintf("/proc/self/fd/%d", g.netns.Fd()), func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf(":%d", gatePort))
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	server := http.Server{Handler: http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if open := map[string]bool{"/live": g.live.Load(), "/ready": g.ready.Load()}; !open[r.URL.Path] {
			out.WriteHeader(http.StatusServiceUnavailable)
		}
	})}
	done := make(chan struct{})
	go func() { _ = server.Serve(listener); close(done) }() // until it is closed
	w.Cleanup(func() { server.Close(); <-done })
	g.live.Store(true)
	return g
}

// readiness takes each pod out of the service and puts it back.
func (w probed) readiness() {
	w.serve()
	for _, g := range w.gates {
		g.ready.Store(true)
	}
	w.serve(w.gates...)
	for i, g := range w.gates {
		g.ready.Store(false)
		w.serve(slices.Delete(slices.Clone(w.gates), i, i+1)...)
		g.ready.Store(true)
	}
	w.serve(w.gates...)
}

// liveness lets all pods be restarted.
func (w probed) liveness() {
	for _, g := range w.gates {
		g.live.Store(false)
	}
	for _, g := range w.gates {
		w.kubectl("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/"+g.name, "--timeout=1m")
		g.live.Store(true)
	}
	w.serve(w.gates...)
}

// serve waits until these pods serve, and then wants no request to reach
// another one; the health check node port says whether there is any.
func (w probed) serve(gates ...*gate) {
	w.Helper()
	names := []string{}
	c := call{from: w.client, name: "pods that are ready", to: w.service, protos: []string{"tcp"}, fate: harness.Refused, count: 1,
		sources: []netip.Addr{w.client.addr}}
	code := http.StatusServiceUnavailable
	for _, g := range gates {
		names = append(names, g.name)
		c.reaches, c.fate, code = append(c.reaches, g.end), harness.Answered, http.StatusOK
	}
	c.count = max(15*len(gates), 1)
	w.eventually("requests to "+strings.Join(names, ", "), func() error {
		answers, err := w.ask(c, "tcp", c.count)
		if err != nil {
			return err
		}
		saw, wrong := c.judge(answers)
		if len(wrong) > 0 {
			return fmt.Errorf("%s; want: %s", saw, strings.Join(wrong, "; "))
		}
		if got, err := w.status(w.peer, w.healthPort, "/healthz"); got != code {
			return fmt.Errorf("the health check node port says %d (%v), want %d", got, err, code)
		}
		return nil
	})
	w.calls(c)
}
