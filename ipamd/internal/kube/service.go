package kube

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"

	corev1 "k8s.io/api/core/v1"

	"github.com/causeway-cni/causeway/proxy/service"
)

// defaultAffinity is the API's default of a session affinity's timeout.
const defaultAffinity = time.Duration(corev1.DefaultClientIPServiceAffinitySeconds) * time.Second

// intern returns a string of the same text that others hold, too. There are
// few names of nodes, zones and ports, in many endpoints.
func intern(s string) string { return unique.Make(s).Value() }

// toService reads a Service as kube-proxy v1.36 does (pkg/proxy
// serviceport.go): source ranges from the spec alone, never from the
// annotation that came before it; entries that are blank do not count. What
// cannot be read is a fault, where kube-proxy skips it and serves the rest.
func toService(o *corev1.Service) service.Service {
	s := service.Service{
		Key:                 service.Key{Namespace: intern(o.Namespace), Name: intern(o.Name)},
		Type:                serviceType(o.Spec.Type),
		OtherProxy:          has(o.Labels, otherProxyLabel),
		Affinity:            affinity(o.Spec),
		HealthCheckNodePort: o.Spec.HealthCheckNodePort,
		Ports:               ports(o.Spec.Ports),
	}
	if p := o.Spec.InternalTrafficPolicy; p != nil && *p == corev1.ServiceInternalTrafficPolicyLocal {
		s.Internal = service.Local
	}
	if external(o.Spec) && o.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		s.External = service.Local
	}
	read := reader{faults: &s.Faults}
	s.ClusterIPs = read.addrs("spec.clusterIPs", clusterIPs(o.Spec))
	s.ExternalIPs = read.addrs("spec.externalIPs", o.Spec.ExternalIPs)
	s.SourceRanges = read.prefixes("spec.loadBalancerSourceRanges", o.Spec.LoadBalancerSourceRanges)
	for _, i := range o.Status.LoadBalancer.Ingress {
		for _, a := range read.addrs("status.loadBalancer.ingress.ip", []string{i.IP}) {
			proxy := i.IPMode != nil && *i.IPMode != corev1.LoadBalancerIPModeVIP
			s.Ingress = append(s.Ingress, service.Ingress{Addr: a, Proxy: proxy})
		}
	}
	return s
}

// external says whether the policy for external traffic counts.
func external(spec corev1.ServiceSpec) bool {
	switch serviceType(spec.Type) {
	case service.LoadBalancer, service.NodePort:
		return true
	case service.ClusterIP:
		return len(spec.ExternalIPs) > 0
	}
	return false
}

func serviceType(t corev1.ServiceType) service.Type {
	if t == "" {
		return service.ClusterIP
	}
	return service.Type(intern(string(t)))
}

// clusterIPs are none for a headless service. Objects from before clusterIPs
// have only clusterIP.
func clusterIPs(spec corev1.ServiceSpec) []string {
	switch {
	case spec.ClusterIP == "" || spec.ClusterIP == corev1.ClusterIPNone:
		return nil
	case len(spec.ClusterIPs) == 0:
		return []string{spec.ClusterIP}
	}
	return spec.ClusterIPs
}

func affinity(spec corev1.ServiceSpec) time.Duration {
	if spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	c := spec.SessionAffinityConfig
	if c == nil || c.ClientIP == nil || c.ClientIP.TimeoutSeconds == nil {
		return defaultAffinity
	}
	return time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
}

func ports(all []corev1.ServicePort) []service.Port {
	out := make([]service.Port, 0, len(all))
	for _, p := range all {
		out = append(out, service.Port{
			Name: intern(p.Name), Protocol: protocol(p.Protocol), Port: p.Port, NodePort: p.NodePort,
		})
	}
	return out
}

func protocol(p corev1.Protocol) service.Protocol {
	if p == "" {
		return service.TCP
	}
	return service.Protocol(intern(string(p)))
}

func has(labels map[string]string, label string) bool {
	_, ok := labels[label]
	return ok
}

// reader reads addresses, and notes what it cannot read by field and value.
type reader struct{ faults *[]string }

func (r reader) addrs(field string, values []string) []netip.Addr {
	return read(r, field, values, service.ParseAddr)
}

func (r reader) prefixes(field string, values []string) []netip.Prefix {
	return read(r, field, values, service.ParsePrefix)
}

func read[T any](r reader, field string, values []string, parse func(string) (T, error)) []T {
	var out []T
	for _, v := range values {
		if strings.TrimSpace(v) == "" {
			continue
		}
		parsed, err := parse(v)
		if err != nil {
			*r.faults = append(*r.faults, fmt.Sprintf("%s: %v", field, err))
			continue
		}
		out = append(out, parsed)
	}
	return slices.Clip(out)
}
