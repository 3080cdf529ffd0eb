package elb

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/google/go-cmp/cmp"
)

// TestGate has pods that are not ready: a target is the one whose containers are,
// and that waits for us.
func TestGate(t *testing.T) {
	c := Cluster{}
	slice := parse[discoveryv1.EndpointSlice](t, `{metadata: {name: web-1, namespace: default, labels: {kubernetes.io/service-name: web}}, addressType: IPv4,
		ports: [{name: "", port: 8080, protocol: TCP}]}`)
	for i, tt := range []struct{ name, namespace, gates, containers, terminating string }{
		{"waits", "default", "[{conditionType: target-health.elbv2.k8s.aws/k8s-web}]", "True", "false"},
		{"starts", "default", "[{conditionType: target-health.elbv2.k8s.aws/k8s-web}]", "False", "false"},
		{"ends", "default", "[{conditionType: target-health.elbv2.k8s.aws/k8s-web}]", "True", "true"},
		{"other-gate", "default", "[{conditionType: example.com/it}]", "True", "false"},
		{"no-gate", "default", "[]", "True", "false"},
		{"elsewhere", "other", "[{conditionType: target-health.elbv2.k8s.aws/k8s-web}]", "True", "false"},
	} {
		c.Pods = append(c.Pods, parse[corev1.Pod](t, `{metadata: {name: `+tt.name+`, namespace: `+tt.namespace+`}, spec: {readinessGates: `+tt.gates+`},
			status: {conditions: [{type: ContainersReady, status: "`+tt.containers+`"}]}}`))
		e := parse[discoveryv1.Endpoint](t, `{conditions: {ready: false, terminating: `+tt.terminating+`}, targetRef: {kind: Pod, name: `+tt.name+`}}`)
		e.Addresses = []string{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String()}
		slice.Endpoints = append(slice.Endpoints, *e)
	}
	c.Slices = append(c.Slices, slice)
	var got []string
	for _, target := range c.endpoints(service(t, "", ""), corev1.ServicePort{Protocol: corev1.ProtocolTCP}) {
		got = append(got, target.Address.String())
	}
	if diff := cmp.Diff([]string{"10.0.0.0"}, got); diff != "" {
		t.Errorf("targets (-want +got)\n%s", diff)
	}
}
