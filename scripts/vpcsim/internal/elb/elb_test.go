package elb

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// parse reads an object in YAML.
func parse[T any](t *testing.T, text string) *T {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return &object
}

// cluster has three nodes, of which the last takes no load, and two endpoints
// that are ready, and one that is not.
func cluster(t *testing.T) Cluster {
	node := func(name, more, ready string) *corev1.Node {
		return parse[corev1.Node](t, `{metadata: {name: `+name+`, labels: {pool: `+name+more+`}},
			spec: {providerID: "aws:///us-west-2a/i-`+name+`"}, status: {conditions: [{type: Ready, status: "`+ready+`"}]}}`)
	}
	return Cluster{
		Nodes:     []*corev1.Node{node("b", "", "True"), node("a", "", "True"), node("c", `, `+excluded+`: ""`, "True"), node("d", "", "False"), node("stranger", "", "True")},
		Instances: map[string]string{"i-a": "n1", "i-b": "n2", "i-c": "n3", "i-d": "n4"},
		Subnets:   map[string]string{"subnet-1": "private"},
		Slices: []*discoveryv1.EndpointSlice{
			parse[discoveryv1.EndpointSlice](t, `{metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}, addressType: IPv4,
				ports: [{name: http, port: 8080, protocol: TCP}, {name: dns, port: 5353, protocol: UDP}],
				endpoints: [{addresses: [10.0.0.9]}, {addresses: [10.0.0.7], conditions: {ready: true}}, {addresses: [10.0.0.8], conditions: {ready: false}}]}`),
			parse[discoveryv1.EndpointSlice](t, `{metadata: {name: web-6, namespace: default, labels: {kubernetes.io/service-name: web}}, addressType: IPv6,
				ports: [{name: http, port: 8080}], endpoints: [{addresses: ["fd00::7"]}]}`),
			parse[discoveryv1.EndpointSlice](t, `{metadata: {name: other-1, namespace: default, labels: {kubernetes.io/service-name: other}}, addressType: IPv4,
				ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.0.0.99]}]}`),
		},
	}
}

// service is web with annotations, and with more of its spec.
func service(t *testing.T, annotations, spec string) *corev1.Service {
	s := parse[corev1.Service](t, `{metadata: {name: web, namespace: default, uid: u1, annotations: {`+annotations+`}}, spec: {type: LoadBalancer,
		ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP, nodePort: 30080}, {name: dns, port: 53, targetPort: dns, protocol: UDP, nodePort: 30053}]}}`)
	if strings.Contains(spec, "ports:") {
		s.Spec.Ports = nil // or what it does not say of them would stay
	}
	if err := yaml.Unmarshal([]byte(`{spec: {`+spec+`}}`), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// annotated writes annotations of a prefix.
func annotated(prefix string, pairs ...string) string {
	var out []string
	for _, p := range pairs {
		name, value, _ := strings.Cut(p, ": ")
		out = append(out, prefix+name+": '"+value+"'")
	}
	return strings.Join(out, ", ")
}

const tcpCheck = `healthCheck: {protocol: TCP, path: /, interval: 10s, timeout: 10s, healthyThreshold: 3, unhealthyThreshold: 3, codes: 200-399}`

func TestNetwork(t *testing.T) {
	for _, tt := range []struct {
		name  string
		notes []string
		spec  string
		want  string
	}{
		{"defaults", nil, "", `
type: nlb
scheme: internal
crossZone: false
listeners: [{protocol: TCP, port: 80, targetGroup: tcp-80}, {protocol: UDP, port: 53, targetGroup: udp-53}]
targetGroups:
- {name: tcp-80, targetType: instance, protocol: TCP, port: 30080, ` + tcpCheck + `, targets: [{node: n1, port: 30080}, {node: n2, port: 30080}]}
- {name: udp-53, targetType: instance, protocol: UDP, port: 30053, ` + tcpCheck + `, targets: [{node: n1, port: 30053}, {node: n2, port: 30053}]}
`},
		{"ip", []string{"type: external", "nlb-target-type: ip", "scheme: internet-facing", "subnets: subnet-1, public",
			"attributes: load_balancing.cross_zone.enabled=true",
			"target-group-attributes: deregistration_delay.timeout_seconds=15, preserve_client_ip.enabled=true"}, "", `
type: nlb
scheme: internet-facing
subnets: [private, public]
crossZone: true
listeners: [{protocol: TCP, port: 80, targetGroup: tcp-80}, {protocol: UDP, port: 53, targetGroup: udp-53}]
targetGroups:
- {name: tcp-80, targetType: ip, protocol: TCP, port: 8080, preserveClientIP: true, deregistrationDelay: 15s, ` + tcpCheck + `, targets: [{address: 10.0.0.7, port: 8080}, {address: 10.0.0.9, port: 8080}]}
- {name: udp-53, targetType: ip, protocol: UDP, port: 1, preserveClientIP: true, deregistrationDelay: 15s, ` + tcpCheck + `, targets: [{address: 10.0.0.7, port: 5353}, {address: 10.0.0.9, port: 5353}]}
`},
		{"older annotations", []string{"type: nlb-ip", "internal: false", "cross-zone-load-balancing-enabled: true"}, "ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP}]", `
type: nlb
scheme: internet-facing
crossZone: true
listeners: [{protocol: TCP, port: 80, targetGroup: tcp-80}]
targetGroups: [{name: tcp-80, targetType: ip, protocol: TCP, port: 8080, ` + tcpCheck + `, targets: [{address: 10.0.0.7, port: 8080}, {address: 10.0.0.9, port: 8080}]}]
`},
		{"local endpoints", []string{"target-node-labels: pool=a", "name: mine"}, "externalTrafficPolicy: Local, healthCheckNodePort: 30500, ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP, nodePort: 30080}]", `
type: nlb
scheme: internal
crossZone: false
listeners: [{protocol: TCP, port: 80, targetGroup: tcp-80}]
targetGroups: [{name: tcp-80, targetType: instance, protocol: TCP, port: 30080, targets: [{node: n1, port: 30080}],
  healthCheck: {protocol: HTTP, port: 30500, path: /healthz, interval: 10s, timeout: 6s, healthyThreshold: 2, unhealthyThreshold: 2, codes: 200-399}}]
`},
		{"a health check", []string{"healthcheck-protocol: http", "healthcheck-port: 8081", "healthcheck-path: /ready", "healthcheck-interval: 5", "healthcheck-timeout: 2",
			"healthcheck-healthy-threshold: 2", "healthcheck-unhealthy-threshold: 4", "healthcheck-success-codes: 200"}, "ports: [{name: http, port: 80, targetPort: 8080, protocol: TCP, nodePort: 30080}]", `
type: nlb
scheme: internal
crossZone: false
listeners: [{protocol: TCP, port: 80, targetGroup: tcp-80}]
targetGroups: [{name: tcp-80, targetType: instance, protocol: TCP, port: 30080, targets: [{node: n1, port: 30080}, {node: n2, port: 30080}],
  healthCheck: {protocol: HTTP, port: 8081, path: /ready, interval: 5s, timeout: 2s, healthyThreshold: 2, unhealthyThreshold: 4, codes: "200"}}]
`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := cluster(t)
			c.Services = []*corev1.Service{service(t, annotated(prefix, tt.notes...), tt.spec)}
			compare(t, c, tt.want)
		})
	}
}

// compare plans the one balancer of a cluster; the hashes in names of groups are
// left out.
func compare(t *testing.T, c Cluster, want string) {
	t.Helper()
	got := c.Balancers()
	if len(got) != 1 || got[0].Err != nil || len(got[0].Warnings) > 0 {
		t.Fatalf("%+v", got)
	}
	b := got[0].Balancer
	if b.Name != "mine" && !strings.HasPrefix(b.Name, "k8s-default-web-") {
		t.Errorf("its name is %s", b.Name)
	}
	b.Name = ""
	short := func(name string) string { return name[:max(0, strings.LastIndex(name, "-"))] }
	for i := range b.Listeners {
		b.Listeners[i].TargetGroup = short(b.Listeners[i].TargetGroup)
		for j := range b.Listeners[i].Rules {
			b.Listeners[i].Rules[j].Target = short(b.Listeners[i].Rules[j].Target)
		}
	}
	for i := range b.TargetGroups {
		b.TargetGroups[i].Name = short(b.TargetGroups[i].Name)
	}
	if diff := cmp.Diff(*parse[control.LoadBalancer](t, want), b, cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNetworkRefuses(t *testing.T) {
	for note, want := range map[string]string{
		"type: classic":           `"classic": want external or nlb or nlb-ip`,
		"scheme: public":          "want internal or internet-facing",
		"ssl-cert: arn:x":         "ssl-cert: \"arn:x\": the simulator does not have this",
		"proxy-protocol: *":       "does not have this",
		"healthcheck-interval: x": "want a number",
		"healthcheck-port: http":  "want a port or traffic-port",
		"target-group-attributes: proxy_protocol_v2.enabled=true":            "does not have this",
		"target-group-attributes: stickiness.enabled=maybe":                  "want true or false",
		"target-group-attributes: load.magic=true":                           "does not know this attribute",
		"target-group-attributes: deregistration_delay.timeout_seconds=hour": "invalid syntax",
		"target-group-attributes: preserve_client_ip.enabled":                "write it like name=value",
		"attributes: deletion_protection.enabled=true":                       "does not have this",
		"target-node-labels: a in":                                           "target-node-labels",
		"cross-zone-load-balancing-enabled: perhaps":                         "want true or false",
	} {
		c := cluster(t)
		c.Services = []*corev1.Service{service(t, annotated(prefix, note), "")}
		got := c.Balancers()
		if len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), want) || got[0].Balancer.Name == "" {
			t.Errorf("%s: %+v; want an error with %q", note, got, want)
		}
	}
	c := cluster(t)
	c.Services = []*corev1.Service{service(t, annotated(prefix, "access-log-enabled: true"), "")}
	if got := c.Balancers(); got[0].Err != nil || len(got[0].Warnings) != 1 || !strings.Contains(got[0].Warnings[0], "access-log-enabled has no effect") {
		t.Errorf("an unknown annotation: %+v", got)
	}
}

func TestOurs(t *testing.T) {
	for spec, want := range map[string]bool{
		"": true, "loadBalancerClass: " + class: true, "loadBalancerClass: other": false, "type: NodePort": false,
	} {
		c := Cluster{Services: []*corev1.Service{service(t, "", spec)}}
		if got := len(c.Balancers()) == 1; got != want {
			t.Errorf("%q: %t", spec, got)
		}
	}
}

const httpCheck = `healthCheck: {protocol: HTTP, path: /, interval: 15s, timeout: 5s, healthyThreshold: 2, unhealthyThreshold: 2, codes: "200"}`

func TestApplication(t *testing.T) {
	c := cluster(t)
	web := service(t, annotated(ingressPrefix, "healthcheck-path: /ready", "success-codes: 200-299"), "type: ClusterIP")
	other := service(t, "", "type: ClusterIP, ports: [{name: http, port: 8000, targetPort: 8080, protocol: TCP}]")
	other.Name = "other"
	c.Services = []*corev1.Service{web, other}
	c.Ingresses = []*networkingv1.Ingress{parse[networkingv1.Ingress](t, `
metadata: {name: web, namespace: default, uid: u2, annotations: {`+annotated(ingressPrefix, "target-type: ip", "listen-ports: [{\"HTTP\": 80}, {\"HTTP\": 8080}]")+`}}
spec:
  ingressClassName: alb
  defaultBackend: {service: {name: other, port: {number: 8000}}}
  rules:
  - http: {paths: [{path: /any, pathType: Prefix, backend: {service: {name: other, port: {name: http}}}}]}
  - host: A.example.com
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: other, port: {name: http}}}}
      - {path: /long/path/, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /exact, pathType: Exact, backend: {service: {name: web, port: {number: 80}}}}
      - {path: "/img/*.png", pathType: ImplementationSpecific, backend: {service: {name: web, port: {name: http}}}}
`)}
	rules := `[
  {host: a.example.com, paths: [/exact], targetGroup: web-80}, {host: a.example.com, paths: [/long/path, /long/path/*], targetGroup: web-80},
  {host: a.example.com, paths: ["/img/*.png"], targetGroup: web-80}, {host: a.example.com, paths: [/*], targetGroup: other-8000},
  {paths: [/any, /any/*], targetGroup: other-8000}]`
	compare(t, c, `
type: alb
scheme: internal
listeners: [{protocol: HTTP, port: 80, targetGroup: other-8000, rules: `+rules+`}, {protocol: HTTP, port: 8080, targetGroup: other-8000, rules: `+rules+`}]
targetGroups:
- {name: other-8000, targetType: ip, protocol: HTTP, port: 8080, `+httpCheck+`, targets: [{address: 10.0.0.99, port: 8080}]}
- {name: web-80, targetType: ip, protocol: HTTP, port: 8080, targets: [{address: 10.0.0.7, port: 8080}, {address: 10.0.0.9, port: 8080}],
   healthCheck: {protocol: HTTP, path: /ready, interval: 15s, timeout: 5s, healthyThreshold: 2, unhealthyThreshold: 2, codes: 200-299}}
`)
}

func TestApplicationRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ spec, notes, want string }{
		"TLS":                {"tls: [{hosts: [a]}]", "", "spec.tls"},
		"HTTPS":              {"", annotated(ingressPrefix, `listen-ports: [{"HTTPS": 443}]`), "HTTP only"},
		"no such service":    {"defaultBackend: {service: {name: none, port: {number: 80}}}", "", "service none does not exist"},
		"no such port":       {"defaultBackend: {service: {name: web, port: {name: none}}}", "", "has no port none"},
		"no node port":       {"defaultBackend: {service: {name: web, port: {number: 81}}}", "", "has no node port"},
		"another backend":    {"defaultBackend: {resource: {kind: Bucket, name: a}}", "", "is no Service"},
		"a group":            {"", annotated(ingressPrefix, "group.name: shared"), "group.name"},
		"an unreadable port": {"", annotated(ingressPrefix, "listen-ports: 80"), "write it like"},
	} {
		c := cluster(t)
		c.Services = []*corev1.Service{service(t, "", "type: ClusterIP, ports: [{name: http, port: 80, nodePort: 30080}, {name: hidden, port: 81}]")}
		c.Ingresses = []*networkingv1.Ingress{parse[networkingv1.Ingress](t, `{metadata: {name: web, namespace: default, annotations: {`+tt.notes+`}}, spec: {ingressClassName: alb, `+tt.spec+`}}`)}
		if got := c.Balancers(); len(got) != 1 || got[0].Err == nil || !strings.Contains(got[0].Err.Error(), tt.want) {
			t.Errorf("%s: %+v; want an error with %q", name, got, tt.want)
		}
	}
	other := parse[networkingv1.Ingress](t, `{metadata: {name: web}, spec: {ingressClassName: nginx}}`)
	if got := (Cluster{Ingresses: []*networkingv1.Ingress{other}}).Balancers(); len(got) > 0 {
		t.Errorf("of another class: %+v", got)
	}
}
