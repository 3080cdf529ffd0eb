package kubeproxy

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-proxy/config/v1alpha1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// Ports that kube-proxy serves on by default.
const (
	healthzPort = 10256
	metricsPort = 10249
)

// formerFields were in files of releases before v1.27, and in many ConfigMaps
// since: kube-proxy itself reads over them.
var formerFields = []string{"udpIdleTimeout", "resourceContainer"}

// decode reads a KubeProxyConfiguration, and refuses all fields that it does
// not know.
func decode(data []byte) (kp v1alpha1.KubeProxyConfiguration, warnings []string, err error) {
	converted, err := yaml.YAMLToJSONStrict(data)
	if err != nil {
		return kp, nil, fmt.Errorf("want a YAML or JSON object: %w", err)
	}
	var fields map[string]any
	if err := json.UnmarshalCaseSensitivePreserveInts(converted, &fields); err != nil {
		return kp, nil, fmt.Errorf("want a KubeProxyConfiguration: %w", err)
	}
	const group, kind = "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration"
	if fields["apiVersion"] != group || fields["kind"] != kind {
		return kp, nil, fmt.Errorf("apiVersion %q, kind %q: want %s, %s", text(fields["apiVersion"]), text(fields["kind"]), group, kind)
	}
	strict, err := json.UnmarshalStrict(converted, &kp)
	if err != nil {
		return kp, nil, fmt.Errorf("%s%w", culprit(fields, "", err), err)
	}
	for _, e := range strict {
		name, ok := strings.CutPrefix(e.Error(), `unknown field "`)
		name = strings.TrimSuffix(name, `"`)
		switch {
		case ok && slices.Contains(formerFields, name):
			warnings = append(warnings, fmt.Sprintf("%s %v makes no difference: kube-proxy has no such field any more", name, at(fields, name)))
		case ok:
			return kp, nil, fmt.Errorf("field %s, value %v: there is no such field: want one of kube-proxy v1.36", name, at(fields, name))
		default:
			return kp, nil, e
		}
	}
	return kp, warnings, nil
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// at is the value of a field by its path.
func at(fields map[string]any, path string) any {
	var v any = fields
	for name := range strings.SplitSeq(path, ".") {
		inner, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = inner[name]
	}
	return v
}

// culprit is the field whose value an error quotes, as some errors name the
// value alone; empty if there is none.
func culprit(fields map[string]any, path string, err error) string {
	for name, v := range fields {
		switch v := v.(type) {
		case map[string]any:
			if found := culprit(v, path+name+".", err); found != "" {
				return found
			}
		case string:
			if strings.Contains(err.Error(), strconv.Quote(v)) {
				return "field " + path + name + ": "
			}
		}
	}
	return ""
}

// withDefaults fills in what is not said, as kube-proxy does (v1alpha1
// defaults.go), but for minSyncPeriod: see Config.Proxy.
func withDefaults(kp *v1alpha1.KubeProxyConfiguration) {
	unset(&kp.BindAddress, "0.0.0.0")
	unset(&kp.HealthzBindAddress, defaultHealthz(kp.BindAddress))
	unset(&kp.MetricsBindAddress, defaultMetrics(kp.BindAddress))
	kp.HealthzBindAddress = withPort(kp.HealthzBindAddress, healthzPort)
	kp.MetricsBindAddress = withPort(kp.MetricsBindAddress, metricsPort)
	for _, period := range []*metav1.Duration{&kp.IPTables.SyncPeriod, &kp.IPVS.SyncPeriod, &kp.NFTables.SyncPeriod} {
		unset(&period.Duration, 30*time.Second)
	}
	missing(&kp.IPTables.MasqueradeBit, 14)
	missing(&kp.NFTables.MasqueradeBit, 14)
	missing(&kp.IPTables.LocalhostNodePorts, true)
	missing(&kp.OOMScoreAdj, -999)
	missing(&kp.Conntrack.MaxPerCore, 32768)
	missing(&kp.Conntrack.Min, 131072)
	missing(&kp.Conntrack.TCPEstablishedTimeout, metav1.Duration{Duration: 24 * time.Hour})
	missing(&kp.Conntrack.TCPCloseWaitTimeout, metav1.Duration{Duration: time.Hour})
	unset(&kp.ConfigSyncPeriod.Duration, 15*time.Minute)
	unset(&kp.ClientConnection.ContentType, "application/vnd.kubernetes.protobuf")
	unset(&kp.ClientConnection.QPS, 5)
	unset(&kp.ClientConnection.Burst, 10)
}

func unset[T comparable](field *T, value T) {
	if *field == *new(T) {
		*field = value
	}
}

func missing[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

// The addresses that are served by default are of the family of bindAddress.
func defaultHealthz(bind string) string { return defaultAddress(bind, "0.0.0.0", "::", healthzPort) }

func defaultMetrics(bind string) string { return defaultAddress(bind, "127.0.0.1", "::1", metricsPort) }

func defaultAddress(bind, ipv4, ipv6 string, port int32) string {
	if strings.Contains(bind, ":") {
		return net.JoinHostPort(ipv6, fmt.Sprint(port))
	}
	return net.JoinHostPort(ipv4, fmt.Sprint(port))
}
