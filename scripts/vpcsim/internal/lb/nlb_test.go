package lb

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// TestInstances keeps the client's address, from everywhere, over TCP and UDP.
func TestInstances(t *testing.T) {
	l := newLab(t)
	st := l.create(`
name: web
scheme: internet-facing
listeners: [{port: 80}, {port: 81, targetGroup: datagrams, protocol: UDP}]
targetGroups:
- {name: web, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
- {name: datagrams, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
`)
	l.await("web", "healthy", "healthy", "healthy", "healthy")
	a, b := st.Zones[0], st.Zones[1]
	for proto, port := range map[string]uint16{"tcp": 80, "udp": 81} {
		// Each address has the targets of its own zone.
		l.expect(fabric.Internet, proto, "", at(a.Public, port), "n1 "+internet)
		l.expect(fabric.Internet, proto, "203.0.113.11", at(b.Public, port), "n2 203.0.113.11")
		l.expect(fabric.Peer, proto, "", at(a.Address, port), "n1 "+peer)
		l.expect("n2", proto, "", at(a.Address, port), "n1 "+n2)
		l.expect("n1", proto, "", at(b.Address, port), "n2 "+n1)
	}
	l.expect(fabric.Internet, "tcp", "", at(a.Public, 82), "")
	l.expect(fabric.Peer, "udp", "", at(a.Address, 80), "")
	l.clean()
}

// TestAddresses reaches pods on a secondary ENI, under the balancer's address
// and under the client's.
func TestAddresses(t *testing.T) {
	l := newLab(t)
	l.attachPod()
	groups := `
targetGroups:
- {name: pods, targetType: ip, port: 9000, targets: [{address: ` + pod + `}], preserveClientIP: %KEEP, healthCheck: {` + quick + `}}
listeners: [{port: 80}]
scheme: internet-facing
subnets: [a]
`
	hidden := l.create("name: hidden" + strings.ReplaceAll(groups, "%KEEP", "false"))
	kept := l.create("name: kept" + strings.ReplaceAll(groups, "%KEEP", "true"))
	l.await("hidden", "healthy")
	l.await("kept", "healthy")
	own := hidden.Zones[0].Address
	l.expect(fabric.Internet, "tcp", "", at(hidden.Zones[0].Public, 80), "n1 "+own.String())
	l.expect(fabric.Peer, "tcp", "", at(own, 80), "n1 "+own.String())
	l.expect(fabric.Internet, "tcp", "", at(kept.Zones[0].Public, 80), "n1 "+internet)
	l.expect(fabric.Peer, "tcp", "", at(kept.Zones[0].Address, 80), "n1 "+peer)
	// A target in the peered VPC counts for every zone.
	l.serve(fabric.Peer, 9000)
	far := l.create(`
name: far
subnets: [b]
listeners: [{port: 80}]
targetGroups: [{name: far, targetType: ip, port: 9000, preserveClientIP: true, targets: [{address: ` + peer + `}], healthCheck: {` + quick + `}}]
`)
	l.await("far", "healthy")
	l.expect("n1", "tcp", "", at(far.Zones[0].Address, 80), "peer "+n1)
	l.clean()

	// A pod's reply that leaves by another ENI than the pod's own is lost.
	l.must("n1", "ip rule del from "+pod+" lookup 2")
	l.expect(fabric.Internet, "tcp", "", at(kept.Zones[0].Public, 80), "")
	drops, err := l.fabric.Drops(t.Context())
	if err != nil || len(drops) == 0 || drops[0].Reason != fabric.SourceAddress {
		t.Errorf("drops %+v, %v, want the source check's", drops, err)
	}
}

// TestHairpin has targets that are their own clients.
func TestHairpin(t *testing.T) {
	l := newLab(t)
	l.attachPod()
	nodes := l.create(`
name: nodes
listeners: [{port: 80}]
targetGroups: [{name: nodes, port: 9000, targets: [{node: n1}], healthCheck: {` + quick + `}}]
`)
	kept := l.create(`
name: kept
listeners: [{port: 80}]
targetGroups: [{name: pods, targetType: ip, preserveClientIP: true, port: 9000, targets: [{address: ` + pod + `}], healthCheck: {` + quick + `}}]
`)
	hidden := l.create(`
name: hidden
listeners: [{port: 80}]
targetGroups: [{name: pods, targetType: ip, port: 9000, targets: [{address: ` + pod + `}], healthCheck: {` + quick + `}}]
`)
	l.await("nodes", "healthy")
	l.await("kept", "healthy")
	l.await("hidden", "healthy")
	// An instance: whatever of the same node asks.
	to := at(nodes.Zones[0].Address, 80)
	l.expect("n1", "tcp", "", to, "")
	l.expect("n1", "tcp", pod, to, "")
	l.expect("n2", "tcp", "", to, "n1 "+n2)
	// An address: only itself. (That n1's own packets from outside are refused
	// by n1 has the same effect and another cause.)
	to = at(kept.Zones[0].Address, 80)
	l.expect("n1", "tcp", pod, to, "")
	l.expect("n2", "tcp", "", to, "n1 "+n2)
	// Without the client's address nothing is wrong.
	to = at(hidden.Zones[0].Address, 80)
	l.expect("n1", "tcp", pod, to, "n1 "+to.Addr().String())
	l.clean()
}

// TestCrossZone sends from one zone to all, each flow to one target.
func TestCrossZone(t *testing.T) {
	l := newLab(t)
	spec := `
listeners: [{port: 80}, {port: 81, protocol: UDP, targetGroup: u}]
targetGroups:
- {name: t, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
- {name: u, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
`
	all := l.create("name: all\ncrossZone: true" + spec)
	own := l.create("name: own" + spec)
	for _, name := range []string{"all", "own"} {
		l.await(name, "healthy", "healthy", "healthy", "healthy")
	}
	for proto, port := range map[string]uint16{"tcp": 80, "udp": 81} {
		got := l.spread(fabric.Peer, proto, at(all.Zones[0].Address, port))
		if got["n1"]+got["n2"] != 40 || got["n1"] < 8 || got["n2"] < 8 {
			t.Errorf("over %s, across zones, servers answered %v", proto, got)
		}
		if got := l.spread(fabric.Peer, proto, at(own.Zones[1].Address, port)); got["n2"] != 40 {
			t.Errorf("over %s, within zone b, servers answered %v", proto, got)
		}
	}
	// A UDP client that asks again from its port gets the same target.
	conn, err := l.dial(fabric.Peer, "udp", "", at(all.Zones[0].Address, 81), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	first := say(t, conn)
	for range 10 {
		if again := say(t, conn); again != first {
			t.Errorf("the flow moved from %s to %s", first, again)
		}
	}
	l.clean()
}

// TestDraining keeps flows of a target that is on its way out, and gives it no
// new ones.
func TestDraining(t *testing.T) {
	l := newLab(t)
	st := l.create(`
name: web
crossZone: true
listeners: [{port: 80}]
targetGroups:
- {name: web, port: 9000, deregistrationDelay: 1500ms, targets: [{node: n1}], healthCheck: {` + quick + `}}
`)
	to := at(st.Zones[0].Address, 80)
	l.await("web", "healthy")
	conn, err := l.dial(fabric.Peer, "tcp", "", to, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := say(t, conn); got != "n1" {
		t.Fatalf("answer from %q", got)
	}
	change := control.TargetChange{Balancer: "web", Targets: []topology.Target{{Node: "n2"}}}
	if err := l.Register(change); err != nil {
		t.Fatal(err)
	}
	l.await("web", "healthy", "healthy")
	change.Targets[0].Node = "n1"
	if err := l.Deregister(change); err != nil {
		t.Fatal(err)
	}
	l.await("web", "draining Target.DeregistrationInProgress", "healthy")
	if got := l.spread(fabric.Peer, "tcp", to); got["n2"] != 40 {
		t.Errorf("new flows while n1 drains: %v", got)
	}
	if got := say(t, conn); got != "n1" {
		t.Errorf("the old flow is answered by %q", got)
	}
	l.await("web", "healthy")
	if got := say(t, conn); got != "n1" {
		t.Errorf("the old flow, after draining, is answered by %q", got)
	}
	if err := l.Deregister(change); err == nil {
		t.Error("a target that is gone was deregistered")
	}
	l.clean()
}

// TestReload loads rules again and again while clients connect: no one is lost
// in between.
func TestReload(t *testing.T) {
	l := newLab(t)
	st := l.create(`
name: web
crossZone: true
listeners: [{port: 80}]
targetGroups: [{name: web, port: 9000, deregistrationDelay: 0s, targets: [{node: n1}], healthCheck: {` + quick + `}}]
`)
	l.await("web", "healthy")
	to := at(st.Zones[0].Address, 80)
	ctx, stop := context.WithCancel(t.Context())
	lost := make(chan int)
	go func() {
		failed := 0
		for ctx.Err() == nil {
			// A lost first packet is sent again after a second.
			if l.ask(fabric.Peer, "tcp", "", to, 800*time.Millisecond) == "" {
				failed++
			}
		}
		lost <- failed
	}()
	change := control.TargetChange{Balancer: "web", Targets: []topology.Target{{Node: "n2"}}}
	for range 10 {
		if err := l.Register(change); err != nil {
			t.Fatal(err)
		}
		l.await("web", "healthy", "healthy")
		if err := l.Deregister(change); err != nil {
			t.Fatal(err)
		}
		l.await("web", "healthy")
	}
	stop()
	if failed := <-lost; failed > 0 {
		t.Errorf("%d connections failed", failed)
	}
}

// TestIdle forgets a flow: the client is told so when it speaks again.
func TestIdle(t *testing.T) {
	l := newLab(t)
	st := l.create(`
name: web
listeners: [{port: 80}]
targetGroups: [{name: web, port: 9000, targets: [{node: n1}], healthCheck: {` + quick + `}}]
`)
	l.await("web", "healthy")
	conn, err := l.dial(fabric.Peer, "tcp", "", at(st.Zones[0].Address, 80), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := say(t, conn); got != "n1" {
		t.Fatalf("answer from %q", got)
	}
	l.must(fabric.LB, "conntrack -F")
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("after the balancer has forgotten the flow: %v, want a reset", err)
	}
}

// say sends a line and returns which server answers.
func say(t *testing.T, conn net.Conn) string {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	var reply echo.Reply
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		t.Fatalf("no answer from %s: %v", conn.RemoteAddr(), err)
	}
	return reply.Host
}
