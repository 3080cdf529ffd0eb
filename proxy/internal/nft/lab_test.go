package nft

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

// addresses are those of a lab.
type addresses struct {
	family                      service.Family
	node, client, vip, balancer string
	pods                        []string
}

var (
	v4 = addresses{service.IPv4, "192.168.1.50", "203.0.113.9", "10.100.0.1", "203.0.113.100",
		[]string{"192.168.1.61", "192.168.1.62", "192.168.1.63"}}
	v6 = addresses{service.IPv6, "2001:db8:1::50", "2001:db8:f::9", "fd00:100::1", "2001:db8:f::100",
		[]string{"2001:db8:1::61", "2001:db8:1::62", "2001:db8:1::63"}}
)

func (a addresses) host(s string) string {
	addr := netip.MustParseAddr(s)
	return netip.PrefixFrom(addr, addr.BitLen()).String()
}

// lab is a node with three pods, and a client outside. Every pod answers at
// TCP and UDP port 8080 with its name and the address that it sees.
type lab struct {
	at           addresses
	t            testing.TB
	node, client *nstest.Namespace
	pods         []*nstest.Namespace
	settings     ruleset.Settings
	nat          ruleset.NodeNAT
	tracker      *service.Tracker
	table        *Table
}

func eachLab(t *testing.T, test func(t *testing.T, l *lab)) {
	for _, a := range []addresses{v4, v6} {
		t.Run(a.family.String(), func(t *testing.T) {
			l := newLab(t, a)
			l.open()
			test(t, l)
		})
	}
}

func newLab(t testing.TB, a addresses) *lab {
	l := &lab{at: a, t: t, node: nstest.New(t), client: nstest.New(t), tracker: service.NewTracker()}
	l.settings = ruleset.Settings{
		Family: a.family, MasqueradeMark: 0x4000, Pods: ruleset.Detector{Link: "eni+"},
		NodeAddrs: []netip.Addr{netip.MustParseAddr(a.node)}, DropInvalid: true,
	}
	l.tracker.SetNode(service.Node{Name: "here"})
	l.node.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
	nstest.Join(l.node, "eth0", l.client, "eth0")
	address(l.node, a.host(a.node), "eth0")
	l.node.Run("ip", "route", "add", "default", "dev", "eth0")
	l.node.Run("ip", "-6", "route", "add", "default", "dev", "eth0")
	address(l.client, a.host(a.client), "eth0")
	l.client.Run("ip", "route", "add", a.host(a.node), "dev", "eth0")
	l.client.Run("ip", "route", "add", a.host(a.balancer), "via", a.node)
	l.client.Run("ip", "route", "add", a.host(a.vip), "via", a.node)
	for i, p := range a.pods {
		pod, veth := nstest.New(t), fmt.Sprintf("eni%d", i)
		l.pods = append(l.pods, pod)
		nstest.Join(l.node, veth, pod, "eth0")
		address(pod, a.host(p), "eth0")
		if a.family == service.IPv6 { // a link answers for its own addresses only
			address(l.node, "fe80::1/128", veth)
			pod.Run("ip", "route", "add", "default", "via", "fe80::1", "dev", "eth0")
		} else {
			pod.Run("ip", "route", "add", a.host(a.node), "dev", "eth0")
			pod.Run("ip", "route", "add", "default", "via", a.node)
		}
		l.node.Run("ip", "route", "add", a.host(p), "dev", veth)
		l.serve(pod, net.JoinHostPort(p, "8080"), fmt.Sprintf("pod%d", i))
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

// open begins anew from what the kernel holds.
func (l *lab) open() {
	l.t.Helper()
	if l.table != nil {
		l.table.Close()
	}
	l.node.Do(func() {
		var err error
		if l.table, err = Open(l.t.Context(), []ruleset.Settings{l.settings}); err != nil {
			l.t.Fatal(err)
		}
	})
	l.table.SetNAT(l.nat)
	l.t.Cleanup(func() { l.table.Close() })
}

func (l *lab) serve(in *nstest.Namespace, at, name string) {
	l.t.Helper()
	var listener net.Listener
	var datagrams net.PacketConn
	var err error
	in.Do(func() {
		if listener, err = net.Listen("tcp", at); err == nil {
			datagrams, err = net.ListenPacket("udp", at)
		}
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { listener.Close(); datagrams.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			fmt.Fprintf(conn, "%s sees %s", name, conn.RemoteAddr().(*net.TCPAddr).IP)
			conn.Close()
		}
	}()
	go func() {
		buffer := make([]byte, 64)
		for {
			_, from, err := datagrams.ReadFrom(buffer)
			if err != nil {
				return
			}
			datagrams.WriteTo(fmt.Appendf(nil, "%s sees %s", name, from.(*net.UDPAddr).IP), from)
		}
	}()
}

// ask connects and returns what the endpoint says, "refused" or "silence".
func (l *lab) ask(from *nstest.Namespace, to string) string {
	return l.askBy(from, "tcp", to, net.Dialer{})
}

func (l *lab) askBy(from *nstest.Namespace, network, to string, d net.Dialer) string {
	l.t.Helper()
	var answer string
	from.Do(func() {
		d.Timeout = time.Second
		if l.at.family == service.IPv6 { // a socket may miss the answer to its first SYN, not to its second
			d.Timeout = 2500 * time.Millisecond
		}
		answer = result(func() (string, error) {
			conn, err := d.Dial(network, to)
			if err != nil {
				return "", err
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(d.Timeout))
			if network == "udp" {
				if _, err := conn.Write([]byte("?")); err != nil {
					return "", err
				}
				buffer := make([]byte, 128)
				n, err := conn.Read(buffer)
				return string(buffer[:n]), err
			}
			text, err := io.ReadAll(conn)
			return string(text), err
		}())
	})
	return answer
}

func result(text string, err error) string {
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.As(err, &network) && network.Timeout():
		return "silence"
	case err != nil:
		return err.Error()
	}
	return text
}

func (l *lab) want(what string, from *nstest.Namespace, to, want string) {
	l.t.Helper()
	if got := l.ask(from, to); got != want {
		l.t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func (l *lab) wantUDP(what string, from *nstest.Namespace, to, want string) {
	l.t.Helper()
	if got := l.askBy(from, "udp", to, net.Dialer{}); got != want {
		l.t.Errorf("%s, UDP: %s, want %s", what, got, want)
	}
}

// put sets the service ns/web with endpoints, the numbers of pods, and syncs.
// It returns how many elements changed. An x is an endpoint on another node.
func (l *lab) put(endpoints string, edits ...func(*service.Service)) int {
	l.t.Helper()
	s := service.Service{
		Key: service.Key{Namespace: "ns", Name: "web"}, Type: service.ClusterIP,
		ClusterIPs: []netip.Addr{netip.MustParseAddr(l.at.vip)},
		Ports:      []service.Port{{Name: "http", Protocol: service.TCP, Port: 80}, {Name: "dns", Protocol: service.UDP, Port: 80}},
	}
	for _, edit := range edits {
		edit(&s)
	}
	slice := service.EndpointSlice{
		Key: s.Key, Service: s.Name, Family: l.at.family,
		Ports: []service.EndpointPort{{Name: "http", Protocol: service.TCP, Port: 8080}, {Name: "dns", Protocol: service.UDP, Port: 8080}},
	}
	node := "here"
	for _, n := range endpoints {
		if n == 'x' {
			node = "there"
			continue
		}
		slice.Endpoints = append(slice.Endpoints, service.Endpoint{
			Addr: netip.MustParseAddr(l.at.pods[n-'0']), Ready: true, Serving: true, Node: node,
		})
		node = "here"
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
		l.table.Set(k, ports)
	}
	n, err := l.table.Sync(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *lab) list() string {
	return l.node.Run("nft", "list", "table", "inet", tableName)
}

func (l *lab) balanced(s *service.Service) {
	s.Type, s.Ports[0].NodePort, s.Ports[1].NodePort = service.LoadBalancer, 30080, 30080
	s.Ingress = []service.Ingress{{Addr: netip.MustParseAddr(l.at.balancer)}}
}

func (l *lab) externalLocal(s *service.Service) {
	l.balanced(s)
	s.External = service.Local
}

func sticky(s *service.Service) { s.Affinity = time.Hour }
