package topology

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// TestBalancerDefaults holds that the documented file spells out the defaults.
func TestBalancerDefaults(t *testing.T) {
	data, err := os.ReadFile("full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	full, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	var brief LoadBalancer
	err = yaml.UnmarshalStrict([]byte(`
name: web
scheme: internet-facing
listeners: [{port: 80}]
targetGroups: [{name: web, port: 30080, targets: [{node: n1}, {node: n2, port: 30081}]}]
`), &brief)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(full.LoadBalancers[0], brief.Complete([]string{"a", "b"}), comparePrefixes); diff != "" {
		t.Errorf("(-full +completed)\n%s", diff)
	}
}

func TestBalancerDefaultsByKind(t *testing.T) {
	type outcome struct {
		preserve  bool
		crossZone bool
		check     string
		timeout   time.Duration
	}
	tests := []struct {
		name   string
		kind   string
		target string
		listen string
		check  string
		want   outcome
	}{
		{"instances", NLB, TargetInstance, "TCP", "", outcome{true, false, "TCP", 10 * time.Second}},
		{"addresses", NLB, TargetIP, "TCP", "", outcome{false, false, "TCP", 10 * time.Second}},
		{"addresses over UDP", NLB, TargetIP, "UDP", "", outcome{true, false, "TCP", 10 * time.Second}},
		{"checked over HTTP", NLB, TargetIP, "TCP", "HTTP", outcome{false, false, "HTTP", 6 * time.Second}},
		{"application", ALB, TargetInstance, "HTTP", "", outcome{false, true, "HTTP", 5 * time.Second}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := LoadBalancer{
				Name: "l", Type: tt.kind, Listeners: []Listener{{Port: 80, Protocol: tt.listen}},
				TargetGroups: []TargetGroup{{Name: "g", Port: 80, TargetType: tt.target, HealthCheck: HealthCheck{Protocol: tt.check}}},
			}.Complete([]string{"a"})
			g := b.TargetGroups[0]
			got := outcome{*g.PreserveClientIP, *b.CrossZone, g.HealthCheck.Protocol, time.Duration(g.HealthCheck.Timeout)}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(outcome{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if g.HealthCheck.Interval != span.Duration(30*time.Second) {
				t.Errorf("interval %s", g.HealthCheck.Interval)
			}
			if err := Default().CheckBalancer(b); err != nil {
				t.Errorf("the defaults are refused: %v", err)
			}
		})
	}
}

func TestHealthCodes(t *testing.T) {
	h := HealthCheck{Codes: "200-299,404"}
	for status, want := range map[int]bool{199: false, 200: true, 299: true, 300: false, 404: true, 503: false} {
		if got, err := h.Accepts(status); got != want || err != nil {
			t.Errorf("%d: %t, %v, want %t", status, got, err, want)
		}
	}
}
