package main

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestLB takes a balancer through its life on the command line, beside one
// that the topology has.
func TestLB(t *testing.T) {
	s := raise(t, "lb", `
loadBalancers:
- name: first
  listeners: [{port: 80}]
  targetGroups: [{name: first, port: 30080, targets: [{node: n2}], healthCheck: {interval: 50ms, healthyThreshold: 1}}]
`)
	out := s.must("lb", "create", "web", "--internet-facing", "--listen", "tcp:80=30080", "--listen", "UDP:53=30080",
		"--target", "n1", "--deregistration-delay", "1m", "--check", "{interval: 50ms, healthyThreshold: 1, unhealthyThreshold: 1}")
	if !strings.Contains(out, "us-west-2b") || !strings.Contains(out, "198.51.100.13") || !strings.Contains(out, "TCP:80=tcp-80 UDP:53=udp-53") {
		t.Errorf("create says\n%s", out)
	}
	for _, n := range []string{"n1", "n2"} {
		s.shell(n, "setsid "+program+" echo --listen :30080 >/dev/null 2>&1 &")
	}
	s.eventually("all targets are healthy", func() bool {
		out = s.must("lb", "health")
		return strings.Count(out, " healthy ") == 3
	})
	st := s.status()
	if len(st.LoadBalancers) != 2 || len(st.Detached) != 0 || st.LoadBalancers[1].Zones[0].Public != netip.MustParseAddr("198.51.100.13") {
		t.Fatalf("status shows %+v", st.LoadBalancers)
	}
	if out := s.must("status"); !strings.Contains(out, "\nBALANCER") {
		t.Errorf("status does not show balancers:\n%s", out)
	}
	for _, target := range []string{"tcp 198.51.100.13:80", "udp 198.51.100.13:53"} {
		proto, to, _ := strings.Cut(target, " ")
		if res := s.probe("internet", proto, to); res.Host != "n1" || res.Source.Addr().String() != "203.0.113.10" {
			t.Errorf("%s: %+v", target, res)
		}
	}
	if res := s.probe("peer", "tcp", st.LoadBalancers[0].Zones[1].Address.String()+":80"); res.Host != "n2" {
		t.Errorf("first, in zone b: %+v", res)
	}
	s.must("lb", "deregister", "web", "--group", "tcp-80", "n1")
	s.must("lb", "register", "web", "n2:30081")
	var targets []control.TargetHealth
	if err := json.Unmarshal([]byte(s.must("lb", "health", "web", "--json")), &targets); err != nil {
		t.Fatal(err)
	}
	if len(targets) != 3 || targets[0].State != "draining" || targets[1].Target.Port != 30081 {
		t.Errorf("targets %+v", targets)
	}
	s.must("lb", "delete", "web")
	if out := s.must("lb", "list"); strings.Contains(out, "web") || !strings.Contains(out, "first") {
		t.Errorf("list after delete:\n%s", out)
	}
	for problem, args := range map[string][]string{
		"does not exist":       {"delete", "web"},
		`target node "n9"`:     {"register", "first", "n9"},
		"is not registered":    {"deregister", "first", "n1"},
		"name \"first\" is":    {"create", "first", "--listen", "TCP:1=1"},
		`listener "80"`:        {"create", "x", "--listen", "80"},
		"needs a name":         {"create"},
		`unknown field "pace"`: {"create", "x", "--listen", "TCP:1=1", "--check", "{pace: 1s}"},
	} {
		if out, code := s.run(append([]string{"lb"}, args...)...); code != 1 || !strings.Contains(out, problem) {
			t.Errorf("lb %v: exit code %d, %q, want %q", args, code, out, problem)
		}
	}
}

func TestParseTargets(t *testing.T) {
	want := []control.Target{{Node: "n1"}, {Node: "n2", Port: 81}, {Address: netip.MustParseAddr("10.0.0.7")}, {Address: netip.MustParseAddr("10.0.0.8"), Port: 80}}
	got, err := parseTargets([]string{"n1", "n2:81", "10.0.0.7", "10.0.0.8:80"})
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", diff, err)
	}
	for _, bad := range []string{"n1:", "n1:0", "n1:70000", "10.0.0.7:http"} {
		if _, err := parseTargets([]string{bad}); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}
