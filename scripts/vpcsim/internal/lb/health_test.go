package lb

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

var here = netip.MustParseAddr("10.0.0.10")

// TestHealthStates plays outcomes of checks, one per second, to a target:
// p passes, f is refused, t times out.
func TestHealthStates(t *testing.T) {
	tests := []struct {
		name, outcomes string
		want           Health
	}{
		{"before the first check", "", registering},
		{"not yet", "pp", firstChecks},
		{"healthy", "ppp", healthy},
		{"a failure begins anew", "ppfpp", firstChecks},
		{"never healthy", "ff", refused},
		{"one failure is forgiven", "pppf", healthy},
		{"alternating keeps the state", "pppfpfpf", healthy},
		{"fallen", "pppft", timedOut},
		{"not yet back", "pppffpp", refused},
		{"back", "pppffppp", healthy},
	}
	checks := topology.HealthCheck{HealthyThreshold: 3, UnhealthyThreshold: 2}
	outcomes := map[rune]Health{'p': healthy, 'f': refused, 't': timedOut}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Unix(0, 0)
			target := newTarget(topology.Target{Node: "n1", Port: 80}, now, time.Second)
			target.place(here, "a", Health{}, now)
			if target.begin(now, time.Second) {
				t.Error("checked before it was registered")
			}
			for _, o := range tt.outcomes {
				now = now.Add(time.Second)
				if !target.begin(now, time.Second) || target.begin(now, 0) {
					t.Fatal("there should be one check each second")
				}
				target.end(outcomes[o], checks)
			}
			if diff := cmp.Diff(tt.want, target.health); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestDrainingStates(t *testing.T) {
	now := time.Unix(0, 0)
	target := newTarget(topology.Target{Node: "n1", Port: 80}, now, 0)
	target.place(here, "a", Health{}, now)
	if !target.begin(now, time.Second) {
		t.Fatal("no check")
	}
	target.drain(now, time.Minute)
	target.drain(now.Add(time.Second), time.Minute)
	target.end(healthy, topology.HealthCheck{HealthyThreshold: 1})
	target.place(netip.Addr{}, "", notRunning, now)
	if target.health != draining || target.addr != here || target.wait(now) != time.Minute || target.begin(now.Add(time.Hour), 0) {
		t.Errorf("a draining target was disturbed: %+v", target)
	}
	target.register(now, 0)
	target.place(netip.Addr{}, "", notRunning, now)
	if target.health != notRunning || target.checked() {
		t.Errorf("without a place: %+v", target)
	}
	target.drain(now, time.Minute)
	if target.wait(now) != 0 {
		t.Errorf("an unused target drains for %s", target.wait(now))
	}
}

func TestPick(t *testing.T) {
	// Targets are "zone state"; zone - is none. They listen on ports 1, 2, ...
	tests := []struct {
		name      string
		targets   []string
		crossZone bool
		want      []uint16
	}{
		{"own zone", []string{"a healthy", "b healthy", "- healthy"}, false, []uint16{1, 3}},
		{"all zones", []string{"a healthy", "b healthy", "- healthy"}, true, []uint16{1, 2, 3}},
		{"healthy only", []string{"a healthy", "a unhealthy", "a initial", "a draining", "a unused"}, false, []uint16{1}},
		{"fail open", []string{"a unhealthy", "b healthy", "a initial", "a draining", "a unhealthy"}, false, []uint16{1, 5}},
		{"no need to fail open", []string{"a unhealthy", "b healthy"}, true, []uint16{2}},
		{"none", []string{"a initial", "b healthy", "a draining", "a unused"}, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var targets []*target
			for i, text := range tt.targets {
				zone, state, _ := strings.Cut(text, " ")
				targets = append(targets, &target{
					Target: topology.Target{Port: uint16(i + 1)}, addr: here, zone: strings.Trim(zone, "-"), health: Health{State: State(state)},
				})
			}
			var got []uint16
			for _, e := range pick(targets, "a", tt.crossZone) {
				got = append(got, e.Port())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestMajority(t *testing.T) {
	for _, tt := range []struct {
		outcomes []Health
		want     Health
	}{
		{[]Health{healthy}, healthy},
		{[]Health{healthy, timedOut}, timedOut},
		{[]Health{refused, healthy, healthy}, healthy},
		{[]Health{refused, healthy, timedOut}, refused},
	} {
		if diff := cmp.Diff(tt.want, majority(tt.outcomes)); diff != "" {
			t.Errorf("%v (-want +got)\n%s", tt.outcomes, diff)
		}
	}
}
