//go:build cluster

package stories

import (
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// Hosts beyond the VPC.
var (
	internetAddr = netip.MustParseAddr("203.0.113.10")
	peerAddr     = netip.MustParseAddr("172.31.0.10")
)

// Ports of the walks' services: node ports from the range that is not given out.
const (
	spreadPort, farPort, nobodyPort = 30013, 30017, 30024
	firstHostPort                   = 8101
	relayPort                       = 8080
	sticky                          = 2 * time.Second
	lots                            = 200 // connections, to judge shares
)

// stage is who walks and where to.
type stage struct {
	story
	n1, n2                 site
	onHost, internet, peer end
	spread                 []end // endpoints on either kind of ENI of both nodes
}

// walks are the ways of packets through services of a cluster; those from
// outside through balancers are another story.
func walks(s story) {
	s.hostPortPod("host-early", firstHostPort, "")
	s.client("on-host", "  hostNetwork: true\n")
	w := stage{story: s}
	w.n1, w.n2 = s.cast()
	w.spread = []end{w.n1.other1, w.n1.other2, w.n2.p1, w.n2.p2}
	w.internet, w.peer = s.end("internet", internetAddr, s.fromPlace("internet")), s.end("peer", peerAddr, s.fromPlace("peer"))
	w.onHost = s.end("on-host", netip.MustParseAddr(s.kubectl("get", "pod", "on-host", "-o", "jsonpath={.status.hostIP}")), s.fromPod("on-host"))
	w.serve()
	for _, walk := range []func(){w.clusterIPs, w.hairpin, w.nodePorts, w.policies, w.noEndpoints, w.affinity, w.ingress, w.hostPorts} {
		walk()
	}
}

// serve applies the services, each with its endpoints from the start.
func (w stage) serve() {
	w.Helper()
	label := func(label string, pods ...end) {
		args := []string{"label", "pods"}
		for _, p := range pods {
			args = append(args, p.name)
		}
		w.kubectl(append(args, label)...)
	}
	label("spread=yes", w.spread...)
	label("far=yes", w.n2.other1, w.n2.other2)
	label("self=primary", w.n1.p1)
	label("self=secondary", w.n1.p2)
	ports := func(number string) string {
		return fmt.Sprintf("ports: [{name: tcp, port: 80, protocol: TCP%[1]s}, {name: udp, port: 80, protocol: UDP%[1]s}]", number)
	}
	on := func(port int) string { return ports(fmt.Sprintf(", nodePort: %d", port)) }
	relays := fmt.Sprintf("ports: [{port: 80, targetPort: %d}]", relayPort)
	for name, spec := range map[string]string{
		"spread":            "type: NodePort, selector: {spread: 'yes'}, " + on(spreadPort),
		"far":               "type: NodePort, externalTrafficPolicy: Local, selector: {far: 'yes'}, " + on(farPort),
		"nobody":            "type: NodePort, selector: {nobody: 'yes'}, " + on(nobodyPort),
		"near":              "internalTrafficPolicy: Local, selector: {far: 'yes'}, " + ports(""),
		"sticky":            fmt.Sprintf("sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: %.0f}}, selector: {spread: 'yes'}, ", sticky.Seconds()) + ports(""),
		"self-primary":      "selector: {self: primary}, " + ports(""),
		"self-secondary":    "selector: {self: secondary}, " + ports(""),
		"ingress-primary":   "selector: {self: primary}, " + relays,
		"ingress-secondary": "selector: {self: secondary}, " + relays,
	} {
		w.apply("{apiVersion: v1, kind: Service, metadata: {name: %s, namespace: %s}, spec: {%s}}", name, w.space, spec)
	}
}

// at is a service's cluster IP.
func (w stage) at(service string) netip.AddrPort {
	w.Helper()
	return netip.AddrPortFrom(netip.MustParseAddr(w.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")), 80)
}

// clusterIPs are W13 and W14.
func (w stage) clusterIPs() {
	at := w.at("spread")
	for _, from := range []end{w.n1.p1, w.n1.p2, w.onHost} {
		w.calls(call{from: from, name: "cluster IP", to: at, reaches: w.spread, count: lots, shares: true})
	}
}

// hairpin is W15: a pod cannot answer itself under its own address, so the node
// translates.
func (w stage) hairpin() {
	for service, pod := range map[string]end{"self-primary": w.n1.p1, "self-secondary": w.n1.p2} {
		w.calls(call{from: pod, name: "itself", to: w.at(service), reaches: []end{pod}, sources: []netip.Addr{w.n1.self.addr}})
	}
}

// nodePorts answer on the addresses by which nodes know each other, the public
// ones, and to a node's own pods on those of all its ENIs. Endpoints see the
// node, or the ENI by which the node passes on what a pod of its own sends.
func (w stage) nodePorts() {
	from := []end{w.n1.p1, w.n1.p2, w.n1.self}
	for _, n := range []site{w.n1, w.n2} {
		private := netip.AddrPortFrom(n.self.addr, spreadPort)
		w.calls(
			call{from: w.internet, name: "node port", to: netip.AddrPortFrom(n.public, spreadPort), reaches: w.spread, sources: n.own[:1]},
			call{from: w.peer, name: "node port", to: private, reaches: w.spread, sources: n.own[:1]})
		for _, e := range from {
			w.calls(call{from: e, name: "node port", to: private, reaches: w.spread, sources: n.own})
		}
	}
	for _, addr := range w.n1.own[1:] {
		for _, e := range from {
			w.calls(call{from: e, name: "node port of another ENI", to: netip.AddrPortFrom(addr, spreadPort), reaches: w.spread, sources: w.n1.own})
		}
	}
}

// policies of services whose endpoints are on the second node only, and W17.
func (w stage) policies() {
	far, near := []end{w.n2.other1, w.n2.other2}, w.at("near")
	w.calls(
		call{from: w.internet, name: "node port, policy Local", to: netip.AddrPortFrom(w.n2.public, farPort), reaches: far},
		call{from: w.peer, name: "node port, policy Local", to: netip.AddrPortFrom(w.n2.self.addr, farPort), reaches: far},
		call{from: w.internet, name: "node port, policy Local, none here", to: netip.AddrPortFrom(w.n1.public, farPort), fate: harness.Silence},
		call{from: w.peer, name: "node port, policy Local, none here", to: netip.AddrPortFrom(w.n1.self.addr, farPort), fate: harness.Silence},
		call{from: w.n2.p1, name: "cluster IP, policy Local", to: near, reaches: far},
		call{from: w.n2.p2, name: "cluster IP, policy Local", to: near, reaches: far},
		call{from: w.n2.self, name: "cluster IP, policy Local", to: near, reaches: far},
		call{from: w.n1.p1, name: "cluster IP, policy Local, none here", to: near, fate: harness.Silence},
		call{from: w.n1.p2, name: "cluster IP, policy Local, none here", to: near, fate: harness.Silence},
		call{from: w.n1.self, name: "cluster IP, policy Local, none here", to: near, fate: harness.Silence})
}

// noEndpoints is W24, but for policy Local.
func (w stage) noEndpoints() {
	at := w.at("nobody")
	for _, from := range []end{w.n1.p1, w.n1.p2, w.onHost} {
		w.calls(call{from: from, name: "no endpoints", to: at, fate: harness.Refused})
	}
	w.calls(
		call{from: w.internet, name: "node port, no endpoints", to: netip.AddrPortFrom(w.n1.public, nobodyPort), fate: harness.Refused},
		call{from: w.peer, name: "node port, no endpoints", to: netip.AddrPortFrom(w.n1.self.addr, nobodyPort), fate: harness.Refused})
}

// affinity is W25: each client stays with one endpoint; after the timeout the
// clients choose anew. That all of them choose the same again is one chance in
// 4^5 for each round.
func (w stage) affinity() {
	at, clients := w.at("sticky"), []end{w.n1.p1, w.n1.p2, w.n2.other1, w.n2.other2, w.onHost}
	for _, from := range clients {
		w.calls(call{from: from, name: "affinity", to: at, reaches: w.spread, count: 20, one: true})
	}
	chosen := func() (all []netip.Addr) {
		for _, from := range clients {
			answers, err := w.ask(call{from: from, to: at}, "tcp", 1)
			if err != nil || answers[0].Fate() != harness.Answered {
				w.Fatalf("%s -> affinity %s: %v, %v", from.name, at, answers, err)
			}
			all = append(all, answers[0].Local.Addr())
		}
		return all
	}
	before := chosen()
	for range 3 {
		time.Sleep(sticky + time.Second/2)
		if !slices.Equal(before, chosen()) {
			return
		}
	}
	w.Errorf("after %s all clients have the endpoints that they had, %s; want another for one of them", sticky, before)
}

// ingress is W26: the backends see the controller's address, not the client's.
func (w stage) ingress() {
	backends := w.at("spread")
	for service, controller := range map[string]end{"ingress-primary": w.n1.p1, "ingress-secondary": w.n1.p2} {
		relay := exec.CommandContext(w.ctx, w.cluster.KubectlPath(), "--kubeconfig", w.cluster.Kubeconfig(), "-n", w.space,
			"exec", controller.name, "--", "vpcsim", "relay", "--listen", fmt.Sprintf(":%d", relayPort), "--to", backends.String())
		if err := relay.Start(); err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = relay.Process.Kill(); _ = relay.Wait() })
		for _, from := range []end{w.n1.other2, w.n2.other1} {
			w.calls(call{from: from, name: "ingress", to: w.at(service), protos: []string{"tcp", "http"}, reaches: w.spread,
				sources: []netip.Addr{controller.addr}})
		}
	}
}

// hostPortPod is a pod of the first node with a host port, by TCP and by UDP.
func (s story) hostPortPod(name string, port int, hostIP string) {
	s.Helper()
	s.apply(`apiVersion: v1
kind: Pod
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  terminationGracePeriodSeconds: 1
  nodeSelector: {kubernetes.io/hostname: %[3]s}
  containers:
  - name: echo
    image: %[4]s
    args: [echo, --listen, ":80"]
    ports:
    - {containerPort: 80, hostPort: %[5]d, protocol: TCP, hostIP: %[6]q}
    - {containerPort: 80, hostPort: %[5]d, protocol: UDP, hostIP: %[6]q}
`, name, s.space, s.cluster.Nodes[0].Name, kubernetes.ProbeImage, port, hostIP)
}

// hostPorts is W27: pods that came before and after those of the services, one
// that has the port on the node's own address, and one on the loopback device.
func (w stage) hostPorts() {
	ports := []struct{ name, hostIP string }{{"host-early", ""}, {"host-late", ""}, {"host-own", w.n1.self.addr.String()}, {"host-loopback", "127.0.0.1"}}
	for i, p := range ports[1:] {
		w.hostPortPod(p.name, firstHostPort+1+i, p.hostIP)
	}
	for i, p := range ports {
		w.kubectl("wait", "--for=condition=Ready", "pod/"+p.name, "--timeout=1m")
		pod := w.end(p.name, netip.MustParseAddr(w.kubectl("get", "pod", p.name, "-o", "jsonpath={.status.podIP}")), w.fromPod(p.name))
		port := uint16(firstHostPort + i)
		private, public := netip.AddrPortFrom(w.n1.self.addr, port), netip.AddrPortFrom(w.n1.public, port)
		if p.hostIP == "127.0.0.1" {
			w.calls(
				call{from: w.n1.self, name: p.name, to: netip.AddrPortFrom(netip.MustParseAddr(p.hostIP), port), reaches: []end{pod}, sources: w.n1.own[:1]},
				call{from: w.n1.p1, name: p.name, to: private, fate: harness.Refused},
				call{from: w.internet, name: p.name, to: public, fate: harness.Refused})
			continue
		}
		for _, from := range []end{w.n1.p1, w.n1.p2, w.n1.self, w.n2.p1, w.n2.p2, w.n2.self, w.peer} {
			w.calls(call{from: from, name: p.name, to: private, reaches: []end{pod}})
		}
		w.calls(
			call{from: pod, name: p.name, to: private, reaches: []end{pod}, sources: w.n1.own[:1]},
			call{from: w.internet, name: p.name, to: public, reaches: []end{pod}})
	}
}
