package elb

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// prefix is that of all annotations of Services.
const prefix = "service.beta.kubernetes.io/aws-load-balancer-"

// class is the load balancer class that the controller serves; a Service that
// names none gets it from the controller's webhook.
const class = "service.k8s.aws/nlb"

// Ours says whether a Service gets a network load balancer from us.
func Ours(s *corev1.Service) bool {
	return s.Spec.Type == corev1.ServiceTypeLoadBalancer && s.DeletionTimestamp == nil &&
		(s.Spec.LoadBalancerClass == nil || *s.Spec.LoadBalancerClass == class)
}

// network is the network load balancer of a Service.
func (c Cluster) network(s *corev1.Service) (control.LoadBalancer, []string, error) {
	a := read(prefix, s.Annotations)
	b := control.LoadBalancer{
		Name: a.text("name", balancerName(s.Namespace, s.Name, string(s.UID))), Type: "nlb",
		Scheme: a.choice("scheme", scheme(a), "internal", "internet-facing"), Subnets: c.subnets(a.list("subnets")),
	}
	kind := a.choice("nlb-target-type", targetType(a), "instance", "ip")
	a.without("ssl-cert", "ssl-ports", "proxy-protocol", "eip-allocations", "private-ipv4-addresses", "ipv6-addresses")
	b.CrossZone = new(crossZone(a))
	attributes := groupAttributes(a, "target-group-attributes")
	check := serviceCheck(a, s, kind)
	selector, err := labels.Parse(a.text("target-node-labels", ""))
	if err != nil {
		a.wrong("target-node-labels", a.text("target-node-labels", ""), err.Error())
		selector = labels.Nothing()
	}
	for _, p := range s.Spec.Ports {
		if p.Protocol != corev1.ProtocolTCP && p.Protocol != corev1.ProtocolUDP {
			a.errs = append(a.errs, fmt.Errorf("port %d: protocol %s: want TCP or UDP", p.Port, p.Protocol))
			continue
		}
		if kind == "instance" && p.NodePort == 0 {
			a.errs = append(a.errs, fmt.Errorf("port %d has no node port, which targets of kind instance need", p.Port))
			continue
		}
		g := attributes
		g.TargetType, g.Protocol, g.Port, g.HealthCheck = kind, string(p.Protocol), groupPort(kind, p), check
		g.Name = groupName(fmt.Sprintf("%s-%d", strings.ToLower(g.Protocol), p.Port), kind, g.Protocol, g.Port)
		if kind == "instance" {
			g.Targets = c.nodes(selector, g.Port)
		} else {
			g.Targets = c.endpoints(s, p)
		}
		b.Listeners = append(b.Listeners, control.Listener{Protocol: g.Protocol, Port: uint16(p.Port), TargetGroup: g.Name})
		b.TargetGroups = append(b.TargetGroups, g)
	}
	warnings := a.unknown()
	if len(s.Spec.LoadBalancerSourceRanges) > 0 && kind == "ip" {
		warnings = append(warnings, "spec.loadBalancerSourceRanges: the simulator has no security groups, and pods are reached without the node's rules")
	}
	return b, warnings, a.err()
}

// scheme is the default one, which an older annotation says, too.
func scheme(a *annotations) string {
	if a.text("internal", "true") == "false" {
		return "internet-facing"
	}
	return "internal"
}

// targetType is the default one: nlb-ip is the older way to say ip.
func targetType(a *annotations) string {
	if a.choice("type", "external", "external", "nlb", "nlb-ip") == "nlb-ip" {
		return "ip"
	}
	return "instance"
}

// crossZone is an attribute of the balancer, or an older annotation.
func crossZone(a *annotations) bool {
	on := a.choice("cross-zone-load-balancing-enabled", "false", "true", "false")
	for name, value := range a.pairs("attributes") {
		switch name {
		case "load_balancing.cross_zone.enabled":
			on = value
		case "deletion_protection.enabled", "access_logs.s3.enabled", "zonal_shift.config.enabled":
			if value != "false" {
				a.wrong("attributes", name+"="+value, "the simulator does not have this")
			}
		default:
			a.wrong("attributes", name, "the simulator does not know this attribute")
		}
	}
	return on == "true"
}

// groupAttributes are those that targets share.
func groupAttributes(a *annotations, name string) (g control.TargetGroup) {
	for key, value := range a.pairs(name) {
		on, err := parseSwitch(value)
		switch key {
		case "deregistration_delay.timeout_seconds":
			var seconds uint64
			if seconds, err = strconv.ParseUint(value, 10, 12); err == nil {
				g.DeregistrationDelay = new(control.Duration(time.Duration(seconds) * time.Second))
			}
		case "preserve_client_ip.enabled":
			g.PreserveClientIP = &on
		case "deregistration_delay.connection_termination.enabled", "proxy_protocol_v2.enabled", "stickiness.enabled",
			"target_health_state.unhealthy.connection_termination.enabled":
			if on {
				err = errors.New("the simulator does not have this")
			}
		case "stickiness.type", "load_balancing.algorithm.type", "slow_start.duration_seconds":
			err = nil // of what is refused if it is on, or without effect at its default
		default:
			err = errors.New("the simulator does not know this attribute")
		}
		if err != nil {
			a.wrong(name, key+"="+value, err.Error())
		}
	}
	return g
}

func parseSwitch(text string) (bool, error) {
	if !slices.Contains([]string{"true", "false"}, text) {
		return false, errors.New("want true or false")
	}
	return text == "true", nil
}

// serviceCheck is how targets of a Service are checked. Where a node serves its
// own endpoints only, it is asked for them at the health check node port.
func serviceCheck(a *annotations, s *corev1.Service, kind string) control.HealthCheck {
	protocol, path, port, timeout, threshold := "tcp", "/", uint16(0), 10, 3
	if kind == "instance" && s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal {
		protocol, path, port, timeout, threshold = "http", "/healthz", uint16(s.Spec.HealthCheckNodePort), 6, 2
	}
	protocol = a.choice("healthcheck-protocol", protocol, "tcp", "TCP", "http", "HTTP")
	return control.HealthCheck{
		Protocol: strings.ToUpper(protocol), Port: a.port("healthcheck-port", port), Path: a.text("healthcheck-path", path),
		Interval: a.seconds("healthcheck-interval", 10), Timeout: a.seconds("healthcheck-timeout", timeout),
		HealthyThreshold: a.number("healthcheck-healthy-threshold", threshold), UnhealthyThreshold: a.number("healthcheck-unhealthy-threshold", threshold),
		Codes: a.text("healthcheck-success-codes", "200-399"),
	}
}
