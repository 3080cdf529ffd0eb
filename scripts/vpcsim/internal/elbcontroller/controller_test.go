package elbcontroller

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elb"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/kubeapi"
)

// wanted is a balancer of one group with these targets.
func wanted(name, scheme string, seconds int, targets ...string) elb.Wanted {
	g := control.TargetGroup{Name: "tcp-80", TargetType: "ip", Port: 8080, DeregistrationDelay: new(control.Duration(time.Duration(seconds) * time.Second))}
	for _, t := range targets {
		g.Targets = append(g.Targets, control.Target{Address: netip.MustParseAddr(t), Port: 8080})
	}
	return elb.Wanted{Kind: "Service", Namespace: "default", Name: name, Balancer: control.LoadBalancer{
		Name: name, Type: "nlb", Scheme: scheme, Listeners: []control.Listener{{Port: 80}}, TargetGroups: []control.TargetGroup{g}}}
}

// TestStep changes what is wanted, step by step; each step is followed by one
// that finds nothing to do.
func TestStep(t *testing.T) {
	f := &fake{draining: map[string]bool{}}
	other, err := f.CreateBalancer(t.Context(), wanted("by-hand", "internal", 1).Balancer)
	if err != nil {
		t.Fatal(err)
	}
	f.taken()
	r := NewReconciler(f)
	broken := wanted("k8s-a", "internal", 30)
	broken.Err = errors.New("not simulated")
	for _, step := range []struct {
		name string
		want []elb.Wanted
		does []string
	}{
		{"begin", []elb.Wanted{wanted("k8s-a", "internal", 30, "10.0.0.1", "10.0.0.2")}, []string{"create internal k8s-a"}},
		{"an endpoint goes, another comes", []elb.Wanted{wanted("k8s-a", "internal", 30, "10.0.0.2", "10.0.0.3")}, []string{"register 1 with k8s-a", "deregister 1 of k8s-a"}},
		{"one comes back while it drains", []elb.Wanted{wanted("k8s-a", "internal", 30, "10.0.0.1", "10.0.0.2", "10.0.0.3")}, []string{"register 1 with k8s-a"}},
		{"a setting changes", []elb.Wanted{wanted("k8s-a", "internal", 60, "10.0.0.1", "10.0.0.2", "10.0.0.3")}, []string{"modify k8s-a"}},
		{"an annotation is wrong", []elb.Wanted{broken}, nil},
		{"the scheme changes", []elb.Wanted{wanted("k8s-a", "internet-facing", 60, "10.0.0.1")}, []string{"delete k8s-a", "create internet-facing k8s-a"}},
		{"another name", []elb.Wanted{wanted("mine", "internal", 60)}, []string{"create internal mine", "delete k8s-a"}},
		{"two of one name", []elb.Wanted{wanted("mine", "internal", 60), wanted("mine", "internal", 99)}, nil},
		{"the end", nil, []string{"delete mine"}},
	} {
		for _, does := range [][]string{step.does, nil} {
			outcomes, err := r.Step(t.Context(), step.want)
			if err != nil || len(outcomes) != len(step.want) {
				t.Fatalf("%s: %+v, error %v", step.name, outcomes, err)
			}
			if diff := cmp.Diff(does, f.taken()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", step.name, diff)
			}
			for i, o := range outcomes {
				if failed := o.Failed != nil; failed != (o.Err != nil || i > 0) {
					t.Errorf("%s: %v", step.name, o.Failed)
				}
			}
		}
	}
	if left, _ := f.Balancers(t.Context()); len(left) != 1 || left[0].Name != other.Name {
		t.Errorf("left: %+v", left)
	}
	f.away = errors.New("away")
	if _, err := r.Step(t.Context(), nil); !errors.Is(err, f.away) {
		t.Errorf("a simulator that does not answer: %v", err)
	}
	// A process that starts anew deletes what the one before made.
	f.away = nil
	if _, err := NewReconciler(f).Step(t.Context(), []elb.Wanted{wanted("k8s-b", "internal", 1)}); err != nil {
		t.Fatal(err)
	}
	f.taken()
	if _, err := NewReconciler(f).Step(t.Context(), nil); err != nil || !slices.Equal(f.taken(), []string{"delete k8s-b"}) {
		t.Errorf("after a restart: %v, error %v", f.calls, err)
	}
}

// world is a controller on an API that is served over HTTP.
type world struct {
	*testing.T
	*fake
	api kubernetes.Interface
}

func newWorld(t *testing.T, addresses bool) *world {
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewServer(kubeapi.New(log))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	api, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, QPS: 1000, Burst: 1000, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t, &fake{draining: map[string]bool{}}, api}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := New(Settings{API: api, Simulator: w.fake, Place: w.fake, Addresses: addresses, Log: log}).Run(ctx); err != nil {
			t.Errorf("running the controller: %v", err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return w
}

// eventually waits until something holds.
func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not within 20 s: %s; the simulator was asked %q", what, w.taken())
		}
	}
}

func (w *world) must(_ any, err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) serve(name string, annotations map[string]string, ready ...string) {
	w.Helper()
	w.must(w.api.CoreV1().Services("default").Create(w.Context(), &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP}}}}, metav1.CreateOptions{}))
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: new(""), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)}}}
	for _, a := range ready {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	w.must(w.api.DiscoveryV1().EndpointSlices("default").Create(w.Context(), slice, metav1.CreateOptions{}))
}

// TestController takes a Service and an Ingress through their lives.
func TestController(t *testing.T) {
	w := newWorld(t, false)
	const notes = "service.beta.kubernetes.io/aws-load-balancer-"
	w.serve("web", map[string]string{notes + "nlb-target-type": "ip", notes + "scheme": "internet-facing"}, "10.0.0.7", "10.0.0.8")
	status := func() (ingress []corev1.LoadBalancerIngress) {
		s, err := w.api.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
		w.must(s, err)
		return s.Status.LoadBalancer.Ingress
	}
	w.eventually("a status", func() bool { return len(status()) == 1 })
	if name := status()[0].Hostname; !strings.HasPrefix(name, "k8s-default-web-") || !strings.HasSuffix(name, ".elb.us-west-2.amazonaws.com") {
		t.Errorf("its name is %s", name)
	}
	events := func() (texts []string) {
		list, err := w.api.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
		w.must(list, err)
		for _, e := range list.Items {
			texts = append(texts, e.Reason+" "+e.InvolvedObject.Kind+": "+e.Message)
		}
		return texts
	}
	w.eventually("an event that tells the address", func() bool {
		return strings.Contains(strings.Join(events(), "\n"), "SuccessfullyReconciled Service: load balancer k8s-default-web-")
	})
	w.eventually("both targets", func() bool {
		have, err := w.Balancers(t.Context())
		w.must(have, err)
		return len(have[0].TargetGroups[0].Targets) == 2
	})
	w.taken()

	slice, err := w.api.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "web", metav1.GetOptions{})
	w.must(slice, err)
	slice.Endpoints[0].Conditions.Ready = new(false)
	w.must(w.api.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice, metav1.UpdateOptions{}))
	var calls []string
	w.eventually("the endpoint that is not ready drains", func() bool { calls = append(calls, w.taken()...); return len(calls) > 0 })
	if len(calls) != 1 || !strings.HasPrefix(calls[0], "deregister 1 of k8s-default-web-") {
		t.Errorf("a change of readiness: %q", calls)
	}

	s, err := w.api.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	w.must(s, err)
	s.Annotations[notes+"ssl-cert"] = "arn:aws:acm:x"
	w.must(w.api.CoreV1().Services("default").Update(t.Context(), s, metav1.UpdateOptions{}))
	w.eventually("an event that refuses TLS", func() bool {
		return strings.Contains(strings.Join(events(), "\n"), "FailedBuildModel Service: "+notes+"ssl-cert")
	})
	if calls := w.taken(); len(calls) > 0 {
		t.Errorf("a wrong annotation changes the balancer: %q", calls)
	}

	w.must(w.api.NetworkingV1().Ingresses("default").Create(t.Context(), &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: "front", Annotations: map[string]string{"alb.ingress.kubernetes.io/target-type": "ip"}},
		Spec: networkingv1.IngressSpec{IngressClassName: new("alb"), DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}},
	}, metav1.CreateOptions{}))
	w.eventually("the status of the Ingress", func() bool {
		i, err := w.api.NetworkingV1().Ingresses("default").Get(t.Context(), "front", metav1.GetOptions{})
		w.must(i, err)
		ingress := i.Status.LoadBalancer.Ingress
		return len(ingress) == 1 && strings.HasPrefix(ingress[0].Hostname, "internal-k8s-default-front-") && strings.HasSuffix(ingress[0].Hostname, ".us-west-2.elb.amazonaws.com")
	})

	w.must(nil, w.api.NetworkingV1().Ingresses("default").Delete(t.Context(), "front", metav1.DeleteOptions{}))
	w.must(nil, w.api.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}))
	w.eventually("both balancers go", func() bool {
		left, err := w.Balancers(t.Context())
		w.must(left, err)
		return len(left) == 0
	})
}

// TestAddresses has addresses in the status, which the node is not to serve
// itself.
func TestAddresses(t *testing.T) {
	w := newWorld(t, true)
	w.serve("web", map[string]string{"service.beta.kubernetes.io/aws-load-balancer-type": "nlb-ip", "service.beta.kubernetes.io/aws-load-balancer-internal": "false"}, "10.0.0.7")
	w.eventually("a status", func() bool {
		s, err := w.api.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
		w.must(s, err)
		i := s.Status.LoadBalancer.Ingress
		return len(i) == 1 && i[0].IP == "198.51.100.13" && i[0].IPMode != nil && *i[0].IPMode == corev1.LoadBalancerIPModeProxy
	})
}
