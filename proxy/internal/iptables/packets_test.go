package iptables

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// plan is the addresses of a lab.
type plan struct {
	family                      service.Family
	node, client, vip, balancer string
	pods                        []string
}

var (
	plan4 = plan{service.IPv4, "192.168.1.50", "203.0.113.9", "10.100.0.1", "203.0.113.100",
		[]string{"192.168.1.61", "192.168.1.62", "192.168.1.63"}}
	plan6 = plan{service.IPv6, "2001:db8:1::50", "2001:db8:f::9", "fd00:100::1", "2001:db8:f::100",
		[]string{"2001:db8:1::61", "2001:db8:1::62", "2001:db8:1::63"}}
)

// host is a route to one address.
func (p plan) host(a string) string {
	if p.family == service.IPv6 {
		return a + "/128"
	}
	return a + "/32"
}

// lab is a node with three pods, and a client outside. Every pod answers at
// port 8080 with its name and the address that it sees.
type lab struct {
	at           plan
	t            *testing.T
	node, client *nstest.Namespace
	pods         []*nstest.Namespace
	backend      *Backend
	tracker      *service.Tracker
	services     *Services
}

func eachLab(t *testing.T, test func(t *testing.T, l *lab)) {
	for _, p := range []plan{plan4, plan6} {
		for _, v := range []Variant{NFT, Legacy} {
			t.Run(program(v, p.family), func(t *testing.T) {
				l := newLab(t, p)
				l.open(v)
				test(t, l)
			})
		}
	}
}

func newLab(t *testing.T, p plan) *lab {
	l := &lab{at: p, t: t, node: nstest.New(t), client: nstest.New(t), tracker: service.NewTracker()}
	l.tracker.SetNode(service.Node{Name: "here"})
	l.node.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	nstest.Join(l.node, "eth0", l.client, "eth0")
	address(l.node, p.host(p.node), "eth0")
	l.node.Run("ip", "route", "add", "default", "dev", "eth0")
	l.node.Run("ip", "-6", "route", "add", "default", "dev", "eth0")
	address(l.client, p.host(p.client), "eth0")
	l.client.Run("ip", "route", "add", p.host(p.node), "dev", "eth0")
	l.client.Run("ip", "route", "add", p.host(p.balancer), "via", p.node)
	for i, a := range p.pods {
		pod, veth := nstest.New(t), fmt.Sprintf("eni%d", i)
		l.pods = append(l.pods, pod)
		nstest.Join(l.node, veth, pod, "eth0")
		address(pod, p.host(a), "eth0")
		if p.family == service.IPv6 { // a link answers for its own addresses only
			address(l.node, "fe80::1/128", veth)
			pod.Run("ip", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
		} else {
			pod.Run("ip", "route", "add", p.host(p.node), "dev", "eth0")
			pod.Run("ip", "route", "add", "default", "via", p.node)
		}
		l.node.Run("ip", "route", "add", p.host(a), "dev", veth)
		l.serve(pod, net.JoinHostPort(a, "8080"), fmt.Sprintf("pod%d", i))
	}
	return l
}

// address gives a link an address that can be used at once.
func address(n *nstest.Namespace, a, link string) {
	args := []string{"ip", "addr", "add", a, "dev", link}
	if strings.Contains(a, ":") {
		args = append(args, "nodad")
	}
	n.Run(args...)
}

func (l *lab) open(v Variant) {
	l.t.Helper()
	l.node.Do(func() {
		var err error
		if l.backend, err = Open(v, l.at.family); err != nil {
			l.t.Fatal(err)
		}
	})
	l.reopen()
}

// reopen begins anew from what the kernel holds.
func (l *lab) reopen() {
	l.t.Helper()
	l.node.Do(func() {
		var err error
		l.services, err = l.backend.Services(l.t.Context(), ruleset.Settings{
			Family: l.at.family, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"},
			NodeAddrs: []netip.Addr{netip.MustParseAddr(l.at.node)}, DropInvalid: true,
		})
		if err != nil {
			l.t.Fatal(err)
		}
	})
}

func (l *lab) serve(in *nstest.Namespace, address, name string) {
	l.t.Helper()
	var listener net.Listener
	var err error
	in.Do(func() { listener, err = net.Listen("tcp", address) })
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			from := conn.RemoteAddr().(*net.TCPAddr).IP
			fmt.Fprintf(conn, "%s sees %s", name, from)
			conn.Close()
		}
	}()
}

// ask connects and returns what the endpoint says, "refused" or "silence".
func (l *lab) ask(from *nstest.Namespace, to string) string {
	l.t.Helper()
	return l.dial(from, net.Dialer{}, to)
}

func (l *lab) dial(from *nstest.Namespace, dialer net.Dialer, to string) string {
	l.t.Helper()
	var answer string
	from.Do(func() {
		dialer.Timeout = time.Second
		if l.at.family == service.IPv6 { // a socket may miss the answer to its first SYN, not to its second
			dialer.Timeout = 2500 * time.Millisecond
		}
		conn, err := dialer.DialContext(l.t.Context(), "tcp", to)
		var network net.Error
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			answer = "refused"
		case errors.As(err, &network) && network.Timeout():
			answer = "silence"
		case err != nil:
			answer = err.Error()
		default:
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(2 * time.Second))
			text, err := io.ReadAll(conn)
			answer = string(text)
			if err != nil {
				answer = err.Error()
			}
		}
	})
	return answer
}

func (l *lab) want(what string, from *nstest.Namespace, to, want string) {
	l.t.Helper()
	if got := l.ask(from, to); got != want {
		l.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// put sets the service ns/web with endpoints, the numbers of pods, and syncs.
// It returns how many chains were written.
func (l *lab) put(endpoints string, edits ...func(*service.Service)) int {
	l.t.Helper()
	s := service.Service{
		Key: service.Key{Namespace: "ns", Name: "web"}, Type: service.ClusterIP,
		ClusterIPs: []netip.Addr{netip.MustParseAddr(l.at.vip)},
		Ports:      []service.Port{{Name: "http", Protocol: service.TCP, Port: 80}},
	}
	for _, edit := range edits {
		edit(&s)
	}
	slice := service.EndpointSlice{
		Key: s.Key, Service: s.Name, Family: l.at.family,
		Ports: []service.EndpointPort{{Name: "http", Protocol: service.TCP, Port: 8080}},
	}
	for _, n := range endpoints {
		slice.Endpoints = append(slice.Endpoints, service.Endpoint{
			Addr: netip.MustParseAddr(l.at.pods[n-'0']), Ready: true, Serving: true, Node: "here",
		})
	}
	l.tracker.SetService(s)
	l.tracker.SetSlice(slice)
	return l.sync()
}

func (l *lab) sync() int {
	l.t.Helper()
	for _, k := range l.tracker.Services() {
		ports, err := l.tracker.Resolve(k)
		if err != nil {
			l.t.Fatal(err)
		}
		l.services.Set(k, ports)
	}
	n := 0
	l.node.Do(func() {
		var err error
		if n, err = l.services.Sync(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	})
	return n
}

func (l *lab) balanced(s *service.Service) {
	s.Type, s.Ports[0].NodePort = service.LoadBalancer, 30080
	s.Ingress = []service.Ingress{{Addr: netip.MustParseAddr(l.at.balancer)}}
}

func (l *lab) externalLocal(s *service.Service) {
	l.balanced(s)
	s.External = service.Local
}

func TestServicePackets(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		port, vip, balancer := net.JoinHostPort(l.at.node, "30080"), net.JoinHostPort(l.at.vip, "80"), net.JoinHostPort(l.at.balancer, "80")

		l.put("1", l.balanced)
		l.want("pod to ClusterIP", l.pods[0], vip, "pod1 sees "+l.at.pods[0])
		l.want("node to ClusterIP", l.node, vip, "pod1 sees "+l.at.node)
		l.want("hairpin", l.pods[1], vip, "pod1 sees "+l.at.node)
		l.want("client to node port", l.client, port, "pod1 sees "+l.at.node)
		l.want("pod to node port", l.pods[0], port, "pod1 sees "+l.at.node)
		l.want("node to its own port", l.node, port, "pod1 sees "+l.at.node)
		l.want("client to balancer's address", l.client, balancer, "pod1 sees "+l.at.node)
		l.want("pod to balancer's address", l.pods[0], balancer, "pod1 sees "+l.at.node)

		l.put("1", l.externalLocal)
		l.want("policy Local, client to node port", l.client, port, "pod1 sees "+l.at.client)
		l.want("policy Local, pod to node port", l.pods[0], port, "pod1 sees "+l.at.pods[0])

		l.put("1", l.balanced, func(s *service.Service) {
			s.SourceRanges = []netip.Prefix{netip.MustParsePrefix(l.at.host(l.at.pods[0]))}
		})
		l.want("source within the ranges", l.pods[0], balancer, "pod1 sees "+l.at.node)
		l.want("source outside the ranges", l.pods[2], balancer, "silence")
		l.want("client outside the ranges", l.client, balancer, "silence")
		l.want("node port beside the ranges", l.client, port, "pod1 sees "+l.at.node)

		l.put("", l.balanced)
		l.want("no endpoints, pod to ClusterIP", l.pods[0], vip, "refused")
		l.want("no endpoints, node to ClusterIP", l.node, vip, "refused")
		l.want("no endpoints, client to node port", l.client, port, "refused")
	})
}

// TestHostPorts asks at a port of the node that leads to a pod, and wants all of
// it gone with the last such port.
func TestHostPorts(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.put("")
		before := l.node.Run(l.backend.program + "-save")
		key := service.Key{Namespace: "ns", Name: "pod"}
		port := net.JoinHostPort(l.at.node, "8443")
		pod := service.Target{AddrPort: netip.MustParseAddrPort(net.JoinHostPort(l.at.pods[1], "8080")), Local: true}
		l.services.Set(key, []service.ServicePort{{
			Name: service.PortName{Key: key, Port: "web", Protocol: service.TCP}, Family: l.at.family,
			HostPort: service.HostPort{Port: 8443}, External: service.Local, Anywhere: true, LocalOnly: []service.Target{pod},
		}})
		l.sync()
		l.want("client", l.client, port, "pod1 sees "+l.at.client)
		l.want("pod of the node", l.pods[0], port, "pod1 sees "+l.at.pods[0])
		l.want("hairpin", l.pods[1], port, "pod1 sees "+l.at.node)
		l.want("the node itself", l.node, port, "pod1 sees "+l.at.node)
		l.services.Set(key, nil)
		l.sync()
		l.want("gone", l.client, port, "refused")
		if diff := cmp.Diff(ruleText(before), ruleText(l.node.Run(l.backend.program+"-save"))); diff != "" {
			t.Errorf("left over:\n%s", diff)
		}
	})
}

// TestBalance opens connections until every endpoint answered; with affinity
// one answers all.
func TestBalance(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		answers := func() map[string]bool {
			seen := map[string]bool{}
			for range 60 {
				name, _, _ := strings.Cut(l.ask(l.client, net.JoinHostPort(l.at.node, "30080")), " ")
				seen[name] = true
			}
			return seen
		}
		l.put("012", l.balanced)
		if seen := answers(); len(seen) != 3 {
			t.Errorf("60 connections reached %v: want all three", seen)
		}
		l.put("012", l.balanced, func(s *service.Service) { s.Affinity = time.Hour })
		if seen := answers(); len(seen) != 1 {
			t.Errorf("60 connections with affinity reached %v: want one", seen)
		}
	})
}

// TestOnlyWhatChanged counts the chains of each change, and follows the rules
// to their end.
func TestOnlyWhatChanged(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		chains := func(what string, got, want int) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %d chains written, want %d", what, got, want)
			}
		}
		save := func() string { return l.node.Run(l.backend.program + "-save") }
		shared := 9
		chains("first", l.put("01"), shared+3)
		chains("nothing new", l.put("01"), 0)
		chains("one endpoint for another", l.put("02"), 3) // SVC, and an SEP each
		chains("one more", l.put("012"), 2)
		chains("a node port", l.put("012", func(s *service.Service) { s.Type, s.Ports[0].NodePort = service.NodePort, 30080 }), 2)
		want := save()

		l.reopen()
		chains("after a restart", l.sync(), 0)
		if got := save(); ruleText(got) != ruleText(want) {
			t.Errorf("a restart changed rules:\n%s\nto\n%s", want, got)
		}
		l.node.Run(l.backend.program, "-w", "-t", "nat", "-F")
		l.reopen()
		if l.sync() == 0 {
			t.Error("a flush was not repaired")
		}
		if got := l.ask(l.pods[0], net.JoinHostPort(l.at.node, "30080")); !strings.HasPrefix(got, "pod") {
			t.Errorf("after a flush: %s", got)
		}
		if got := save(); ruleText(got) != ruleText(want) {
			t.Errorf("a flush left other rules:\n%s\nthan\n%s", got, want)
		}

		l.services.Set(service.Key{Namespace: "ns", Name: "web"}, nil)
		l.tracker.DeleteService(service.Key{Namespace: "ns", Name: "web"})
		chains("deleted", l.sync(), 7) // SVC, EXT, three SEP, KUBE-SERVICES, KUBE-NODEPORTS
		if text := save(); strings.Contains(text, "ns/web") || strings.Contains(text, "KUBE-SEP-") {
			t.Errorf("left over:\n%s", text)
		}
	})
}

// ruleText is the rules of a saved text, without counters and comments.
func ruleText(saved string) string {
	var b strings.Builder
	for line := range strings.Lines(saved) {
		if strings.HasPrefix(line, "*") || strings.HasPrefix(line, "-A ") {
			b.WriteString(line)
		}
	}
	return b.String()
}
