package trace

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

const (
	balancer   = "203.0.113.100" // a load balancer's address, in a status
	customer   = "198.51.100.9"  // outside, within the source ranges
	healthPort = 31000
)

// web is a service at vip:80 with endpoints at port 8080: those that are pods
// of testNode are local.
func web(endpoints string, edits ...func(*service.Service)) *service.Tracker {
	key := service.Key{Namespace: "ns", Name: "web"}
	s := service.Service{
		Key: key, Type: service.ClusterIP, ClusterIPs: []netip.Addr{addr(vip)},
		Ports: []service.Port{{Protocol: service.TCP, Port: 80}},
	}
	for _, edit := range edits {
		edit(&s)
	}
	slice := service.EndpointSlice{
		Key: key, Service: "web", Family: service.IPv4,
		Ports: []service.EndpointPort{{Protocol: s.Ports[0].Protocol, Port: 8080}},
	}
	for _, word := range strings.Fields(endpoints) {
		e := service.Endpoint{Addr: addr(word), Ready: true, Serving: true}
		if word != far {
			e.Node = "here"
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	t := service.NewTracker()
	t.SetNode(service.Node{Name: "here"})
	t.SetService(s)
	t.SetSlice(slice)
	return t
}

func balanced(s *service.Service) {
	s.Type, s.Ports[0].NodePort = service.LoadBalancer, 30080
	s.Ingress = []service.Ingress{{Addr: addr(balancer)}}
}

func local(s *service.Service) {
	balanced(s)
	s.External, s.HealthCheckNodePort = service.Local, healthPort
}

func ranges(s *service.Service) {
	balanced(s)
	s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
}

func rangesWithNode(s *service.Service) {
	ranges(s)
	s.SourceRanges = append(s.SourceRanges, netip.MustParsePrefix(node0+"/32"))
}

func internalLocal(s *service.Service) { s.Internal = service.Local }
func udp(s *service.Service)           { s.Ports[0].Protocol = service.UDP }
func sticky(s *service.Service)        { s.Affinity = time.Hour }

// serviceNode has the rules of services before those of external SNAT.
func serviceNode(t *testing.T, tr *service.Tracker, edit func(*ruleset.NodeNAT), more ...service.ServicePort) Node {
	t.Helper()
	settings := ruleset.Settings{
		Family: service.IPv4, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"},
		NodeAddrs: []netip.Addr{addr(node0)}, DropInvalid: true,
	}
	var rules []ruleset.ServiceRules
	for _, k := range tr.Services() {
		ports, err := tr.Resolve(k)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			rules = append(rules, ruleset.Compile(p, settings))
		}
	}
	for _, p := range more {
		rules = append(rules, ruleset.Compile(p, settings))
	}
	n := testNode(edit)
	n.Rules = slices.Concat(ruleset.Services(settings, rules), n.Rules)
	return n
}

// TestServiceWalks holds all that can become of a connection's first packet,
// and the way of a later packet and of the answer, for the first endpoint.
func TestServiceWalks(t *testing.T) {
	all := strings.Join([]string{pod1, far, pod2}, " ")
	to := func(src, pod, out string) string { return src + " -> " + pod + ":8080 by " + out }
	tests := []struct {
		walk    string
		tracker *service.Tracker
		edit    func(*ruleset.NodeNAT)
		in      string
		src     string
		dst     string
		port    uint16
		fates   []string
		from    string // link that the answer comes in by
		reply   string
	}{
		{"W13 pod on the secondary to ClusterIP", web(all), asIs, "eni2", pod2, vip, 80,
			[]string{to(pod2, pod1, "eni1"), to(node0, pod2, "eni2"), to(pod2, far, "eth1")}, "eni1", vip + " -> " + pod2 + " by eni2"},
		{"W13 with external SNAT off the node", web(far), external, "eni2", pod2, vip, 80,
			[]string{to(pod2, far, "eth1")}, "eth1", vip + " -> " + pod2 + " by eni2"},
		{"W13 another port of the ClusterIP goes by", web(all), asIs, "eni1", pod1, vip, 81,
			[]string{node0 + " -> " + vip + ":81 by eth0 marked"}, "", ""},
		{"W13 internal policy Local", web(all, internalLocal), asIs, "eni2", pod2, vip, 80,
			[]string{to(pod2, pod1, "eni1"), to(node0, pod2, "eni2")}, "eni1", vip + " -> " + pod2 + " by eni2"},
		{"W13 from outside to ClusterIP", web(far), asIs, "eth0", outside, vip, 80,
			[]string{to(node0, far, "eth0")}, "eth0", vip + " -> " + outside + " by eth0"},
		{"W14 node to ClusterIP", web(all), asIs, "", node0, vip, 80,
			[]string{to(node0, pod1, "eni1"), to(node0, pod2, "eni2"), to(node0, far, "eth0")}, "eni1", vip + " -> " + node0 + " by local"},
		{"W15 hairpin", web(pod2), asIs, "eni2", pod2, vip, 80,
			[]string{to(node0, pod2, "eni2")}, "eni2", vip + " -> " + pod2 + " by eni2"},
		{"W16 node port, endpoints everywhere", web(all, balanced), asIs, "eth0", outside, node0, 30080,
			[]string{to(node0, pod1, "eni1"), to(node0, pod2, "eni2"), to(node0, far, "eth0")}, "eni1", node0 + " -> " + outside + " by eth0 marked"},
		{"W16 node port, endpoint on the secondary", web(pod2, balanced), asIs, "eth0", outside, node0, 30080,
			[]string{to(node0, pod2, "eni2")}, "eni2", node0 + " -> " + outside + " by eth0 marked"},
		{"W16 pod to its node's port", web(far, balanced), asIs, "eni2", pod2, node0, 30080,
			[]string{to(node1, far, "eth1")}, "eth1", node0 + " -> " + pod2 + " by eni2"},
		{"W17 node port, policy Local", web(all, local), asIs, "eth0", outside, node0, 30080,
			[]string{to(outside, pod1, "eni1"), to(outside, pod2, "eni2")}, "eni1", node0 + " -> " + outside + " by eth0 marked"},
		{"W17 on the secondary", web(pod2, local), external, "eth0", outside, node0, 30080,
			[]string{to(outside, pod2, "eni2")}, "eni2", node0 + " -> " + outside + " by eth0 marked"},
		{"W17 none here", web(far, local), asIs, "eth0", outside, node0, 30080, []string{Dropped}, "", ""},
		{"W17 none here, from a pod", web(far, local), asIs, "eni1", pod1, node0, 30080,
			[]string{to(pod1, far, "eth0")}, "eth0", node0 + " -> " + pod1 + " by eni1"},
		{"W17 none here, from the node", web(far, local), asIs, "", node0, node0, 30080,
			[]string{to(node0, far, "eth0")}, "eth0", node0 + " -> " + node0 + " by local"},
		{"W18 balanced to a node without endpoint", web(far, balanced), asIs, "eth0", outside, node0, 30080,
			[]string{to(node0, far, "eth0")}, "eth0", node0 + " -> " + outside + " by eth0"},
		{"W19 health check port", web(all, local), asIs, "eth0", outside, node0, healthPort,
			[]string{outside + " -> " + node0 + ":31000 by local"}, "", ""},
		{"W19 balanced, policy Local", web(pod1, local), asIs, "eth0", outside, node0, 30080,
			[]string{to(outside, pod1, "eni1")}, "eni1", node0 + " -> " + outside + " by eth0 marked"},
		{"W23 pod to the balancer's address", web(all, balanced), asIs, "eni1", pod1, balancer, 80,
			[]string{to(node0, pod1, "eni1"), to(node0, pod2, "eni2"), to(node0, far, "eth0")}, "eni1", balancer + " -> " + pod1 + " by eni1"},
		{"W23 pod to the balancer's address, policy Local", web(far, local), asIs, "eni1", pod1, balancer, 80,
			[]string{to(pod1, far, "eth0")}, "eth0", balancer + " -> " + pod1 + " by eni1"},
		{"W23 source outside the ranges", web(all, ranges), asIs, "eni1", pod1, balancer, 80, []string{Dropped}, "", ""},
		{"W23 node outside the ranges", web(all, ranges), asIs, "", node0, balancer, 80, []string{Dropped}, "", ""},
		{"W23 node within the ranges", web(far, rangesWithNode), asIs, "", node0, balancer, 80,
			[]string{to(node0, far, "eth0")}, "eth0", balancer + " -> " + node0 + " by local"},
		{"W23 customer within the ranges", web(far, ranges), asIs, "eth0", customer, balancer, 80,
			[]string{to(node0, far, "eth0")}, "eth0", balancer + " -> " + customer + " by eth0"},
		{"W23 ranges do not bind node ports", web(far, ranges), asIs, "eth0", outside, node0, 30080,
			[]string{to(node0, far, "eth0")}, "eth0", node0 + " -> " + outside + " by eth0"},
		{"W24 pod to ClusterIP", web("", balanced), asIs, "eni2", pod2, vip, 80, []string{Rejected}, "", ""},
		{"W24 node to ClusterIP", web("", balanced), asIs, "", node0, vip, 80, []string{Rejected}, "", ""},
		{"W24 outside to node port", web("", balanced), asIs, "eth0", outside, node0, 30080, []string{Rejected}, "", ""},
		{"W24 pod to node port", web("", balanced), asIs, "eni2", pod2, node0, 30080, []string{Rejected}, "", ""},
		{"W24 pod to the balancer's address", web("", balanced), asIs, "eni2", pod2, balancer, 80, []string{Rejected}, "", ""},
		{"W24 internal policy Local, none here", web(far, internalLocal), asIs, "eni2", pod2, vip, 80, []string{Dropped}, "", ""},
		{"W24 the other protocol goes by", web("", udp), external, "eni2", pod2, vip, 80,
			[]string{pod2 + " -> " + vip + ":80 by eth1"}, "", ""},
	}
	for _, test := range tests {
		t.Run(test.walk, func(t *testing.T) {
			n := serviceNode(t, test.tracker, test.edit)
			p := Packet{In: test.in, Src: addr(test.src), Dst: addr(test.dst), Protocol: "tcp", Port: test.port}
			fates, err := n.Fates(p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.fates, texts(fates)); diff != "" {
				t.Fatalf("fates (-want +got):\n%s\nthe first after %s", diff, strings.Join(fates[0].Path, "\n      "))
			}
			if test.from == "" {
				return
			}
			conn, first, err := n.Open(p)
			if err != nil {
				t.Fatal(err)
			}
			next, err := conn.Next(test.in)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "later packet", next, first.String())
			reply, err := conn.Reply(test.from)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "answer", reply, test.reply)
		})
	}
}

func texts(fates []Fate) []string {
	var all []string
	for _, f := range fates {
		all = append(all, f.String())
	}
	return all
}

// TestAffinity is W25: a client that was seen stays, by whatever front end it
// comes, until its time is over; another one is free.
func TestAffinity(t *testing.T) {
	n := serviceNode(t, web(pod1+" "+far, balanced, sticky), asIs)
	n.Lists = map[string]map[netip.Addr]bool{}
	open := func(p Packet, l *luck) string {
		t.Helper()
		_, fate, err := n.open(p, l)
		if err != nil {
			t.Fatal(err)
		}
		return fate.Dst.String()
	}
	toVIP := Packet{In: "eth0", Src: addr(outside), Dst: addr(vip), Protocol: "tcp", Port: 80}
	toNode := Packet{In: "eth0", Src: addr(outside), Dst: addr(node0), Protocol: "tcp", Port: 30080}
	other := toVIP
	other.Src = addr(customer)
	last := func() *luck { return &luck{choices: []bool{false}} }

	if got := open(toVIP, last()); got != far {
		t.Fatalf("first connection: %s, want the last endpoint %s", got, far)
	}
	for _, p := range []Packet{toVIP, toNode} {
		if got := open(p, &luck{}); got != far {
			t.Errorf("again to %s: %s, want to stay with %s", p.Dst, got, far)
		}
	}
	if got := open(other, &luck{}); got != pod1 {
		t.Errorf("another client: %s, want the first endpoint %s", got, pod1)
	}
	clear(n.Lists)
	if got := open(toVIP, &luck{}); got != pod1 {
		t.Errorf("after the timeout: %s, want the first endpoint %s", got, pod1)
	}
}

// TestEveryEndpoint wants each endpoint reached, by exactly one way.
func TestEveryEndpoint(t *testing.T) {
	all := strings.Join([]string{pod1, pod2, "192.168.1.62", "192.168.1.63", "192.168.1.64"}, " ")
	n := serviceNode(t, web(all), asIs)
	fates, err := n.Fates(Packet{In: "eth0", Src: addr(far), Dst: addr(vip), Protocol: "tcp", Port: 80})
	if err != nil || len(fates) != 5 {
		t.Fatalf("%d fates, %v: want one for each endpoint", len(fates), err)
	}
	seen := map[netip.Addr]bool{}
	for _, f := range fates {
		seen[f.Dst] = true
	}
	if len(seen) != 5 {
		t.Errorf("endpoints reached: %v", seen)
	}
}

// TestHostPort is W27, and what surrounds it.
func TestHostPort(t *testing.T) {
	pod := service.ServicePort{
		Name:   service.PortName{Key: service.Key{Namespace: "ns", Name: "pod"}, Port: "web", Protocol: service.TCP},
		Family: service.IPv4, HostPort: service.HostPort{Port: 8443}, External: service.Local, Anywhere: true,
		LocalOnly: []service.Target{{AddrPort: netip.AddrPortFrom(addr(pod2), 8080), Local: true}},
	}
	other := pod
	other.Name.Name, other.HostPort = "other", service.HostPort{Addr: addr(node1), Port: 9443}
	tests := []struct {
		what     string
		in       string
		src, dst string
		port     uint16
		want     string
	}{
		{"client", "eth0", outside, node0, 8443, outside + " -> " + pod2 + ":8080 by eni2"},
		{"pod of the node", "eni1", pod1, node0, 8443, pod1 + " -> " + pod2 + ":8080 by eni2"},
		{"hairpin", "eni2", pod2, node0, 8443, node0 + " -> " + pod2 + ":8080 by eni2"},
		{"the node itself", "", node0, node0, 8443, node0 + " -> " + pod2 + ":8080 by eni2"},
		{"another address of the node", "eth1", outside, node1, 8443, outside + " -> " + pod2 + ":8080 by eni2"},
		{"its one address", "eth1", outside, node1, 9443, outside + " -> " + pod2 + ":8080 by eni2"},
		{"not its one address", "eth0", outside, node0, 9443, outside + " -> " + node0 + ":9443 by local"},
		{"a node port wins", "eth0", outside, node0, 30080, node0 + " -> " + pod1 + ":8080 by eni1"},
	}
	n := serviceNode(t, web(pod1, balanced), asIs, pod, other)
	third := pod
	third.Name.Name, third.HostPort = "third", service.HostPort{Port: 30080}
	wins := serviceNode(t, web(pod1, balanced), asIs, pod, other, third)
	for _, test := range tests {
		for _, n := range []Node{n, wins} {
			_, fate, err := n.Open(Packet{In: test.in, Src: addr(test.src), Dst: addr(test.dst), Protocol: "tcp", Port: test.port})
			if err != nil || fate.String() != test.want {
				t.Errorf("%s: %s, %v, want %s", test.what, fate, err, test.want)
			}
		}
	}
}
