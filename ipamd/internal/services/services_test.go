package services

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/service"
)

// rules remember what they were told, and fail when told to.
type rules struct {
	rounds   []string // services of each, and settings if these are new
	fail     error
	touched  bool
	refuse   map[service.Key]error
	settings proxy.ServiceSettings
	during   func()
}

func (r *rules) SyncServices(_ context.Context, from proxy.Source, changed []service.Key, s proxy.ServiceSettings) (proxy.ServiceSync, error) {
	if r.during != nil {
		r.during()
	}
	if r.fail != nil {
		return proxy.ServiceSync{}, r.fail
	}
	did := proxy.ServiceSync{Full: r.rounds == nil || r.touched, Refused: r.refuse}
	if did.Full {
		changed = from.Services()
	}
	var text []string
	for _, k := range changed {
		ports, err := from.Resolve(k)
		if err != nil {
			did.Refused = map[service.Key]error{k: err}
		}
		text = append(text, fmt.Sprintf("%s %d ports", k, len(ports)))
	}
	r.rounds = append(r.rounds, strings.Join(text, ", "))
	r.touched, r.settings = false, s
	return did, nil
}

func (r *rules) Untouched() (bool, bool, error) { return true, !r.touched, nil }

// ears remember what they heard.
type ears struct{ heard []string }

func (e *ears) say(format string, args ...any) {
	e.heard = append(e.heard, fmt.Sprintf(format, args...))
}
func (e *ears) Queued(int, int)            {}
func (e *ears) Begun()                     {}
func (e *ears) Idle()                      {}
func (e *ears) Failed(err error)           { e.say("failed: %v", err) }
func (e *ears) Kept(proxy.ServiceSettings) { e.say("settings") }
func (e *ears) SetNode(n *service.Node)    { e.say("node %v", n != nil) }
func (e *ears) SetChecks(k service.Key, c []service.HealthCheck) {
	e.say("%s has %d checks", k, len(c))
}
func (e *ears) Synced(r Round) {
	e.say("synced, repair %v, %d slices, %d services, waited %v, %d refused", r.Repair, r.SliceChanges, r.ServiceChanges, r.Waited, r.Refused)
}

type fixture struct {
	*Services
	t     *testing.T
	rules *rules
	ears  *ears
	wakes int
	clock time.Time
}

func setUp(t *testing.T, c config.Proxy) *fixture {
	f := &fixture{t: t, rules: &rules{}, ears: &ears{}, clock: time.Unix(1000, 0)}
	f.Services = New(Settings{
		Proxy: c, PodLinks: "eni", Wake: func() { f.wakes++ }, Now: func() time.Time { return f.clock },
		Addrs: func() []netip.Addr { return addrs("127.0.0.1", "10.0.0.4", "10.1.0.4") },
	}, f.rules, f.ears, slog.New(slog.DiscardHandler))
	return f
}

func addrs(text ...string) (all []netip.Addr) {
	for _, each := range text {
		all = append(all, netip.MustParseAddr(each))
	}
	return all
}

func (f *fixture) step(wantRounds []string, wantHeard ...string) {
	f.t.Helper()
	if err := f.Step(f.t.Context()); err != nil {
		f.t.Errorf("Step: %v", err)
	}
	f.want(wantRounds, wantHeard...)
}

func (f *fixture) want(wantRounds []string, wantHeard ...string) {
	f.t.Helper()
	if diff := cmp.Diff(wantRounds, f.rules.rounds); diff != "" {
		f.t.Errorf("rounds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantHeard, f.ears.heard); diff != "" {
		f.t.Errorf("heard (-want +got):\n%s", diff)
	}
	f.rules.rounds, f.ears.heard = []string{}, nil
}

var web = service.Key{Namespace: "shop", Name: "web"}

func (f *fixture) service(change func(*service.Service)) {
	s := service.Service{Key: web, Type: service.ClusterIP, ClusterIPs: addrs("10.100.0.1"),
		Ports: []service.Port{{Protocol: service.TCP, Port: 80}}}
	if change != nil {
		change(&s)
	}
	f.SetService(s)
}

func (f *fixture) slice(endpoint string, triggered time.Time) {
	f.SetSlice(service.EndpointSlice{Key: web, Service: "web", Family: service.IPv4, Triggered: triggered,
		Ports:     []service.EndpointPort{{Protocol: service.TCP, Port: 8080}},
		Endpoints: []service.Endpoint{{Addr: netip.MustParseAddr(endpoint), Ready: true, Serving: true}}})
}

func TestNothingBeforeAllIsKnown(t *testing.T) {
	f := setUp(t, config.Proxy{})
	f.service(nil)
	f.step(nil)
	if f.wakes != 0 {
		t.Errorf("woken %d times", f.wakes)
	}
	f.Synced()
	f.step([]string{"shop/web 1 ports"}, "node false", "settings", "synced, repair false, 0 slices, 1 services, waited [], 0 refused")
	f.step([]string{}, "node false")
}

func TestChanges(t *testing.T) {
	f := setUp(t, config.Proxy{})
	f.SetNode(&service.Node{Name: "n1"})
	f.service(nil)
	f.slice("10.0.0.9", f.clock.Add(-time.Hour)) // before the start
	f.Synced()
	f.step([]string{"shop/web 1 ports"}, "node true", "settings", "synced, repair false, 1 slices, 1 services, waited [], 0 refused")

	f.slice("10.0.0.8", f.clock.Add(-3*time.Second))
	f.step([]string{"shop/web 1 ports"}, "synced, repair false, 1 slices, 0 services, waited [3s], 0 refused")
	f.slice("10.0.0.8", f.clock)
	f.step([]string{})

	f.rules.touched = true
	f.step([]string{"shop/web 1 ports"}, "synced, repair true, 1 slices, 0 services, waited [], 0 refused")
	f.DeleteService(web)
	f.step([]string{"shop/web 0 ports"}, "synced, repair false, 0 slices, 1 services, waited [], 0 refused")
}

// TestFailureKeepsChanges wants what was not written in the next round,
// together with what came meanwhile.
func TestFailureKeepsChanges(t *testing.T) {
	f := setUp(t, config.Proxy{})
	f.SetNode(&service.Node{})
	f.Synced()
	f.step([]string{""}, "node true", "settings", "synced, repair false, 0 slices, 0 services, waited [], 0 refused")
	f.service(nil)
	f.rules.fail = errors.New("busy")
	f.rules.during = func() { f.slice("10.0.0.9", f.clock) }
	if err := f.Step(t.Context()); !errors.Is(err, f.rules.fail) {
		t.Errorf("Step: %v", err)
	}
	f.want([]string{}, "failed: busy")
	f.rules.fail, f.rules.during = nil, nil
	f.clock = f.clock.Add(time.Second)
	f.step([]string{"shop/web 1 ports"}, "synced, repair false, 1 slices, 1 services, waited [1s], 0 refused")
}

func TestRefused(t *testing.T) {
	f := setUp(t, config.Proxy{})
	f.SetNode(&service.Node{})
	f.Synced()
	f.service(func(s *service.Service) { s.Ports[0].Port = 0 })
	f.step([]string{"shop/web 0 ports"}, "node true", "settings", "synced, repair false, 0 slices, 1 services, waited [], 1 refused")
	f.service(nil)
	f.step([]string{"shop/web 1 ports"}, "synced, repair false, 0 slices, 1 services, waited [], 0 refused")
}

func TestChecks(t *testing.T) {
	f := setUp(t, config.Proxy{})
	f.SetNode(&service.Node{Name: "n1"})
	f.Synced()
	local := func(s *service.Service) {
		s.Type, s.External, s.HealthCheckNodePort = service.LoadBalancer, service.Local, 30000
	}
	f.service(local)
	f.step([]string{"shop/web 1 ports"}, "node true", "settings", "shop/web has 1 checks", "synced, repair false, 0 slices, 1 services, waited [], 0 refused")
	f.DeleteService(web)
	f.step([]string{"shop/web 0 ports"}, "shop/web has 0 checks", "synced, repair false, 0 slices, 1 services, waited [], 0 refused")
	f.service(nil)
	f.step([]string{"shop/web 1 ports"}, "synced, repair false, 0 slices, 1 services, waited [], 0 refused")
}

// TestNodeGone keeps the rules as they are, and tells balancers.
func TestNodeGone(t *testing.T) {
	f := setUp(t, config.Proxy{})
	f.SetNode(&service.Node{Name: "n1", Addrs: addrs("10.0.0.4")})
	f.Synced()
	f.step([]string{""}, "node true", "settings", "synced, repair false, 0 slices, 0 services, waited [], 0 refused")
	f.SetNode(nil)
	f.step([]string{}, "node false")
}

// TestAwait returns once a round has what was told before, and not sooner.
func TestAwait(t *testing.T) {
	f := setUp(t, config.Proxy{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Await(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("before anything is known: %v", err)
	}
	f.Synced()
	done := make(chan error)
	woken := make(chan struct{}, 10)
	f.settings.Wake = func() { woken <- struct{}{} }
	go func() { done <- f.Await(t.Context()) }()
	<-woken
	if err := f.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	node := service.Node{Addrs: addrs("10.0.0.4", "10.0.0.5", "fd00::4"), PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")}}
	block := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	want := func(change func(*proxy.ServiceSettings)) proxy.ServiceSettings {
		s := proxy.ServiceSettings{MasqueradeMark: 0x4000, NodeAddrs: node.Addrs, DropInvalid: true}
		change(&s)
		return s
	}
	for _, test := range []struct {
		name  string
		proxy config.Proxy
		node  service.Node
		want  proxy.ServiceSettings
	}{
		{"our pods", config.Proxy{Pods: config.LocalPods{Ours: true}}, node, want(func(s *proxy.ServiceSettings) { s.PodLink = "eni+" })},
		{"pods by link", config.Proxy{Pods: config.LocalPods{Link: "cni0"}}, node, want(func(s *proxy.ServiceSettings) { s.PodLink = "cni0" })},
		{"pods of the node's block", config.Proxy{Pods: config.LocalPods{NodeBlocks: true}}, node, want(func(s *proxy.ServiceSettings) { s.PodBlocks = node.PodCIDRs })},
		{"primary addresses", config.Proxy{NodePortAddrs: config.NodePortAddrs{Primary: true}}, node,
			want(func(s *proxy.ServiceSettings) { s.NodePortAddrs = addrs("10.0.0.4", "fd00::4") })},
		{"primary addresses of nobody", config.Proxy{NodePortAddrs: config.NodePortAddrs{Primary: true}}, service.Node{},
			want(func(s *proxy.ServiceSettings) { s.NodeAddrs, s.NodePortAddrs = nil, addrs("0.0.0.0", "::") })},
		{"addresses in a block", config.Proxy{NodePortAddrs: config.NodePortAddrs{Blocks: block("10.1.0.0/16")}, LocalhostNodePorts: true}, node,
			want(func(s *proxy.ServiceSettings) { s.NodePortAddrs = addrs("10.1.0.4") })},
		{"addresses in loopback's block", config.Proxy{NodePortAddrs: config.NodePortAddrs{Blocks: block("127.0.0.0/8")}, LocalhostNodePorts: true}, node,
			want(func(s *proxy.ServiceSettings) { s.NodePortAddrs, s.LocalhostNodePorts = addrs("127.0.0.1"), true })},
		{"no address in a block", config.Proxy{NodePortAddrs: config.NodePortAddrs{Blocks: block("172.20.0.0/16")}}, node,
			want(func(s *proxy.ServiceSettings) { s.NodePortAddrs = addrs("0.0.0.0") })},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.proxy.MasqueradeBit = 14
			f := setUp(t, test.proxy)
			got := f.settings.of(test.node)
			if diff := cmp.Diff(fmt.Sprintf("%+v", test.want), fmt.Sprintf("%+v", got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
