package kube

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/causeway-cni/causeway/proxy/service"
)

var byValue = cmp.Options{
	cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty(),
}

func ptr[T any](v T) *T { return &v }

func addrs(texts ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// spec is a service of which a test changes what it is about.
func spec(change func(*corev1.Service)) *corev1.Service {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP}}
	change(o)
	return o
}

func TestToService(t *testing.T) {
	local := corev1.ServiceExternalTrafficPolicyLocal
	for name, test := range map[string]struct {
		object *corev1.Service
		want   service.Service // without what all have
	}{
		"ports, both families": {
			spec(func(o *corev1.Service) {
				o.Spec.ClusterIP, o.Spec.ClusterIPs = "172.20.0.9", []string{"172.20.0.9", "fd00::9"}
				o.Spec.Ports = []corev1.ServicePort{{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 53, NodePort: 30053}, {Port: 80}}
			}),
			service.Service{ClusterIPs: addrs("172.20.0.9", "fd00::9"), Ports: []service.Port{
				{Name: "dns", Protocol: service.UDP, Port: 53, NodePort: 30053}, {Protocol: service.TCP, Port: 80},
			}},
		},
		"from before clusterIPs": {
			spec(func(o *corev1.Service) { o.Spec.ClusterIP, o.Spec.Type = "172.20.0.9", "" }),
			service.Service{ClusterIPs: addrs("172.20.0.9")},
		},
		"headless": {
			spec(func(o *corev1.Service) { o.Spec.ClusterIP, o.Spec.ClusterIPs = "None", []string{"None"} }),
			service.Service{},
		},
		"external name": {
			spec(func(o *corev1.Service) { o.Spec.Type = corev1.ServiceTypeExternalName }),
			service.Service{Type: service.ExternalName},
		},
		"another proxy's": {
			spec(func(o *corev1.Service) { o.Labels = map[string]string{otherProxyLabel: ""} }),
			service.Service{OtherProxy: true},
		},
		"policies": {
			spec(func(o *corev1.Service) {
				o.Spec.Type, o.Spec.ExternalTrafficPolicy, o.Spec.HealthCheckNodePort = corev1.ServiceTypeLoadBalancer, local, 32000
				o.Spec.InternalTrafficPolicy = ptr(corev1.ServiceInternalTrafficPolicyLocal)
			}),
			service.Service{Type: service.LoadBalancer, Internal: service.Local, External: service.Local, HealthCheckNodePort: 32000},
		},
		"external policy of a service that is not external": {
			spec(func(o *corev1.Service) { o.Spec.ExternalTrafficPolicy = local }),
			service.Service{},
		},
		"external policy, external IPs": {
			spec(func(o *corev1.Service) {
				o.Spec.ExternalTrafficPolicy, o.Spec.ExternalIPs = local, []string{"1.2.3.4", "", "fd00::1"}
			}),
			service.Service{External: service.Local, ExternalIPs: addrs("1.2.3.4", "fd00::1")},
		},
		"affinity": {
			spec(func(o *corev1.Service) {
				o.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
				o.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr(int32(7))}}
			}),
			service.Service{Affinity: 7 * time.Second},
		},
		"affinity without a timeout": {
			spec(func(o *corev1.Service) { o.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }),
			service.Service{Affinity: 3 * time.Hour},
		},
		"ingress": {
			spec(func(o *corev1.Service) {
				o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
					{IP: "1.1.1.1"}, {Hostname: "a.elb.example"}, {IP: "1.1.1.2", IPMode: ptr(corev1.LoadBalancerIPModeVIP)},
					{IP: "1.1.1.3", IPMode: ptr(corev1.LoadBalancerIPModeProxy)},
				}
			}),
			service.Service{Ingress: []service.Ingress{
				{Addr: netip.MustParseAddr("1.1.1.1")}, {Addr: netip.MustParseAddr("1.1.1.2")}, {Addr: netip.MustParseAddr("1.1.1.3"), Proxy: true},
			}},
		},
		"source ranges": {
			spec(func(o *corev1.Service) {
				o.Annotations = map[string]string{corev1.AnnotationLoadBalancerSourceRangesKey: "10.0.0.0/8"}
				o.Spec.LoadBalancerSourceRanges = []string{" 1.0.0.0/8 ", "010.1.2.3/16", "", "::/0"}
			}),
			service.Service{SourceRanges: []netip.Prefix{
				netip.MustParsePrefix("1.0.0.0/8"), netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::/0"),
			}},
		},
		"the annotation alone counts for nothing": {
			spec(func(o *corev1.Service) {
				o.Annotations = map[string]string{corev1.AnnotationLoadBalancerSourceRangesKey: "10.0.0.0/8"}
			}),
			service.Service{},
		},
		"leading zeros, mapped addresses": {
			spec(func(o *corev1.Service) {
				o.Spec.ClusterIP, o.Spec.ExternalIPs = "172.020.0.09", []string{"::ffff:1.2.3.4"}
			}),
			service.Service{ClusterIPs: addrs("172.20.0.9"), ExternalIPs: addrs("1.2.3.4")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			test.want.Key = service.Key{Namespace: "n", Name: "s"}
			if test.want.Type == "" {
				test.want.Type = service.ClusterIP
			}
			if diff := cmp.Diff(test.want, toService(test.object), byValue); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFaultsNameFieldAndValue(t *testing.T) {
	s := toService(spec(func(o *corev1.Service) {
		o.Spec.ClusterIP, o.Spec.ClusterIPs = "x1", []string{"x1"}
		o.Spec.ExternalIPs = []string{"1.2.3.4", "x2"}
		o.Spec.LoadBalancerSourceRanges = []string{"1.2.3.4"}
		o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "1.2.3.256"}}
	}))
	want := []string{`spec.clusterIPs: "x1" `, `spec.externalIPs: "x2" `, `spec.loadBalancerSourceRanges: "1.2.3.4" `, `status.loadBalancer.ingress.ip: "1.2.3.256" `}
	if len(s.Faults) != len(want) {
		t.Fatalf("faults %q", s.Faults)
	}
	for i, w := range want {
		if !strings.HasPrefix(s.Faults[i], w) {
			t.Errorf("fault %q, want it to begin with %q", s.Faults[i], w)
		}
	}
}

func TestToSlice(t *testing.T) {
	hints := func(zones ...string) *discoveryv1.EndpointHints {
		h := &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: "node-1"}}}
		for _, z := range zones {
			h.ForZones = append(h.ForZones, discoveryv1.ForZone{Name: z})
		}
		return h
	}
	got := toSlice(&discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "n", Name: "s-1", Labels: map[string]string{discoveryv1.LabelServiceName: "s", corev1.IsHeadlessService: ""},
			Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: "2025-01-02T03:04:05.5Z"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr("dns"), Protocol: ptr(corev1.ProtocolUDP), Port: ptr(int32(53))}, {Name: ptr("any")}, {},
		},
		Endpoints: []discoveryv1.Endpoint{
			{Addresses: []string{"10.0.0.1", "10.0.0.2"}},
			{Addresses: []string{"10.000.0.3"}, NodeName: ptr("node-1"), Hints: hints("a", "b"),
				Conditions: discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(false), Terminating: ptr(true)}},
			{Addresses: []string{"10.0.0.4"}, Hints: hints("a", "b")},
			{},
			{Addresses: []string{"bad"}},
		},
	})
	a := netip.MustParseAddr
	want := service.EndpointSlice{
		Key: service.Key{Namespace: "n", Name: "s-1"}, Service: "s", Headless: true, Family: service.IPv4,
		Triggered: time.Date(2025, 1, 2, 3, 4, 5, 5e8, time.UTC),
		Ports:     []service.EndpointPort{{Name: "dns", Protocol: service.UDP, Port: 53}, {Name: "any", Protocol: service.TCP}, {Protocol: service.TCP}},
		Endpoints: []service.Endpoint{
			{Addr: a("10.0.0.1"), Ready: true, Serving: true},
			{Addr: a("10.0.0.3"), Terminating: true, Node: "node-1", HintZones: []string{"a", "b"}, HintNodes: []string{"node-1"}},
			{Addr: a("10.0.0.4"), Ready: true, Serving: true, HintZones: []string{"a", "b"}, HintNodes: []string{"node-1"}},
			{Ready: true, Serving: true},
		},
	}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if e := got.Endpoints; &e[1].HintZones[0] != &e[2].HintZones[0] {
		t.Error("equal hints of neighbours are held twice")
	}
}

func TestSliceOfNames(t *testing.T) {
	got := toSlice(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "n", Name: "s", Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: "soon"}},
		AddressType: discoveryv1.AddressTypeFQDN, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"a.example"}}},
	})
	if diff := cmp.Diff(service.EndpointSlice{Key: service.Key{Namespace: "n", Name: "s"}}, got, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestToNode(t *testing.T) {
	got := toNode(&corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "here", Labels: map[string]string{corev1.LabelTopologyZone: "z1"}, DeletionTimestamp: ptr(metav1.Now())},
		Spec: corev1.NodeSpec{PodCIDR: "10.1.0.0/24", PodCIDRs: []string{"10.1.0.0/24", "fd00::/64"},
			Taints: []corev1.Taint{{Key: "k", Value: "v"}, {Key: "l"}}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeExternalIP, Address: "3.3.3.3"}, {Type: corev1.NodeHostName, Address: "10.0.0.5"},
			{Type: corev1.NodeInternalIP, Address: "10.0.0.4"}, {Type: corev1.NodeInternalIP, Address: "fd00::4"}, {Type: corev1.NodeInternalIP, Address: "x"},
		}},
	})
	want := service.Node{Name: "here", Zone: "z1", Addrs: addrs("10.0.0.4", "fd00::4", "3.3.3.3"), Deleting: true, Taints: []string{"k", "l"},
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00::/64")}}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	old := toNode(&corev1.Node{Spec: corev1.NodeSpec{PodCIDR: "10.1.0.0/24"}})
	if len(old.PodCIDRs) != 1 {
		t.Errorf("blocks of a Node with podCIDR alone: %v", old.PodCIDRs)
	}
}

// FuzzStrings has text of any kind where the API has addresses: each is an
// address, blank, or a fault.
func FuzzStrings(f *testing.F) {
	for _, s := range []string{"10.0.0.1", "", " ", "010.0.0.1", "::ffff:10.0.0.1", "fe80::1%eth0", "10.0.0.0/8", "10.0.0.0/33", "x", "1.2.3.4.5", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s := toService(spec(func(o *corev1.Service) {
			o.Namespace, o.Name, o.Spec.SessionAffinity = text, text, corev1.ServiceAffinity(text)
			o.Spec.ClusterIP, o.Spec.ExternalIPs, o.Spec.LoadBalancerSourceRanges = text, []string{text}, []string{text}
			o.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: text}}
			o.Spec.Ports = []corev1.ServicePort{{Name: text, Protocol: corev1.Protocol(text)}}
		}))
		values := 4
		if text == "" || text == corev1.ClusterIPNone {
			values = 3 // headless
		}
		read := len(s.ClusterIPs) + len(s.ExternalIPs) + len(s.SourceRanges) + len(s.Ingress)
		if blank := strings.TrimSpace(text) == ""; !blank && read+len(s.Faults) != values || blank && read+len(s.Faults) != 0 {
			t.Errorf("%q: %d values read, faults %q", text, read, s.Faults)
		}
		for _, a := range append(s.ClusterIPs, s.ExternalIPs...) {
			if !a.IsValid() || a.Zone() != "" || a.Is4In6() {
				t.Errorf("%q was read as %s", text, a)
			}
		}
		slice := toSlice(&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Annotations: map[string]string{corev1.EndpointsLastChangeTriggerTime: text}, Labels: map[string]string{discoveryv1.LabelServiceName: text}},
			AddressType: discoveryv1.AddressTypeIPv6, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{text}, NodeName: &text}},
		})
		if e := slice.Endpoints; len(e) != 1 || e[0].Node != text || slice.Service != text {
			t.Errorf("%q: slice %+v", text, slice)
		}
		toNode(&corev1.Node{Spec: corev1.NodeSpec{PodCIDR: text}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: text}}}})
	})
}
