package lb

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// The VPC of the tests: a node in each of two zones, nothing takes time.
const labTopology = `
profile: none
nodes:
- {name: n1, subnet: a, address: 10.0.0.10}
- {name: n2, subnet: b, address: 10.0.1.10}
`

// Addresses of clients.
const (
	internet  = "203.0.113.10"
	peer      = "172.31.0.10"
	n1, n2    = "10.0.0.10", "10.0.1.10"
	secondENI = "10.0.0.20" // of n1
	pod       = "10.0.0.21" // of n1, on its second ENI
)

// quick makes health checks fast enough for tests.
const quick = "interval: 20ms, timeout: 2s, healthyThreshold: 2, unhealthyThreshold: 2"

// lab is a VPC with load balancers under test.
type lab struct {
	*testing.T
	*Balancers
	fabric *fabric.Fabric
}

func newLab(t *testing.T) *lab {
	t.Helper()
	topo, err := topology.Parse([]byte(labTopology))
	if err != nil {
		t.Fatal(err)
	}
	m, err := vpc.New(topo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	log := slog.New(slog.DiscardHandler)
	name := fmt.Sprintf("vl%d%s", os.Getpid(), strings.ToLower(t.Name()[4:min(9, len(t.Name()))]))
	f := fabric.New(name, log)
	t.Cleanup(func() {
		f.Close()
		if err := fabric.Remove(context.Background(), name); err != nil {
			t.Errorf("removing the fabric: %v", err)
		}
	})
	if err := f.Create(t.Context()); err != nil {
		t.Fatalf("creating the fabric: %v", err)
	}
	l := &lab{t, New(m, f, log), f}
	l.sync()
	l.run()
	for _, place := range []string{"n1", "n2"} {
		l.serve(place, 9000)
	}
	return l
}

// run runs the balancers until the test ends.
func (l *lab) run() {
	ctx, stop := context.WithCancel(l.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := l.Balancers.Run(ctx); err != nil {
			l.Errorf("running the balancers: %v", err)
		}
	})
	l.Cleanup(func() { stop(); running.Wait() })
}

func (l *lab) sync() {
	l.Helper()
	v := l.model.View()
	if err := l.fabric.Sync(l.Context(), v); err != nil {
		l.Fatalf("syncing the fabric: %v", err)
	}
	if err := l.Sync(l.Context(), v); err != nil {
		l.Fatalf("syncing the balancers: %v", err)
	}
}

// create makes a balancer that is described in YAML, and brings it in place.
func (l *lab) create(text string) control.BalancerStatus {
	l.Helper()
	var spec topology.LoadBalancer
	if err := yaml.UnmarshalStrict([]byte(text), &spec); err != nil {
		l.Fatal(err)
	}
	st, err := l.Create(spec)
	if err != nil {
		l.Fatal(err)
	}
	l.sync()
	return st
}

// must runs programs in the namespace of a place.
func (l *lab) must(place string, commands ...string) {
	l.Helper()
	for _, c := range commands {
		words := strings.Fields(c)
		cmd := exec.CommandContext(l.Context(), words[0], words[1:]...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := l.fabric.In(place, cmd.Start); err != nil {
			l.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			l.Fatalf("in %s: %s: %v\n%s", place, c, err, out.String())
		}
	}
}

// attachPod gives n1 a second ENI with a pod's address on it, and configures
// both as an agent does: what comes from the ENI's addresses leaves by it.
func (l *lab) attachPod() {
	l.Helper()
	e, err := l.model.CreateNetworkInterface(vpc.Call{}, vpc.CreateInput{
		SubnetID: l.model.Subnets()[0].ID, Primary: netip.MustParseAddr(secondENI),
		V4: vpc.Ask{Addresses: []netip.Addr{netip.MustParseAddr(pod)}},
	})
	if err != nil {
		l.Fatal(err)
	}
	node, err := l.model.Node("n1")
	if err != nil {
		l.Fatal(err)
	}
	if _, err := l.model.AttachNetworkInterface(vpc.Call{}, vpc.AttachInput{InterfaceID: e.ID, InstanceID: node.ID, DeviceIndex: 1}); err != nil {
		l.Fatal(err)
	}
	l.sync()
	l.must("n1",
		"sysctl -qw net.ipv4.conf.all.rp_filter=2",
		"ip link set eth1 up",
		"ip route add 10.0.0.1 dev eth1 table 2 scope link",
		"ip route add default via 10.0.0.1 dev eth1 table 2",
		"ip rule add from "+pod+" lookup 2",
		"ip addr add "+pod+"/32 dev eth1")
}

// serve runs an echo server in a place, on a port of all of its addresses.
func (l *lab) serve(place string, port int) {
	l.Helper()
	var sockets echo.Sockets
	err := l.fabric.In(place, func() (err error) {
		sockets, err = echo.Open(l.Context(), fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	go func() {
		if err := (echo.Server{Host: place}).Serve(l.Context(), sockets); err != nil {
			l.Errorf("echo server in %s: %v", place, err)
		}
	}()
}

// serveHTTP runs an HTTP server in a place. The returned stop ends it.
func (l *lab) serveHTTP(place string, port int, h http.HandlerFunc) (stop func()) {
	l.Helper()
	var socket net.Listener
	err := l.fabric.In(place, func() (err error) {
		socket, err = net.Listen("tcp4", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		l.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(socket) }() // ends with the test
	stop = func() { _ = server.Close() }
	l.Cleanup(stop)
	return stop
}

// dial opens a connection from a place, from an address of it if one is given.
func (l *lab) dial(place, proto, from string, to netip.AddrPort, wait time.Duration) (net.Conn, error) {
	p := echo.Probe{Proto: proto, Target: to.String(), Wait: wait}
	if from != "" {
		p.Bind = netip.MustParseAddr(from)
	}
	var conn net.Conn
	err := l.fabric.In(place, func() (err error) {
		conn, err = p.Dial(l.Context())
		return err
	})
	return conn, err
}

// ask returns which server answers, and which source it saw: "n1 10.0.0.5". It
// is "" if no one does.
func (l *lab) ask(place, proto, from string, to netip.AddrPort, wait time.Duration) string {
	conn, err := l.dial(place, proto, from, to, wait)
	if err != nil {
		return ""
	}
	res, err := echo.Probe{Proto: proto, Target: to.String(), Wait: wait}.Ask(l.Context(), conn)
	if err != nil {
		return ""
	}
	return res.Host + " " + res.Source.Addr().String()
}

// expect asks once.
func (l *lab) expect(place, proto, from string, to netip.AddrPort, want string) {
	l.Helper()
	wait := 5 * time.Second
	if want == "" {
		wait = 300 * time.Millisecond // an answer takes less than one
	}
	if got := l.ask(place, proto, from, to, wait); got != want {
		l.Errorf("%s from %s %s to %s: answer %q, want %q", proto, place, from, to, got, want)
	}
}

// spread asks many times and returns how often each server answered.
func (l *lab) spread(place, proto string, to netip.AddrPort) map[string]int {
	l.Helper()
	count := map[string]int{}
	for range 40 {
		who, _, _ := strings.Cut(l.ask(place, proto, "", to, time.Second), " ")
		count[who]++
	}
	return count
}

// await polls until every target of a balancer has its state, given in the
// order of registration as "state reason".
func (l *lab) await(name string, want ...string) {
	l.Helper()
	var got []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = l.states(name); strings.Join(got, ",") == strings.Join(want, ",") {
			return
		}
	}
	l.Fatalf("targets of %s: %q, want %q", name, got, want)
}

func (l *lab) states(name string) (out []string) {
	l.Helper()
	targets, err := l.Health(l.Context(), name)
	if err != nil {
		l.Fatal(err)
	}
	for _, t := range targets {
		out = append(out, strings.TrimSpace(t.State+" "+t.Reason))
	}
	return out
}

// clean fails the test if the VPC has dropped a packet.
func (l *lab) clean() {
	l.Helper()
	drops, err := l.fabric.Drops(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	if len(drops) > 0 {
		l.Errorf("the VPC dropped %+v", drops)
	}
}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
