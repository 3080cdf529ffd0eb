package lb

import (
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// TestHTTPChecks is how a health check port steers an NLB: only the node that
// says 200 gets flows, both do when neither says it.
func TestHTTPChecks(t *testing.T) {
	l := newLab(t)
	var local [2]atomic.Bool
	var mu sync.Mutex
	callers := map[string]bool{}
	for i, node := range []string{"n1", "n2"} {
		l.serveHTTP(node, 10256, func(w http.ResponseWriter, r *http.Request) {
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			mu.Lock()
			callers[host] = true
			mu.Unlock()
			if r.URL.Path != "/healthz" || !local[i].Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		})
	}
	local[1].Store(true)
	st := l.create(`
name: web
crossZone: true
listeners: [{port: 80}]
targetGroups:
- {name: web, port: 9000, targets: [{node: n1}, {node: n2}], healthCheck: {protocol: HTTP, port: 10256, path: /healthz, ` + quick + `}}
`)
	const bad = "unhealthy Target.ResponseCodeMismatch"
	to := at(st.Zones[0].Address, 80)
	for _, tt := range []struct {
		n1, n2 bool
		states []string
		served []string
	}{
		{false, true, []string{bad, "healthy"}, []string{"n2"}},
		{true, true, []string{"healthy", "healthy"}, []string{"n1", "n2"}},
		{true, false, []string{"healthy", bad}, []string{"n1"}},
		{false, false, []string{bad, bad}, []string{"n1", "n2"}},
	} {
		local[0].Store(tt.n1)
		local[1].Store(tt.n2)
		l.await("web", tt.states...)
		got := l.spread(fabric.Peer, "tcp", to)
		for _, node := range []string{"n1", "n2"} {
			if served := got[node] > 0; served != slices.Contains(tt.served, node) {
				t.Errorf("with health %q, %s got %d flows of 40", tt.states, node, got[node])
			}
		}
		if got[""] > 0 {
			t.Errorf("with health %q, %d flows of 40 failed", tt.states, got[""])
		}
	}
	mu.Lock()
	defer mu.Unlock()
	want := map[string]bool{st.Zones[0].Address.String(): true, st.Zones[1].Address.String(): true}
	for c := range callers {
		if !want[c] {
			t.Errorf("a check came from %s", c)
		}
	}
	if len(callers) != len(want) {
		t.Errorf("checks came from %v, want both addresses of the balancer", callers)
	}
	l.clean()
}

// TestTargetStates goes through states that are not about answers to checks.
func TestTargetStates(t *testing.T) {
	l := newLab(t)
	l.create(`
name: web
subnets: [a]
listeners: [{port: 80}]
targetGroups:
- {name: web, port: 9001, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
- {name: spare, port: 9000, targets: [{node: n1}]}
- {name: far, targetType: ip, port: 9000}
`)
	const refusedHere = "unhealthy Target.FailedHealthChecks"
	l.await("web", refusedHere, "unused Target.NotInUse", "unused Target.NotInUse")
	for _, bad := range []control.TargetChange{
		{Balancer: "web", Targets: []topology.Target{{Node: "n9"}}},
		{Balancer: "web", Group: "none", Targets: []topology.Target{{Node: "n1"}}},
		{Balancer: "wob", Targets: []topology.Target{{Node: "n1"}}},
	} {
		if err := l.Register(bad); err == nil {
			t.Errorf("registering %+v was accepted", bad)
		}
	}
	if err := l.model.Terminate("n1"); err != nil {
		t.Fatal(err)
	}
	l.sync()
	l.await("web", "unused Target.InvalidState", "unused Target.NotInUse", "unused Target.InvalidState")
	// An unused target does not drain.
	if err := l.Deregister(control.TargetChange{Balancer: "web", Targets: []topology.Target{{Node: "n1"}}}); err != nil {
		t.Fatal(err)
	}
	l.await("web", "unused Target.NotInUse", "unused Target.InvalidState")
	if err := l.Delete("web"); err != nil {
		t.Fatal(err)
	}
	l.sync()
	if v := l.model.View(); len(v.Balancers) != 0 || len(l.List()) != 0 {
		t.Errorf("a deleted balancer leaves %+v", v.Balancers)
	}
}

// TestTimeout has a target that no one has: its checks get no answer.
func TestTimeout(t *testing.T) {
	l := newLab(t)
	start := time.Now()
	l.create(`
name: web
listeners: [{port: 80}]
targetGroups:
- {name: web, targetType: ip, port: 9000, targets: [{address: 10.0.0.200}], healthCheck: {interval: 20ms, timeout: 50ms}}
`)
	l.await("web", "unhealthy Target.Timeout")
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("two checks of 50 ms took %s", took)
	}
}
