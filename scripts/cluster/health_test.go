package cluster

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const nodeAddr = "192.168.2.1" // its InternalIP, which has node ports in either mode

// balanced creates a service whose balancer asks nodes for local endpoints,
// and returns its node port and its health check's.
func (f *field) balanced() (nodePort, check int32) {
	f.t.Helper()
	meta := metav1.ObjectMeta{Name: "balanced", Labels: map[string]string{discoveryv1.LabelServiceName: "balanced"}}
	s, err := f.API.Client.CoreV1().Services(space).Create(f.t.Context(), &corev1.Service{
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal,
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}, metav1.CreateOptions{})
	if err == nil {
		_, err = f.API.Client.DiscoveryV1().EndpointSlices(space).Create(f.t.Context(), &discoveryv1.EndpointSlice{
			ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4, Ports: ports(), Endpoints: ready(0, 1, 0),
		}, metav1.CreateOptions{})
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return s.Spec.Ports[0].NodePort, s.Spec.HealthCheckNodePort
}

// local gives that service one endpoint, on the node, which serves.
func (f *field) local(terminating bool) {
	f.t.Helper()
	yes, ready := true, !terminating
	patch, err := json.Marshal(map[string]any{"endpoints": []discoveryv1.Endpoint{{
		Addresses: []string{Backend(0, 0, 0).String()}, NodeName: &f.Node.Name,
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &yes, Terminating: &terminating},
	}}})
	if err == nil {
		_, err = f.API.Client.DiscoveryV1().EndpointSlices(space).Patch(f.t.Context(), "balanced", types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// patchNode changes the Node object.
func (f *field) patchNode(patch string) {
	f.t.Helper()
	_, err := f.API.Client.CoreV1().Nodes().Patch(f.t.Context(), f.Node.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	if err != nil {
		f.t.Fatal(err)
	}
}

// answers is what the health servers say: the status of each.
type answers struct{ Healthz, Livez, Check int }

// say waits until the health servers say so.
func (f *field) say(when string, check int32, want answers, within time.Duration) {
	f.t.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: DialIn(f.Path("client")), DisableKeepAlives: true}}
	status := func(port int32, path string) int {
		r, err := client.Get(fmt.Sprintf("http://%s:%d%s", nodeAddr, port, path))
		if err != nil {
			return 0
		}
		r.Body.Close()
		return r.StatusCode
	}
	began := time.Now()
	for {
		got := answers{status(10256, "/healthz"), status(10256, "/livez"), status(check, "/")}
		diff := cmp.Diff(want, got)
		if diff == "" {
			f.t.Logf("%s: after %s", when, time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > within {
			f.t.Fatalf("%s, after %s (-want +got):\n%s", when, within, diff)
		}
	}
}

// deny makes all writes of the proxy fail until the returned function is
// called: another program owns its table.
func (f *field) deny(m mode) (allow func()) {
	f.t.Helper()
	table := "inet causeway"
	if m.mode == "iptables" {
		table = "ip nat"
	}
	cmd := exec.Command("nsenter", "--net="+f.Node.Netns, "--", "nft", "-i")
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	end := func() {
		in.Close()
		cmd.Wait()
	}
	f.t.Cleanup(end)
	if _, err := fmt.Fprintf(in, "delete table %[1]s; add table %[1]s { flags owner; }\n", table); err != nil {
		f.t.Fatal(err)
	}
	return end
}

// TestHealth is what balancers, autoscalers and kubelet are told.
func TestHealth(t *testing.T) {
	f := newField(t)
	nodePort, check := f.balanced()
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			f := &field{f.Field, t, f.ipamd}
			f.local(false)
			f.start(m, "--iptables-sync-period", "1s")
			fine := answers{200, 200, 200}
			f.say("ready", check, fine, 20*time.Second)

			f.local(true)
			f.say("K17: the endpoint terminates", check, answers{200, 200, 503}, 3*time.Second)
			err := Within(f.Path("client"), func() error {
				_, err := Ask(fmt.Sprintf("%s:%d", nodeAddr, nodePort), time.Second)
				return err
			})
			if err != nil {
				t.Errorf("K17: the terminating endpoint does not get traffic: %v", err)
			}
			f.local(false)
			f.say("ready again", check, fine, 3*time.Second)

			f.patchNode(`{"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler","effect":"NoSchedule"}]}}`)
			f.say("K18: the autoscaler's taint", check, answers{503, 200, 200}, 3*time.Second)
			f.patchNode(`{"spec":{"taints":null},"metadata":{"finalizers":["example.com/wait"]}}`)
			f.say("without it", check, fine, 3*time.Second)
			if err := f.API.Client.CoreV1().Nodes().Delete(t.Context(), f.Node.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			f.say("K18: the node is being deleted", check, answers{503, 200, 200}, 3*time.Second)
			f.patchNode(`{"metadata":{"finalizers":null}}`)
			if err := f.nodeObject(t.Context(), f.Node.Name); err != nil {
				t.Fatal(err)
			}
			f.say("there is a new one", check, fine, 3*time.Second)

			if m.variant == "legacy" { // whose tables nobody can own
				return
			}
			allow := f.deny(m)
			f.say("K19: nothing can be written", check, answers{503, 503, 503}, 20*time.Second)
			allow()
			f.say("it can again", check, fine, 10*time.Second)
		})
	}
}
