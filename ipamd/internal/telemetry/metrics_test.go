package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// empty is the pool before the first ENI.
func empty() Snapshot { return Snapshot{} }

// scrape returns the samples of the daemon's own metrics, without those that
// begin with one of skip.
func scrape(t *testing.T, m *Metrics, skip ...string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(m, nil, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var samples []string
	for line := range strings.Lines(w.Body.String()) {
		skipped := slices.ContainsFunc(skip, func(prefix string) bool { return strings.HasPrefix(line, prefix) })
		if ours := strings.HasPrefix(line, "awscni_") || strings.HasPrefix(line, "causeway_"); ours && !skipped {
			samples = append(samples, strings.TrimSpace(line))
		}
	}
	return samples
}

// TestBudgetIsReadAtScrape shows what may be asked of EC2.
func TestBudgetIsReadAtScrape(t *testing.T) {
	m := New("v1", func() Snapshot {
		return Snapshot{Budgets: []Budget{
			{Action: "CreateNetworkInterface", Rate: 0.05, Ceiling: 1, Wait: 1500 * time.Millisecond},
			{Action: "DescribeSubnets", Rate: 4, Ceiling: 4},
		}}
	})
	want := []string{
		`causeway_ec2_budget_ceiling{fn="CreateNetworkInterface"} 1`,
		`causeway_ec2_budget_ceiling{fn="DescribeSubnets"} 4`,
		`causeway_ec2_budget_rate{fn="CreateNetworkInterface"} 0.05`,
		`causeway_ec2_budget_rate{fn="DescribeSubnets"} 4`,
		`causeway_ec2_budget_wait_seconds{fn="CreateNetworkInterface"} 1.5`,
		`causeway_ec2_budget_wait_seconds{fn="DescribeSubnets"} 0`,
	}
	var got []string
	for _, line := range scrape(t, m) {
		if strings.HasPrefix(line, "causeway_ec2_budget_") {
			got = append(got, line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPoolIsReadAtScrape changes the pool between two scrapes.
func TestPoolIsReadAtScrape(t *testing.T) {
	pool := Snapshot{
		ENIs: []ENI{
			{ID: "eni-a", Device: 0, Total: 9, Assigned: 4, Ready: true},
			{ID: "eni-b", Device: 2, Total: 5, Assigned: 1},
		},
		MaxENIs: 4, MaxAddresses: 56, Total: 14, Assigned: 5, Cooling: 3, Waiting: 2, DroppedEvents: 7, Quarantined: 1, Differences: map[string]int{"address-unknown": 1},
		Switches: map[string]bool{"stop-releasing": true, "stop-calling-ec2": false},
	}
	m := New("v1", func() Snapshot { return pool })
	counters := []string{"awscni_build_info", "awscni_add_", "awscni_no_", "causeway_nat_", "causeway_swept_"}
	want := []string{
		`awscni_assigned_ip_addresses 5`,
		`awscni_assigned_ip_per_eni{eni="eni-a"} 4`,
		`awscni_assigned_ip_per_eni{eni="eni-b"} 1`,
		`awscni_eni_allocated 2`,
		`awscni_eni_max 4`,
		`awscni_ip_max 56`,
		`awscni_total_ip_addresses 14`,
		`causeway_cooling_ip_addresses 3`,
		`causeway_differences{kind="address-unknown"} 1`,
		`causeway_dropped_events_total 7`,
		`causeway_eni_ready{device="0",eni="eni-a"} 1`,
		`causeway_eni_ready{device="2",eni="eni-b"} 0`,
		`causeway_quarantined_ip_addresses 1`,
		`causeway_switch_on{switch="stop-calling-ec2"} 0`,
		`causeway_switch_on{switch="stop-releasing"} 1`,
		`causeway_total_ip_per_eni{eni="eni-a"} 9`,
		`causeway_total_ip_per_eni{eni="eni-b"} 5`,
		`causeway_waiting_requests 2`,
	}
	if d := cmp.Diff(want, scrape(t, m, counters...)); d != "" {
		t.Errorf("first scrape (-want +got):\n%s", d)
	}

	pool = Snapshot{MaxENIs: 4}
	want = []string{
		`awscni_assigned_ip_addresses 0`,
		`awscni_eni_allocated 0`,
		`awscni_eni_max 4`,
		`awscni_ip_max 0`,
		`awscni_total_ip_addresses 0`,
		`causeway_cooling_ip_addresses 0`,
		`causeway_dropped_events_total 0`,
		`causeway_quarantined_ip_addresses 0`,
		`causeway_waiting_requests 0`,
	}
	if d := cmp.Diff(want, scrape(t, m, counters...)); d != "" {
		t.Errorf("second scrape (-want +got):\n%s", d)
	}
}

func TestCounters(t *testing.T) {
	m := New("v1.2.3", empty)
	m.Request("ADD", time.Millisecond, nil)
	m.Request("ADD", time.Second, errors.New("no address"))
	m.Request("DEL", time.Millisecond, nil)
	m.Release("GC")
	m.NoAddress()
	m.EC2Call("CreateNetworkInterface", "", 250*time.Millisecond)
	m.EC2Call("CreateNetworkInterface", "RequestLimitExceeded", 1500*time.Microsecond)
	m.DatapathChange("route", "add")
	m.NATChanges(0)
	m.NATChanges(3)
	m.Swept()
	m.Difference("sandbox-gone")
	m.StepFailed("pool")

	want := []string{
		`awscni_add_ip_req_count 2`,
		`awscni_aws_api_error_count{api="CreateNetworkInterface",error="RequestLimitExceeded"} 1`,
		`awscni_aws_api_latency_ms_sum{api="CreateNetworkInterface",error="false",status="200"} 250`,
		`awscni_aws_api_latency_ms_count{api="CreateNetworkInterface",error="false",status="200"} 1`,
		`awscni_aws_api_latency_ms_sum{api="CreateNetworkInterface",error="true",status="RequestLimitExceeded"} 1.5`,
		`awscni_aws_api_latency_ms_count{api="CreateNetworkInterface",error="true",status="RequestLimitExceeded"} 1`,
		fmt.Sprintf(`awscni_build_info{goversion=%q,version="v1.2.3"} 1`, runtime.Version()),
		`awscni_del_ip_req_count{reason="GC"} 1`,
		`awscni_ec2api_error_count{fn="CreateNetworkInterface"} 1`,
		`awscni_ec2api_req_count{fn="CreateNetworkInterface"} 2`,
		`awscni_no_available_ip_addresses 1`,
		`causeway_datapath_changes_total{kind="route",op="add"} 1`,
		`causeway_differences_total{kind="sandbox-gone"} 1`,
		`causeway_nat_changes_total 3`,
		`causeway_step_failures_total{loop="pool"} 1`,
		`causeway_swept_enis_total 1`,
	}
	gaugesAndHistograms := []string{"awscni_eni_", "awscni_ip_max", "awscni_total_", "awscni_assigned_",
		"causeway_cooling", "causeway_dropped", "causeway_quarantined", "causeway_waiting", "causeway_request", "causeway_ec2"}
	if d := cmp.Diff(want, scrape(t, m, gaugesAndHistograms...)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestRequestDuration(t *testing.T) {
	m := New("v1", empty)
	m.Request("ADD", 40*time.Microsecond, nil)
	m.Request("ADD", 60*time.Microsecond, nil)
	m.Request("DEL", time.Hour, fmt.Errorf("waiting: %w", context.DeadlineExceeded))
	m.Request("DEL", time.Hour, errors.New("broken"))

	samples := scrape(t, m)
	for _, want := range []string{
		`causeway_request_duration_seconds_bucket{result="ok",verb="ADD",le="5e-05"} 1`,
		`causeway_request_duration_seconds_bucket{result="ok",verb="ADD",le="0.0001"} 2`,
		`causeway_request_duration_seconds_sum{result="ok",verb="ADD"} 0.0001`,
		`causeway_request_duration_seconds_bucket{result="canceled",verb="DEL",le="60"} 0`,
		`causeway_request_duration_seconds_count{result="canceled",verb="DEL"} 1`,
		`causeway_request_duration_seconds_count{result="error",verb="DEL"} 1`,
	} {
		if !slices.Contains(samples, want) {
			t.Errorf("no sample %s in\n%s", want, strings.Join(samples, "\n"))
		}
	}
}

func TestEC2CallDuration(t *testing.T) {
	m := New("v1", empty)
	m.EC2Call("DescribeSubnets", "", 20*time.Millisecond)
	samples := scrape(t, m)
	for _, want := range []string{
		`causeway_ec2_call_duration_seconds_bucket{code="",operation="DescribeSubnets",le="0.01"} 0`,
		`causeway_ec2_call_duration_seconds_bucket{code="",operation="DescribeSubnets",le="0.025"} 1`,
	} {
		if !slices.Contains(samples, want) {
			t.Errorf("no sample %s in\n%s", want, strings.Join(samples, "\n"))
		}
	}
}

// TestLint holds our own names to the conventions of Prometheus; those of
// aws-node are as they are.
func TestLint(t *testing.T) {
	m := New("v1", empty)
	m.Request("ADD", 0, nil)
	m.EC2Call("DescribeSubnets", "Throttled", 0)
	m.DatapathChange("link", "add")
	m.StepFailed("pool")
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "causeway_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	m := New("v1", empty)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				m.Request("ADD", time.Millisecond, nil)
				m.EC2Call("DescribeSubnets", "", time.Millisecond)
			}
		})
		wg.Go(func() { scrape(t, m) })
	}
	wg.Wait()
	if got := testutil.ToFloat64(m.adds); got != 400 {
		t.Errorf("counted %v requests, want 400", got)
	}
}

func BenchmarkRequest(b *testing.B) {
	m := New("v1", empty)
	for b.Loop() {
		m.Request("ADD", time.Millisecond, nil)
	}
}
