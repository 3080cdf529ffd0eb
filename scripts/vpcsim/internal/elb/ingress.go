package elb

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// ingressPrefix is that of all annotations of Ingresses.
const ingressPrefix = "alb.ingress.kubernetes.io/"

// OursToo says whether an Ingress gets an application load balancer from us.
func OursToo(i *networkingv1.Ingress) bool {
	name := i.Annotations["kubernetes.io/ingress.class"]
	if i.Spec.IngressClassName != nil {
		name = *i.Spec.IngressClassName
	}
	return name == "alb" && i.DeletionTimestamp == nil
}

// application is the application load balancer of an Ingress.
func (c Cluster) application(i *networkingv1.Ingress) (control.LoadBalancer, []string, error) {
	a := read(ingressPrefix, i.Annotations)
	b := control.LoadBalancer{
		Name: a.text("load-balancer-name", balancerName(i.Namespace, i.Name, string(i.UID))), Type: "alb",
		Scheme: a.choice("scheme", "internal", "internal", "internet-facing"), Subnets: c.subnets(a.list("subnets")),
	}
	a.without("group.name", "certificate-arn", "ssl-redirect", "auth-type", "wafv2-acl-arn", "backend-protocol-version")
	if len(i.Spec.TLS) > 0 {
		a.errs = append(a.errs, errors.New("spec.tls: the simulator does not have TLS"))
	}
	backends := map[string]control.TargetGroup{}
	group := func(backend *networkingv1.IngressBackend) string {
		g, err := c.backend(i, backend)
		if err != nil {
			a.errs = append(a.errs, err)
		}
		backends[g.Name] = g
		return g.Name
	}
	l := control.Listener{Protocol: "HTTP"}
	for _, each := range paths(i) {
		l.Rules = append(l.Rules, control.ListenerRule{Host: each.host, Paths: each.patterns(), Target: group(&each.path.Backend)})
	}
	if i.Spec.DefaultBackend != nil {
		l.TargetGroup = group(i.Spec.DefaultBackend)
	}
	for _, port := range listenPorts(a) {
		b.Listeners = append(b.Listeners, control.Listener{Protocol: l.Protocol, Port: port, TargetGroup: l.TargetGroup, Rules: slices.Clone(l.Rules)})
	}
	for _, name := range slices.Sorted(maps.Keys(backends)) {
		b.TargetGroups = append(b.TargetGroups, backends[name])
	}
	// These are read for each backend, with those of its Service.
	for _, name := range []string{"target-type", "target-group-attributes", "target-node-labels", "backend-protocol", "success-codes", "healthcheck-protocol", "healthcheck-port", "healthcheck-path",
		"healthcheck-interval-seconds", "healthcheck-timeout-seconds", "healthy-threshold-count", "unhealthy-threshold-count"} {
		a.known[name] = true
	}
	return b, a.unknown(), a.err()
}

// listenPorts are from an annotation like [{"HTTP": 80}].
func listenPorts(a *annotations) (ports []uint16) {
	text := a.text("listen-ports", `[{"HTTP": 80}]`)
	var entries []map[string]uint16
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		a.wrong("listen-ports", text, `write it like [{"HTTP": 80}]`)
	}
	for _, e := range entries {
		for protocol, port := range e {
			if protocol != "HTTP" {
				a.wrong("listen-ports", text, "the simulator has HTTP only")
			}
			ports = append(ports, port)
		}
	}
	return ports
}

// ingressPath is a path of a rule with its host.
type ingressPath struct {
	host string
	path networkingv1.HTTPIngressPath
}

// paths are in the order in which they are tried: a host's exact ones first,
// then the longest, as the API asks for.
func paths(i *networkingv1.Ingress) (out []ingressPath) {
	for _, r := range i.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for _, p := range r.HTTP.Paths {
			out = append(out, ingressPath{strings.ToLower(r.Host), p})
		}
	}
	slices.SortStableFunc(out, func(x, y ingressPath) int {
		return cmp.Or(
			-cmp.Compare(precision(x.host), precision(y.host)),
			-cmp.Compare(x.rank(), y.rank()),
			-cmp.Compare(len(x.path.Path), len(y.path.Path)))
	})
	return out
}

// precision is how much a host says: nothing, a part of it, or all.
func precision(host string) int {
	switch {
	case host == "":
		return 0
	case strings.HasPrefix(host, "*"):
		return 1
	}
	return 2
}

func (p ingressPath) kind() networkingv1.PathType {
	if p.path.PathType == nil {
		return networkingv1.PathTypeImplementationSpecific
	}
	return *p.path.PathType
}

func (p ingressPath) rank() int {
	if p.kind() == networkingv1.PathTypeExact {
		return 1
	}
	return 0
}

// patterns are the balancer's for a path: a prefix is of whole elements.
func (p ingressPath) patterns() []string {
	path := cmp.Or(p.path.Path, "/*")
	if p.kind() != networkingv1.PathTypePrefix {
		return []string{path}
	}
	path = strings.TrimRight(p.path.Path, "/")
	if path == "" {
		return []string{"/*"}
	}
	return []string{path, path + "/*"}
}

// backend is the group of a backend. Annotations of its Service come before
// those of the Ingress.
func (c Cluster) backend(i *networkingv1.Ingress, backend *networkingv1.IngressBackend) (control.TargetGroup, error) {
	if backend.Service == nil {
		return control.TargetGroup{}, errors.New("a backend is no Service: the simulator has no other")
	}
	s, p, err := c.port(i.Namespace, backend.Service)
	if err != nil {
		return control.TargetGroup{}, err
	}
	merged := maps.Clone(i.Annotations)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, s.Annotations)
	a := read(ingressPrefix, merged)
	kind := a.choice("target-type", "instance", "instance", "ip")
	a.choice("backend-protocol", "HTTP", "HTTP")
	selector, err := labels.Parse(a.text("target-node-labels", ""))
	if err != nil {
		a.wrong("target-node-labels", a.text("target-node-labels", ""), err.Error())
		selector = labels.Nothing()
	}
	g := groupAttributes(a, "target-group-attributes")
	g.TargetType, g.Protocol, g.Port = kind, "HTTP", groupPort(kind, p)
	g.Name = groupName(fmt.Sprintf("%s-%d", begin(s.Name), p.Port), s.Name, kind, g.Port)
	a.choice("healthcheck-protocol", "HTTP", "HTTP")
	g.HealthCheck = control.HealthCheck{
		Protocol: "HTTP", Port: a.port("healthcheck-port", 0), Path: a.text("healthcheck-path", "/"), Codes: a.text("success-codes", "200"),
		Interval: a.seconds("healthcheck-interval-seconds", 15), Timeout: a.seconds("healthcheck-timeout-seconds", 5),
		HealthyThreshold: a.number("healthy-threshold-count", 2), UnhealthyThreshold: a.number("unhealthy-threshold-count", 2),
	}
	if kind == "ip" {
		g.Targets = c.endpoints(s, p)
	} else if g.Targets = c.nodes(selector, g.Port); g.Port == 0 {
		a.errs = append(a.errs, fmt.Errorf("service %s has no node port for port %d, which targets of kind instance need", s.Name, p.Port))
	}
	return g, a.err()
}

// port finds a Service and one of its ports, by name or number.
func (c Cluster) port(namespace string, backend *networkingv1.IngressServiceBackend) (*corev1.Service, corev1.ServicePort, error) {
	for _, s := range c.Services {
		if s.Namespace != namespace || s.Name != backend.Name {
			continue
		}
		for _, p := range s.Spec.Ports {
			if backend.Port.Name != "" && p.Name == backend.Port.Name || backend.Port.Name == "" && p.Port == backend.Port.Number {
				return s, p, nil
			}
		}
		return nil, corev1.ServicePort{}, fmt.Errorf("service %s has no port %s", s.Name, portText(backend.Port))
	}
	return nil, corev1.ServicePort{}, fmt.Errorf("service %s does not exist in namespace %s", backend.Name, namespace)
}

func portText(p networkingv1.ServiceBackendPort) string {
	return cmp.Or(p.Name, fmt.Sprint(p.Number))
}
