package kubeproxy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	logs "k8s.io/component-base/logs/api/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// idle is a field that does nothing here. The values that it has in files and
// flags that nobody touched need no words; others are warned of, or refused if
// whoever set them counts on them.
type idle struct {
	flag, field string
	value       func(told) any
	usual       []any
	say         string // why it makes no difference; what is right if refused
	refused     bool
}

const (
	noIPVS    = "it left out: there is no ipvs mode"
	noWindows = "it left out: this is the proxy of Linux nodes"
	noLimit   = "requests to the API are three watches, without a limit"
)

// told is what kube-proxy is told.
type told = *v1alpha1.KubeProxyConfiguration

func idleFields() []idle {
	return []idle{
		{"oom-score-adj", "oomScoreAdj", func(c told) any { return *c.OOMScoreAdj }, []any{int32(-999), int32(-998)}, "the pod's specification says it", false},
		{"config-sync-period", "configSyncPeriod", func(c told) any { return c.ConfigSyncPeriod.Duration }, []any{15 * time.Minute}, "watches need no refreshing", false},
		{"profiling", "enableProfiling", func(c told) any { return c.EnableProfiling }, []any{false}, "there are no profiling handlers", false},
		{"show-hidden-metrics-for-version", "showHiddenMetricsForVersion", func(c told) any { return c.ShowHiddenMetricsForVersion }, []any{""}, "no metric is hidden", false},
		{"kube-api-qps", "clientConnection.qps", func(c told) any { return c.ClientConnection.QPS }, []any{float32(5)}, noLimit, false},
		{"kube-api-burst", "clientConnection.burst", func(c told) any { return c.ClientConnection.Burst }, []any{int32(10)}, noLimit, false},
		{"kube-api-content-type", "clientConnection.contentType", func(c told) any { return c.ClientConnection.ContentType },
			[]any{"application/vnd.kubernetes.protobuf"}, "it is protobuf, or JSON if the server has no other", false},
		{"", "clientConnection.acceptContentTypes", func(c told) any { return c.ClientConnection.AcceptContentTypes }, []any{""}, "it is protobuf, or JSON if the server has no other", false},
		{"", "portRange", func(c told) any { return c.PortRange }, []any{""}, "kube-proxy does not use it either", false},
		{"", "logging.format", func(c told) any { return c.Logging.Format }, []any{"", "text"}, "the log has one format", false},
		{"", "logging.flushFrequency", func(c told) any { return c.Logging.FlushFrequency.Duration.Duration }, []any{time.Duration(0), 5 * time.Second}, "the log has no buffer", false},
		{"", "logging.options", func(c told) any { return outputs(c.Logging.Options) }, []any{""}, "the log has one stream", false},
		{"", "logging.vmodule", func(c told) any { return len(c.Logging.VModule) }, []any{0}, "the log has one verbosity", false},

		{"bind-address-hard-fail", "bindAddressHardFail", func(c told) any { return c.BindAddressHardFail }, []any{false},
			"false: an address that is taken is tried again, and services go on", true},
		{"ipvs-sync-period", "ipvs.syncPeriod", func(c told) any { return c.IPVS.SyncPeriod.Duration }, []any{30 * time.Second}, noIPVS, true},
		{"ipvs-min-sync-period", "ipvs.minSyncPeriod", func(c told) any { return c.IPVS.MinSyncPeriod.Duration }, []any{time.Duration(0)}, noIPVS, true},
		{"ipvs-scheduler", "ipvs.scheduler", func(c told) any { return c.IPVS.Scheduler }, []any{""}, noIPVS, true},
		{"ipvs-exclude-cidrs", "ipvs.excludeCIDRs", func(c told) any { return fmt.Sprint(c.IPVS.ExcludeCIDRs) }, []any{"[]"}, noIPVS, true},
		{"ipvs-strict-arp", "ipvs.strictARP", func(c told) any { return c.IPVS.StrictARP }, []any{false}, noIPVS, true},
		{"ipvs-tcp-timeout", "ipvs.tcpTimeout", func(c told) any { return c.IPVS.TCPTimeout.Duration }, []any{time.Duration(0)}, noIPVS, true},
		{"ipvs-tcpfin-timeout", "ipvs.tcpFinTimeout", func(c told) any { return c.IPVS.TCPFinTimeout.Duration }, []any{time.Duration(0)}, noIPVS, true},
		{"ipvs-udp-timeout", "ipvs.udpTimeout", func(c told) any { return c.IPVS.UDPTimeout.Duration }, []any{time.Duration(0)}, noIPVS, true},
		{"", "winkernel.networkName", func(c told) any { return c.Winkernel.NetworkName }, []any{""}, noWindows, true},
		{"", "winkernel.sourceVip", func(c told) any { return c.Winkernel.SourceVip }, []any{""}, noWindows, true},
		{"", "winkernel.enableDSR", func(c told) any { return c.Winkernel.EnableDSR }, []any{false}, noWindows, true},
		{"", "winkernel.rootHnsEndpointName", func(c told) any { return c.Winkernel.RootHnsEndpointName }, []any{""}, noWindows, true},
		{"", "winkernel.forwardHealthCheckVip", func(c told) any { return c.Winkernel.ForwardHealthCheckVip }, []any{false}, noWindows, true},
		{"", "windowsRunAsService", func(c told) any { return c.WindowsRunAsService }, []any{false}, noWindows, true},
	}
}

// outputs is how the log is divided; empty if it is not.
func outputs(o logs.FormatOptions) string {
	var set []string
	for name, to := range map[string]logs.OutputRoutingOptions{"text": o.Text.OutputRoutingOptions, "json": o.JSON.OutputRoutingOptions} {
		if to.SplitStream || to.InfoBufferSize.Value() != 0 {
			set = append(set, name)
		}
	}
	slices.Sort(set)
	return strings.Join(set, ", ")
}

// checkUnused goes through all that does nothing here.
func (r *reading) checkUnused() {
	for _, f := range idleFields() {
		switch v := f.value(r.kp); {
		case slices.Contains(f.usual, v):
		case f.refused:
			r.refuse(f.flag, f.field, v, f.say)
		default:
			r.warn(f.flag, f.field, v, f.say)
		}
	}
	for _, gate := range slices.Sorted(maps.Keys(r.kp.FeatureGates)) {
		on := r.kp.FeatureGates[gate]
		if gate == "AllowServiceExternalIPs" && !on {
			r.refuse("feature-gates", "featureGates", gate+"=false", "it left out: external IPs are served")
			continue
		}
		r.warn("feature-gates", "featureGates", fmt.Sprintf("%s=%t", gate, on), "there are no feature gates")
	}
}
