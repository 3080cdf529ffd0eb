// Package telemetry shows what the daemon does: Prometheus metrics, health and
// a dump of its state, over HTTP.
//
// Metrics whose meaning is that of aws-node carry its names (awscni_), so that
// dashboards and alarms of a node that is taken over keep working; the others
// begin with causeway_. What can be read off the pool is read at scrape time;
// only events are counted here.
//
// The package is passive: it starts nothing and listens nowhere; the daemon
// owns the listener. It keeps a registry of its own, no globals. No label takes
// a pod's name, so that the number of series does not grow with pods.
package telemetry

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the daemon's counters. All methods are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	adds            prometheus.Counter
	dels            *prometheus.CounterVec
	noAddress       prometheus.Counter
	causes          *prometheus.CounterVec
	requestDuration *prometheus.HistogramVec

	ec2Calls, ec2Errors *prometheus.CounterVec
	apiErrors           *prometheus.CounterVec
	apiLatency          *prometheus.SummaryVec
	ec2Duration         *prometheus.HistogramVec

	datapathChanges *prometheus.CounterVec
	natChanges      prometheus.Counter
	swept           prometheus.Counter
	differences     *prometheus.CounterVec
	stepFailures    *prometheus.CounterVec
}

// requestBuckets, in seconds, begin at 50 microseconds, since an address that
// is at hand is assigned in less than a millisecond, and end where the
// container runtime gives up.
func requestBuckets() []float64 {
	return []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30, 60}
}

// ec2Buckets, in seconds, span a quick Describe and a call that is retried.
func ec2Buckets() []float64 {
	return []float64{10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10, 30}
}

// New returns the metrics of a daemon of the given version over the pool that
// source shows.
func New(version string, source Source) *Metrics {
	m := &Metrics{
		registry:        prometheus.NewRegistry(),
		adds:            counter("awscni_add_ip_req_count", "Requests to assign an address."),
		dels:            counters("awscni_del_ip_req_count", "Requests to release an address, and releases without one.", "reason"),
		noAddress:       counter("awscni_no_available_ip_addresses", "Requests that found no free address."),
		causes:          counters("causeway_causes_total", "What kept pods from addresses, or the node from what it should have, by code.", "code"),
		requestDuration: histograms("causeway_request_duration_seconds", "Time to answer a request of the plugin.", requestBuckets(), "verb", "result"),

		ec2Calls:    counters("awscni_ec2api_req_count", "Calls of the EC2 API.", "fn"),
		ec2Errors:   counters("awscni_ec2api_error_count", "Calls of the EC2 API that failed.", "fn"),
		apiErrors:   counters("awscni_aws_api_error_count", "Calls of AWS APIs that failed, by error code.", "api", "error"),
		apiLatency:  summaries("awscni_aws_api_latency_ms", "Time of calls of AWS APIs, in milliseconds.", "api", "error", "status"),
		ec2Duration: histograms("causeway_ec2_call_duration_seconds", "Time of calls of the EC2 API.", ec2Buckets(), "operation", "code"),

		datapathChanges: counters("causeway_datapath_changes_total", "Changes made to links, addresses, routes and rules.", "kind", "op"),
		natChanges:      counter("causeway_nat_changes_total", "Changes made to the rules of SNAT."),
		swept:           counter("causeway_swept_enis_total", "ENIs deleted that other nodes left which are gone."),
		differences:     counters("causeway_differences_total", "Differences between book, EC2 and kernel that stood at two looks.", "kind"),
		stepFailures:    counters("causeway_step_failures_total", "Steps of the daemon's loops that failed.", "loop"),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		newPoolCollector(source), buildInfo(version),
		m.adds, m.dels, m.noAddress, m.causes, m.requestDuration,
		m.ec2Calls, m.ec2Errors, m.apiErrors, m.apiLatency, m.ec2Duration,
		m.datapathChanges, m.natChanges, m.swept, m.differences, m.stepFailures,
	)
	return m
}

// Request counts a request of the plugin: its verb (ADD, DEL, CHECK...), the
// time until the answer, and the error with which it ended.
func (m *Metrics) Request(verb string, took time.Duration, err error) {
	if verb == "ADD" {
		m.adds.Inc()
	}
	m.requestDuration.WithLabelValues(verb, result(err)).Observe(took.Seconds())
}

// Release counts a release of an address, by its reason, which must be one of a
// few words.
func (m *Metrics) Release(reason string) { m.dels.WithLabelValues(reason).Inc() }

// NoAddress counts a request that found no free address, whether it then
// waited for one or failed.
func (m *Metrics) NoAddress() { m.noAddress.Inc() }

// Cause counts what kept a pod or the node from what it should have, by its
// code (reason.Code).
func (m *Metrics) Cause(code string) { m.causes.WithLabelValues(code).Inc() }

// EC2Call counts a call of the EC2 API, such as DescribeNetworkInterfaces. The
// code is that of the EC2 error, or empty after success.
func (m *Metrics) EC2Call(operation, code string, took time.Duration) {
	failed, status := "false", "200"
	m.ec2Calls.WithLabelValues(operation).Inc()
	if code != "" {
		failed, status = "true", code
		m.ec2Errors.WithLabelValues(operation).Inc()
		m.apiErrors.WithLabelValues(operation, code).Inc()
	}
	m.apiLatency.WithLabelValues(operation, failed, status).Observe(float64(took) / float64(time.Millisecond))
	m.ec2Duration.WithLabelValues(operation, code).Observe(took.Seconds())
}

// DatapathChange counts a change made in the kernel: the kind of object (link,
// route, rule...) and what was done to it (add, delete...).
func (m *Metrics) DatapathChange(kind, op string) { m.datapathChanges.WithLabelValues(kind, op).Inc() }

// NATChanges counts n changes made to the rules of SNAT; n is not negative.
func (m *Metrics) NATChanges(n int) { m.natChanges.Add(float64(n)) }

// Difference counts a difference between book, EC2 and kernel, by its kind.
func (m *Metrics) Difference(kind string) { m.differences.WithLabelValues(kind).Inc() }

// Swept counts an ENI that was deleted for a node that is gone.
func (m *Metrics) Swept() { m.swept.Inc() }

// StepFailed counts a failed step of the named loop.
func (m *Metrics) StepFailed(loop string) { m.stepFailures.WithLabelValues(loop).Inc() }

// result tells a caller that went away from a failure of ours.
func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "canceled"
	}
	return "error"
}

func buildInfo(version string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "awscni_build_info",
		Help:        "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	info.Set(1)
	return info
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func summaries(name, help string, labels ...string) *prometheus.SummaryVec {
	return prometheus.NewSummaryVec(prometheus.SummaryOpts{Name: name, Help: help}, labels)
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}
