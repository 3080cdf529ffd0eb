package proxy_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// ways are what services are written with.
var ways = []struct {
	mode    proxy.Mode
	variant proxy.Variant
}{
	{proxy.IPTables, proxy.NFT},
	{proxy.IPTables, proxy.Legacy},
	{proxy.NFTables, proxy.Auto},
}

// world is a node with four pods, a to d, and a client outside of it. Every
// pod serves TCP and UDP, and a service leads to some of them.
type world struct {
	t             *testing.T
	node, outside *nstest.Namespace
	pods          map[string]*pod
	proxy         *proxy.Proxy
	settings      proxy.ServiceSettings
	tracker       *service.Tracker
	addrs
}

// addrs are the addresses of one family.
type addrs struct {
	service.Family
	clusterIP, nodeIP, outsideIP netip.Addr
	gateway                      string     // of pods
	beforePods                   netip.Addr // theirs follow it
}

var families = []addrs{
	{service.IPv4, netip.MustParseAddr("10.100.0.1"), netip.MustParseAddr("192.168.1.50"), netip.MustParseAddr("192.168.1.9"),
		"169.254.1.1", netip.MustParseAddr("192.168.2.60")},
	{service.IPv6, netip.MustParseAddr("fd00:100::1"), netip.MustParseAddr("fd00:1::50"), netip.MustParseAddr("fd00:1::9"),
		"fe80::1", netip.MustParseAddr("fd00:2::60")},
}

// plus is the n-th address after another.
func plus(a netip.Addr, n int) netip.Addr {
	b := a.AsSlice()
	b[len(b)-1] += byte(n)
	a, _ = netip.AddrFromSlice(b)
	return a
}

const nodePort = 30080

// inEveryWay runs a test in a world of its own for every way and family.
func inEveryWay(t *testing.T, test func(*world)) {
	for _, way := range ways {
		for _, f := range families {
			t.Run(strings.Join([]string{string(way.mode), string(way.variant), f.String()}, " "), func(t *testing.T) {
				w := newWorld(t, f)
				w.proxy = proxy.New(way.mode, way.variant)
				test(w)
			})
		}
	}
}

func newWorld(t *testing.T, f addrs) *world {
	t.Helper()
	w := &world{
		t: t, node: newHost(t), outside: newHost(t), pods: map[string]*pod{}, tracker: service.NewTracker(),
		settings: proxy.ServiceSettings{
			MasqueradeMark: 0x4000, PodLink: "eni+", DropInvalid: true,
			NodeAddrs: []netip.Addr{f.nodeIP},
		},
		addrs: f,
	}
	w.tracker.SetNode(service.Node{Name: "here"})
	nstest.Join(w.node, "eth0", w.outside, "eth0")
	addAddr(w.node, f.nodeIP)
	addAddr(w.outside, f.outsideIP)
	w.outside.Run("ip", "route", "add", "default", "via", f.nodeIP.String())
	w.node.Run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.netfilter.nf_conntrack_tcp_be_liberal=0")
	for i, name := range []string{"a", "b", "c", "d"} {
		w.pods[name] = w.newPod(name, plus(f.beforePods, 1+i))
	}
	return w
}

// newHost is a namespace whose links are usable at once.
func newHost(t *testing.T) *nstest.Namespace {
	t.Helper()
	n := nstest.New(t)
	n.Run("sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0")
	return n
}

// addAddr gives eth0 an address, and the way to its neighbours.
func addAddr(n *nstest.Namespace, a netip.Addr) {
	bits := "/24"
	if a.Is6() {
		bits = "/64"
	}
	n.Run("ip", "addr", "replace", a.String()+bits, "dev", "eth0", "nodad")
}

// shop is the service: a cluster IP with port 80, and a node port.
func (w *world) shop(p service.Protocol) service.Service {
	return service.Service{
		Key: service.Key{Namespace: "shop", Name: "web"}, Type: service.NodePort,
		ClusterIPs: []netip.Addr{w.clusterIP},
		Ports:      []service.Port{{Name: "p", Protocol: p, Port: 80, NodePort: nodePort}},
	}
}

// ready are endpoints that serve: pods by name.
func (w *world) ready(names ...string) []service.Endpoint {
	var all []service.Endpoint
	for _, name := range names {
		all = append(all, service.Endpoint{Addr: w.pods[name].addr, Ready: true, Serving: true, Node: "here"})
	}
	return all
}

// terminating makes endpoints terminate while they serve.
func terminating(all []service.Endpoint) []service.Endpoint {
	for i := range all {
		all[i].Ready, all[i].Terminating = false, true
	}
	return all
}

// set gives the service its endpoints, and writes that.
func (w *world) set(s service.Service, endpoints ...service.Endpoint) {
	w.t.Helper()
	changed := w.tracker.SetService(s)
	changed = append(changed, w.tracker.SetSlice(service.EndpointSlice{
		Key: s.Key, Service: s.Name, Family: w.Family, Endpoints: endpoints,
		Ports: []service.EndpointPort{{Name: "p", Protocol: s.Ports[0].Protocol, Port: 8080}},
	})...)
	w.sync(changed)
}

func (w *world) delete(s service.Service) {
	w.t.Helper()
	w.sync(w.tracker.DeleteService(s.Key))
}

// sync does what the daemon does when services changed.
func (w *world) sync(changed []service.Key) {
	w.t.Helper()
	w.node.Do(func() {
		did, err := w.proxy.SyncServices(w.t.Context(), w.tracker, changed, w.settings)
		if err != nil || len(did.Refused) > 0 {
			w.t.Fatalf("%+v, %v", did, err)
		}
		if _, err := w.proxy.SweepFlows(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	})
}

func (w *world) toCluster() string { return netip.AddrPortFrom(w.clusterIP, 80).String() }

func (w *world) toNode() string { return netip.AddrPortFrom(w.nodeIP, nodePort).String() }
