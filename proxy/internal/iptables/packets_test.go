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

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

const (
	nodeAddr   = "192.168.1.50"
	clientAddr = "203.0.113.9"
	vip        = "10.100.0.1"
	balancer   = "203.0.113.100"
)

var podAddrs = []string{"192.168.1.61", "192.168.1.62", "192.168.1.63"}

// lab is a node with three pods, and a client outside. Every pod answers at
// port 8080 with its name and the address that it sees.
type lab struct {
	t            *testing.T
	node, client *nstest.Namespace
	pods         []*nstest.Namespace
	backend      *Backend
	tracker      *service.Tracker
	services     *Services
}

func eachLab(t *testing.T, test func(t *testing.T, l *lab)) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			l := newLab(t)
			l.open(v)
			test(t, l)
		})
	}
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, node: nstest.New(t), client: nstest.New(t), tracker: service.NewTracker()}
	l.tracker.SetNode(service.Node{Name: "here"})
	l.node.Run("sysctl", "-qw", "net.ipv4.ip_forward=1")
	nstest.Join(l.node, "eth0", l.client, "eth0")
	l.node.Run("ip", "addr", "add", nodeAddr+"/32", "dev", "eth0")
	l.node.Run("ip", "route", "add", "default", "dev", "eth0")
	l.client.Run("ip", "addr", "add", clientAddr+"/32", "dev", "eth0")
	l.client.Run("ip", "route", "add", nodeAddr+"/32", "dev", "eth0")
	l.client.Run("ip", "route", "add", balancer+"/32", "via", nodeAddr)
	for i, a := range podAddrs {
		pod, veth := nstest.New(t), fmt.Sprintf("eni%d", i)
		l.pods = append(l.pods, pod)
		nstest.Join(l.node, veth, pod, "eth0")
		pod.Run("ip", "addr", "add", a+"/32", "dev", "eth0")
		pod.Run("ip", "route", "add", nodeAddr+"/32", "dev", "eth0")
		pod.Run("ip", "route", "add", "default", "via", nodeAddr)
		l.node.Run("ip", "route", "add", a+"/32", "dev", veth)
		l.serve(pod, a+":8080", fmt.Sprintf("pod%d", i))
	}
	return l
}

func (l *lab) open(v Variant) {
	l.t.Helper()
	l.node.Do(func() {
		var err error
		if l.backend, err = Open(v); err != nil {
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
			Family: service.IPv4, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"},
			NodeAddrs: []netip.Addr{netip.MustParseAddr(nodeAddr)}, DropInvalid: true,
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
	in.Do(func() { listener, err = net.Listen("tcp4", address) })
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
	var answer string
	from.Do(func() {
		conn, err := net.DialTimeout("tcp4", to, time.Second)
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
		ClusterIPs: []netip.Addr{netip.MustParseAddr(vip)},
		Ports:      []service.Port{{Name: "http", Protocol: service.TCP, Port: 80}},
	}
	for _, edit := range edits {
		edit(&s)
	}
	slice := service.EndpointSlice{
		Key: s.Key, Service: s.Name, Family: service.IPv4,
		Ports: []service.EndpointPort{{Name: "http", Protocol: service.TCP, Port: 8080}},
	}
	for _, n := range endpoints {
		slice.Endpoints = append(slice.Endpoints, service.Endpoint{
			Addr: netip.MustParseAddr(podAddrs[n-'0']), Ready: true, Serving: true, Node: "here",
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

func balanced(s *service.Service) {
	s.Type, s.Ports[0].NodePort = service.LoadBalancer, 30080
	s.Ingress = []service.Ingress{{Addr: netip.MustParseAddr(balancer)}}
}

func externalLocal(s *service.Service) {
	balanced(s)
	s.External = service.Local
}

func TestServicePackets(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		port := nodeAddr + ":30080"

		l.put("1", balanced)
		l.want("pod to ClusterIP", l.pods[0], vip+":80", "pod1 sees "+podAddrs[0])
		l.want("node to ClusterIP", l.node, vip+":80", "pod1 sees "+nodeAddr)
		l.want("hairpin", l.pods[1], vip+":80", "pod1 sees "+nodeAddr)
		l.want("client to node port", l.client, port, "pod1 sees "+nodeAddr)
		l.want("pod to node port", l.pods[0], port, "pod1 sees "+nodeAddr)
		l.want("node to its own port", l.node, port, "pod1 sees "+nodeAddr)
		l.want("client to balancer's address", l.client, balancer+":80", "pod1 sees "+nodeAddr)
		l.want("pod to balancer's address", l.pods[0], balancer+":80", "pod1 sees "+nodeAddr)

		l.put("1", externalLocal)
		l.want("policy Local, client to node port", l.client, port, "pod1 sees "+clientAddr)
		l.want("policy Local, pod to node port", l.pods[0], port, "pod1 sees "+podAddrs[0])

		l.put("1", balanced, func(s *service.Service) { s.SourceRanges = []netip.Prefix{netip.MustParsePrefix(podAddrs[0] + "/32")} })
		l.want("source within the ranges", l.pods[0], balancer+":80", "pod1 sees "+nodeAddr)
		l.want("source outside the ranges", l.pods[2], balancer+":80", "silence")
		l.want("client outside the ranges", l.client, balancer+":80", "silence")
		l.want("node port beside the ranges", l.client, port, "pod1 sees "+nodeAddr)

		l.put("", balanced)
		l.want("no endpoints, pod to ClusterIP", l.pods[0], vip+":80", "refused")
		l.want("no endpoints, node to ClusterIP", l.node, vip+":80", "refused")
		l.want("no endpoints, client to node port", l.client, port, "refused")
	})
}

// TestBalance opens connections until every endpoint answered; with affinity
// one answers all.
func TestBalance(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		answers := func() map[string]bool {
			seen := map[string]bool{}
			for range 60 {
				name, _, _ := strings.Cut(l.ask(l.client, nodeAddr+":30080"), " ")
				seen[name] = true
			}
			return seen
		}
		l.put("012", balanced)
		if seen := answers(); len(seen) != 3 {
			t.Errorf("60 connections reached %v: want all three", seen)
		}
		l.put("012", balanced, func(s *service.Service) { s.Affinity = time.Hour })
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
		save := func() string { return l.node.Run(l.backend.variant.program() + "-save") }
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
		l.node.Run(l.backend.variant.program(), "-w", "-t", "nat", "-F")
		l.reopen()
		if l.sync() == 0 {
			t.Error("a flush was not repaired")
		}
		if got := l.ask(l.pods[0], nodeAddr+":30080"); !strings.HasPrefix(got, "pod") {
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
