package difftest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

const namespace = "default"

// objects are one cluster.
type objects struct {
	Zone     string
	Services []*corev1.Service
	Slices   []*discoveryv1.EndpointSlice
}

// one is a random element.
func one[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// some is a random part.
func some[T any](r *rand.Rand, of []T, percent int) (part []T) {
	for _, x := range of {
		if chance(r, percent) {
			part = append(part, x)
		}
	}
	return part
}

// randomCluster is that of a seed.
func randomCluster(seed uint64) *objects {
	r := rand.New(rand.NewPCG(seed, 1))
	o := &objects{Zone: one(r, "a", "b")}
	for i := range 7 {
		family := r.IntN(2)
		s := randomService(r, fmt.Sprintf("s%d-%d", seed, i), family, i)
		o.Services = append(o.Services, s)
		for f, name := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
			if f != family && len(s.Spec.IPFamilies) == 1 {
				continue
			}
			endpoints := randomEndpoints(r, f)
			for n := range r.IntN(3) + 1 {
				slice := &discoveryv1.EndpointSlice{
					ObjectMeta:  metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d-%d", s.Name, f, n), Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
					AddressType: discoveryv1.AddressType(name),
				}
				for i, p := range s.Spec.Ports {
					if i == 0 || chance(r, 80) {
						target := p.TargetPort.IntVal
						slice.Ports = append(slice.Ports, discoveryv1.EndpointPort{Name: &p.Name, Protocol: &p.Protocol, Port: &target})
					}
				}
				slice.Endpoints = repeated(r, endpoints)
				o.Slices = append(o.Slices, slice)
			}
		}
	}
	return o
}

func randomService(r *rand.Rand, name string, family, i int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
	s.Spec.Type = one(r, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer)
	s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	if family == 1 {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol}
	}
	policy := corev1.IPFamilyPolicySingleStack
	if chance(r, 20) {
		policy = corev1.IPFamilyPolicyRequireDualStack
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	}
	s.Spec.IPFamilyPolicy = &policy
	for n, p := range []corev1.Protocol{one(r, corev1.ProtocolTCP, corev1.ProtocolUDP), corev1.ProtocolTCP, corev1.ProtocolUDP}[:r.IntN(3)+1] {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("p%d", n), Protocol: p, Port: int32(80 + n), TargetPort: intstr.FromInt32(one(r, targets...))})
	}
	if chance(r, 35) {
		inside := corev1.ServiceInternalTrafficPolicyLocal
		s.Spec.InternalTrafficPolicy = &inside
	}
	if s.Spec.Type != corev1.ServiceTypeClusterIP && chance(r, 50) {
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	}
	if chance(r, 15) {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	// Front ends of different services do not share addresses and ports.
	place := func(a netip.Addr, n int) string {
		b := a.AsSlice()
		b[len(b)-1] += byte(16*i + n)
		a, _ = netip.AddrFromSlice(b)
		return a.String()
	}
	families := []int{family}
	if len(s.Spec.IPFamilies) == 2 {
		families = []int{0, 1}
	}
	for _, f := range families {
		if chance(r, 30) {
			s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, place(virtual[f][0], 0))
			if s.Spec.Type == corev1.ServiceTypeClusterIP && chance(r, 40) {
				s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			}
		}
		if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
			continue
		}
		mode := one(r, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeVIP, corev1.LoadBalancerIPModeProxy)
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: place(virtual[f][0], 1), IPMode: &mode})
		if chance(r, 25) {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: place(virtual[f][0], 2)})
		}
		if chance(r, 50) {
			s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, some(r, [][]string{
				{"192.168.1.2/32", "192.168.1.0/24", "10.0.1.0/24", "192.168.2.1/32", "0.0.0.0/0"},
				{"fd01::2/128", "fd01::/64", "fd0a:1::/64", "fd02::1/128", "::/0"}}[f], 30)...)
		}
	}
	return s
}

func randomEndpoints(r *rand.Rand, family int) (all []discoveryv1.Endpoint) {
	all = []discoveryv1.Endpoint{}
	here, there := "node", "elsewhere"
	hinted := r.IntN(4) // 1: by zone, 2: by node
	usual := r.IntN(3)  // 0: all ready, 1: some, 2: none
	for _, a := range append(some(r, podAddrs[family], 35), some(r, remotes[family], 40)...) {
		e := discoveryv1.Endpoint{Addresses: []string{a.String()}, NodeName: &there}
		if a == podAddrs[family][0] || a == podAddrs[family][1] {
			e.NodeName = &here
		}
		ready := usual == 0 || usual == 1 && chance(r, 60)
		serving, terminating := ready || chance(r, 60), !ready && chance(r, 70)
		e.Conditions = discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating}
		if ready && chance(r, 20) {
			e.Conditions = discoveryv1.EndpointConditions{}
		}
		if hinted == 1 && chance(r, 95) {
			e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: one(r, "a", "b")}}}
		}
		if hinted == 2 && chance(r, 95) {
			e.Hints = &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: one(r, here, here, there)}}}
		}
		all = append(all, e)
	}
	return all
}

// repeated is a slice's part of the endpoints of a service. An endpoint of
// several slices is the same in all, or ready in some and terminates in others:
// which of two that differ otherwise counts, kube-proxy leaves to the order of
// a map, so that its own modes differ.
func repeated(r *rand.Rand, endpoints []discoveryv1.Endpoint) []discoveryv1.Endpoint {
	part := append([]discoveryv1.Endpoint{}, some(r, endpoints, 70)...)
	for i, e := range part {
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		if ready && e.Hints == nil && chance(r, 12) {
			no, yes := false, true
			part[i].Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		}
	}
	return part
}

// marker is a service of one endpoint for each zone, of which a proxy that
// knows all that was written before takes the one of the node's zone.
func marker(seed uint64) (*corev1.Service, *discoveryv1.EndpointSlice) {
	name, protocol, yes := "p0", corev1.ProtocolTCP, true
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("marker-%d", seed)}}
	s.Spec.Ports = []corev1.ServicePort{{Name: name, Protocol: protocol, Port: 80}}
	policy := corev1.IPFamilyPolicyRequireDualStack
	s.Spec.IPFamilyPolicy = &policy
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &targets[0]}}}
	for i, zone := range []string{"a", "b"} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{remotes[0][i].String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &yes}, Hints: &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}})
	}
	return s, slice
}

// replace puts this cluster in the place of what is there, and the marker
// behind it. The objects become those that the API server has made of them.
func (o *objects) replace(ctx context.Context, client kubernetes.Interface, seed uint64) (mark *corev1.Service, err error) {
	services, slices := client.CoreV1().Services(namespace), client.DiscoveryV1().EndpointSlices(namespace)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": map[string]string{corev1.LabelTopologyZone: o.Zone}}})
	if err != nil {
		return nil, err
	}
	if _, err := client.CoreV1().Nodes().Patch(ctx, "node", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		return nil, err
	}
	old, err := services.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if err := slices.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return nil, err
	}
	tasks, inner := errgroup.WithContext(ctx)
	for _, s := range old.Items {
		if s.Name != "kubernetes" {
			tasks.Go(func() error { return services.Delete(inner, s.Name, metav1.DeleteOptions{}) })
		}
	}
	if err := tasks.Wait(); err != nil {
		return nil, err
	}
	tasks, inner = errgroup.WithContext(ctx)
	for i, s := range o.Services {
		tasks.Go(func() error {
			made, err := services.Create(inner, s, metav1.CreateOptions{})
			if err == nil && len(s.Status.LoadBalancer.Ingress) > 0 {
				made.Status = s.Status
				made, err = services.UpdateStatus(inner, made, metav1.UpdateOptions{})
			}
			o.Services[i] = made
			return err
		})
	}
	for _, s := range o.Slices {
		tasks.Go(func() error { _, err := slices.Create(inner, s, metav1.CreateOptions{}); return err })
	}
	if err := tasks.Wait(); err != nil {
		return nil, err
	}
	mark, slice := marker(seed)
	if _, err := slices.Create(ctx, slice, metav1.CreateOptions{}); err != nil {
		return nil, err
	}
	return services.Create(ctx, mark, metav1.CreateOptions{})
}
