package telemetry

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Proxy are the metrics of services, under kube-proxy's names (v1.36,
// pkg/proxy/metrics) with its labels and buckets; our own begin with
// causeway_. Both families are written together: what is measured of a round
// has the label IPv4. All methods are safe for concurrent use.
type Proxy struct {
	sync, full, partial, programming, sweep *prometheus.HistogramVec
	last, lastQueued, noLocal               *prometheus.GaugeVec
	endpointsPending, servicesPending       prometheus.Gauge
	endpoints, services                     prometheus.Counter
	healthz, livez, swept                   *prometheus.CounterVec
	failures                                *prometheus.CounterVec

	refused                       prometheus.Gauge
	repairs, changes, sweepFailed prometheus.Counter
}

const family = "IPv4"

// NewProxy returns the metrics of services, and adds them to those of the
// daemon. The mode is iptables or nftables; counts tells how often another
// program was in the way of a write.
func NewProxy(m *Metrics, mode string, contended func() float64) *Proxy {
	const prefix = "kubeproxy_"
	p := &Proxy{
		sync:        histograms(prefix+"sync_proxy_rules_duration_seconds", "Time of a round of writing rules.", syncBuckets(), "ip_family"),
		full:        histograms(prefix+"sync_full_proxy_rules_duration_seconds", "Time of a round that went through all services.", syncBuckets(), "ip_family"),
		partial:     histograms(prefix+"sync_partial_proxy_rules_duration_seconds", "Time of a round that went through changed services.", syncBuckets(), "ip_family"),
		programming: histograms(prefix+"network_programming_duration_seconds", "Time from a change of endpoints in the cluster until its rules are written.", programmingBuckets(), "ip_family"),
		sweep:       histograms(prefix+"conntrack_reconciler_sync_duration_seconds", "Time of ending stale UDP flows.", syncBuckets(), "ip_family"),

		last:       gauges(prefix+"sync_proxy_rules_last_timestamp_seconds", "When rules were last written.", "ip_family"),
		lastQueued: gauges(prefix+"sync_proxy_rules_last_queued_timestamp_seconds", "When a change last came.", "ip_family"),
		noLocal:    gauges(prefix+"sync_proxy_rules_no_local_endpoints_total", "Service-ports of policy Local without an endpoint here.", "traffic_policy", "ip_family"),

		endpointsPending: gauge(prefix+"sync_proxy_rules_endpoint_changes_pending", "Changes of endpoints that wait."),
		servicesPending:  gauge(prefix+"sync_proxy_rules_service_changes_pending", "Changes of services that wait."),
		endpoints:        counter(prefix+"sync_proxy_rules_endpoint_changes_total", "Changes of endpoints."),
		services:         counter(prefix+"sync_proxy_rules_service_changes_total", "Changes of services."),
		healthz:          counters(prefix+"proxy_healthz_total", "Answers of /healthz.", "code"),
		livez:            counters(prefix+"proxy_livez_total", "Answers of /livez.", "code"),
		swept:            counters(prefix+"conntrack_reconciler_deleted_entries_total", "Stale UDP flows ended.", "ip_family"),

		refused:     gauge("causeway_services_refused", "Services that are not served whole."),
		repairs:     counter("causeway_service_repairs_total", "Rounds that repaired what others had changed."),
		changes:     counter("causeway_service_changes_total", "Chains or elements written for services."),
		sweepFailed: counter("causeway_flow_sweep_failures_total", "Sweeps of UDP flows that failed."),
	}
	if mode == "nftables" {
		p.failures = counters(prefix+"sync_proxy_rules_nftables_sync_failures_total", "Rounds that failed.", "ip_family")
	} else {
		p.failures = counters(prefix+"sync_proxy_rules_iptables_restore_failures_total", "Rounds that failed.", "ip_family")
	}
	m.registry.MustRegister(p.sync, p.full, p.partial, p.programming, p.sweep, p.last, p.lastQueued, p.noLocal,
		p.endpointsPending, p.servicesPending, p.endpoints, p.services, p.healthz, p.livez, p.swept, p.failures,
		p.refused, p.repairs, p.changes, p.sweepFailed,
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "causeway_iptables_contended_total",
			Help: "Writes of rules that had to wait for another program, and were repeated."}, contended))
	p.swept.WithLabelValues(family)
	p.failures.WithLabelValues(family)
	return p
}

// syncBuckets, in seconds, are kube-proxy's: 1 ms to 16 s.
func syncBuckets() []float64 { return prometheus.ExponentialBuckets(0.001, 2, 15) }

// programmingBuckets, in seconds, are kube-proxy's: to 5 minutes.
func programmingBuckets() []float64 {
	return append(append(append(append([]float64{}, prometheus.LinearBuckets(0.25, 0.25, 2)...),
		prometheus.LinearBuckets(1, 1, 59)...), prometheus.LinearBuckets(60, 5, 12)...), prometheus.LinearBuckets(120, 30, 7)...)
}

// Queued counts a change that waits to be written.
func (p *Proxy) Queued(now time.Time) { p.lastQueued.WithLabelValues(family).Set(seconds(now)) }

// Pending says how many changes came since rules were written.
func (p *Proxy) Pending(endpoints, services int) {
	p.endpointsPending.Set(float64(endpoints))
	p.servicesPending.Set(float64(services))
}

// Synced counts a round that wrote what was wanted.
func (p *Proxy) Synced(now time.Time, took time.Duration, full, repair bool, changes, refused int) {
	p.sync.WithLabelValues(family).Observe(took.Seconds())
	kind := p.partial
	if full {
		kind = p.full
	}
	kind.WithLabelValues(family).Observe(took.Seconds())
	p.last.WithLabelValues(family).Set(seconds(now))
	p.changes.Add(float64(changes))
	p.refused.Set(float64(refused))
	if repair {
		p.repairs.Inc()
	}
}

// Changed counts changes of endpoints and services that were written.
func (p *Proxy) Changed(endpoints, services int) {
	p.endpoints.Add(float64(endpoints))
	p.services.Add(float64(services))
	p.Pending(0, 0)
}

// Programmed counts a change of endpoints by the time since it happened.
func (p *Proxy) Programmed(after time.Duration) {
	p.programming.WithLabelValues(family).Observe(after.Seconds())
}

// NoLocal says how many service-ports of policy Local have no endpoint here,
// for IPv4 and IPv6.
func (p *Proxy) NoLocal(internal, external [2]int) {
	for i, f := range []string{"IPv4", "IPv6"} {
		p.noLocal.WithLabelValues("internal", f).Set(float64(internal[i]))
		p.noLocal.WithLabelValues("external", f).Set(float64(external[i]))
	}
}

// Failed counts a round that failed.
func (p *Proxy) Failed() { p.failures.WithLabelValues(family).Inc() }

// Swept counts a sweep of UDP flows.
func (p *Proxy) Swept(ended int, took time.Duration, err error) {
	p.sweep.WithLabelValues(family).Observe(took.Seconds())
	p.swept.WithLabelValues(family).Add(float64(ended))
	if err != nil {
		p.sweepFailed.Inc()
	}
}

// Health counts an answer of /healthz or /livez.
func (p *Proxy) Health(path string, status int) {
	c := p.livez
	if path == "/healthz" {
		c = p.healthz
	}
	c.WithLabelValues(strconv.Itoa(status)).Inc()
}

func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// ProxyHandler serves what kube-proxy serves beside its metrics: /metrics,
// /healthz, and /proxyMode, the mode as text.
func ProxyHandler(m *Metrics, mode string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { ok(w) })
	mux.HandleFunc("GET /proxyMode", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, mode)
	})
	return mux
}
