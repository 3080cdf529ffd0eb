package telemetry

import (
	"errors"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestProxyMetrics wants kube-proxy's names and labels, all of those that are
// true here, once something happened.
func TestProxyMetrics(t *testing.T) {
	m := New("v1", empty)
	p := NewProxy(m, "iptables", func() float64 { return 3 })
	now := time.Unix(1700000000, 5e8)
	p.Queued(now)
	p.Pending(2, 1)
	p.Synced(now, 20*time.Millisecond, true, true, 7, 1)
	p.Synced(now, time.Millisecond, false, false, 1, 0)
	p.Changed(2, 1)
	p.Programmed(300 * time.Millisecond)
	p.NoLocal([2]int{1, 2}, [2]int{3, 4})
	p.Failed()
	p.Swept(5, time.Millisecond, errors.New("interrupted"))
	p.Health("/healthz", 200)
	p.Health("/livez", 503)

	w := httptest.NewRecorder()
	ProxyHandler(m, "iptables").ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var got []string
	for line := range strings.Lines(w.Body.String()) {
		line = strings.TrimSpace(line)
		ours := strings.HasPrefix(line, "kubeproxy_") || strings.HasPrefix(line, "causeway_service") || strings.HasPrefix(line, "causeway_flow") || strings.HasPrefix(line, "causeway_iptables")
		if ours && !strings.Contains(line, "_bucket{") && !strings.Contains(line, "_sum{") {
			got = append(got, line)
		}
	}
	want := []string{
		`causeway_flow_sweep_failures_total 1`,
		`causeway_iptables_contended_total 3`,
		`causeway_service_changes_total 8`,
		`causeway_service_repairs_total 1`,
		`causeway_services_refused 0`,
		`kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family="IPv4"} 5`,
		`kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_network_programming_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_proxy_healthz_total{code="200"} 1`,
		`kubeproxy_proxy_livez_total{code="503"} 1`,
		`kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1`,
		`kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 2`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_pending 0`,
		`kubeproxy_sync_proxy_rules_endpoint_changes_total 2`,
		`kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family="IPv4"} 1`,
		`kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"} 1.7000000005e+09`,
		`kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1.7000000005e+09`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="external"} 3`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv4",traffic_policy="internal"} 1`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv6",traffic_policy="external"} 4`,
		`kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family="IPv6",traffic_policy="internal"} 2`,
		`kubeproxy_sync_proxy_rules_service_changes_pending 0`,
		`kubeproxy_sync_proxy_rules_service_changes_total 1`,
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
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

// TestProgrammingBuckets holds kube-proxy's buckets.
func TestProgrammingBuckets(t *testing.T) {
	b := programmingBuckets()
	if len(b) != 80 || b[0] != 0.25 || b[2] != 1 || b[61] != 60 || b[73] != 120 || b[79] != 300 || !slices.IsSorted(b) {
		t.Errorf("%d: %v", len(b), b)
	}
}

func TestProxyHandler(t *testing.T) {
	h := ProxyHandler(New("v1", empty), "nftables")
	for path, want := range map[string]string{"/proxyMode": "^nftables$", "/healthz": "^ok\n$", "/metrics": "go_goroutines"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !regexp.MustCompile(want).MatchString(w.Body.String()) {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
