package main

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elbcontroller"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/kubeapi"
)

// apply creates an object in YAML.
func apply[T any](t *testing.T, create func(context.Context, *T, metav1.CreateOptions) (*T, error), text string) {
	t.Helper()
	var object T
	if err := yaml.UnmarshalStrict([]byte(text), &object); err != nil {
		t.Fatal(err)
	}
	if _, err := create(t.Context(), &object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestController gives a Service and an Ingress of an API their balancers in the
// simulator, and sends packets through them.
func TestController(t *testing.T) {
	s := raise(t, "controller", "profile: none\n")
	log := slog.New(slog.DiscardHandler)
	server := httptest.NewServer(kubeapi.New(log))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	api, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := elbcontroller.New(elbcontroller.Settings{API: api, Simulator: s.Client, Place: s.Client, Addresses: true, Log: log}).Run(ctx); err != nil {
			t.Errorf("running the controller: %v", err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })

	for _, n := range []string{"n1", "n2"} {
		s.shell(n, "setsid "+program+" echo --listen :30080 >/dev/null 2>&1 &")
		apply(t, api.CoreV1().Nodes().Create, `{metadata: {name: `+n+`.internal}, spec: {providerID: "aws:///us-west-2a/`+s.instanceID(n)+`"}, status: {conditions: [{type: Ready, status: "True"}]}}`)
	}
	const check = "service.beta.kubernetes.io/aws-load-balancer-healthcheck-"
	apply(t, api.CoreV1().Services("default").Create, `{metadata: {name: web, namespace: default, annotations: {
		service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing, service.beta.kubernetes.io/aws-load-balancer-target-group-attributes: deregistration_delay.timeout_seconds=1,
		service.beta.kubernetes.io/aws-load-balancer-attributes: load_balancing.cross_zone.enabled=true,
		`+check+`interval: "1", `+check+`healthy-threshold: "1"}},
		spec: {type: LoadBalancer, ports: [{port: 80, targetPort: 8080, protocol: TCP, nodePort: 30080}]}}`)
	apply(t, api.NetworkingV1().Ingresses("default").Create, `{metadata: {name: front, namespace: default, annotations: {alb.ingress.kubernetes.io/healthcheck-interval-seconds: "1"}},
		spec: {ingressClassName: alb, rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}`)

	var at string
	s.eventually("the Service has its address", func() bool {
		web, err := api.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range web.Status.LoadBalancer.Ingress {
			at = i.IP
		}
		return at != ""
	})
	healthy := func() (targets []string) {
		all, err := s.Client.TargetHealth(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range all {
			if h.State == "healthy" && strings.HasPrefix(h.Balancer, "k8s-default-web-") {
				targets = append(targets, h.Target.Node)
			}
		}
		return targets
	}
	s.eventually("both nodes are healthy", func() bool { return len(healthy()) == 2 })
	seen := map[string]bool{}
	for range 40 {
		answer := s.probe("internet", "tcp", at+":80")
		if source := answer.Source.Addr().String(); source != "203.0.113.10" {
			t.Errorf("the node saw %s", source)
		}
		seen[answer.Host] = true
	}
	if len(seen) != 2 {
		t.Errorf("answers came from %v, want both nodes", seen)
	}

	n1, err := api.CoreV1().Nodes().Get(t.Context(), "n1.internal", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n1.Status.Conditions[0].Status = corev1.ConditionFalse
	if _, err := api.CoreV1().Nodes().Update(t.Context(), n1, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the node that is not ready is no target", func() bool { return slices.Equal(healthy(), []string{"n2"}) })
	if answer := s.probe("internet", "tcp", at+":80"); answer.Host != "n2" {
		t.Errorf("%s answers, which is not ready", answer.Host)
	}

	var front *networkingv1.Ingress
	s.eventually("the Ingress has its address", func() bool {
		if front, err = api.NetworkingV1().Ingresses("default").Get(t.Context(), "front", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		return len(front.Status.LoadBalancer.Ingress) > 0
	})
	to := "http://" + front.Status.LoadBalancer.Ingress[0].IP
	answer, err := s.httpFrom("peer").Get(to)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != 404 {
		t.Errorf("a host that no rule has: %d, want 404", answer.StatusCode)
	}
	if err := api.CoreV1().Services("default").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("its balancer is gone", func() bool {
		left, err := s.Client.Balancers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return len(left) == 1 && strings.HasPrefix(left[0].Name, "k8s-default-front-")
	})
}
