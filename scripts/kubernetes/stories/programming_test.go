//go:build cluster

package stories

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	client "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/causeway-cni/causeway/scripts/cluster"
)

const (
	crowd   = 1000 // services
	changes = 50   // of the endpoints of one
	writers = 16   // at once
)

// programming changes the endpoint of one of many services, and looks when a
// client comes to the new one, beside what the daemon says of it.
func programming(s story) {
	config, err := clientcmd.BuildConfigFromFlags("", s.cluster.Kubeconfig())
	if err != nil {
		s.Fatal(err)
	}
	config.QPS = -1
	api, err := client.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	s.web(4)
	s.client("client", "")
	s.kubectl("delete", "service", "web")
	backends := strings.Fields(s.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.podIP}"))
	start := time.Now()
	clusterIP := s.crowd(api, backends)
	s.number(fmt.Sprintf("%d services written after, s", crowd), math.Round(time.Since(start).Seconds()*10)/10, "")
	file := s.fromPod("client")
	defer file.Close()
	dial := cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	s.arrival(dial, clusterIP, backends[0], time.Minute) // all before it is programmed, too

	node := s.node(s.kubectl("get", "pod", "client", "-o", "jsonpath={.status.hostIP}"))
	const metric = "kubeproxy_network_programming_duration_seconds"
	before := observed(s.scrape(node, proxyMetrics), metric, "")
	var seen []time.Duration
	for i := range changes {
		to := backends[(i+1)%len(backends)]
		start := time.Now()
		s.move(api, to, start)
		seen = append(seen, s.arrival(dial, clusterIP, to, time.Minute).Sub(start))
	}
	remark := fmt.Sprintf("%d services, %d changes", crowd, changes)
	s.times("slice written to client at the new endpoint", seen, "%s", remark)
	s.bounds("network_programming_duration_seconds", observed(s.scrape(node, proxyMetrics), metric, "").plus(before, -1), remark)
}

// crowd writes services with slices by hand, as there are for services without
// a selector, and returns the cluster IP of the first.
func (s story) crowd(api *client.Clientset, backends []string) string {
	s.Helper()
	tasks, ctx := errgroup.WithContext(s.ctx)
	tasks.SetLimit(writers)
	var first string
	for i := range crowd {
		tasks.Go(func() error {
			name := fmt.Sprintf("crowd-%d", i)
			service, err := api.CoreV1().Services(s.space).Create(ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "tcp", Port: 80}}}}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			if i == 0 {
				first = service.Spec.ClusterIP
			}
			port, number, protocol := "tcp", int32(80), corev1.ProtocolTCP
			_, err = api.DiscoveryV1().EndpointSlices(s.space).Create(ctx, &discoveryv1.EndpointSlice{
				ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
				AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: backends[:1]}},
				Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number, Protocol: &protocol}},
			}, metav1.CreateOptions{})
			return err
		})
	}
	if err := tasks.Wait(); err != nil {
		s.Fatal(err)
	}
	return first
}

// move gives the first service another endpoint, and says when the reason for
// it was, as the controller of slices does.
func (s story) move(api *client.Clientset, to string, now time.Time) {
	s.Helper()
	patch, err := json.Marshal(map[string]any{
		"metadata":  map[string]any{"annotations": map[string]string{corev1.EndpointsLastChangeTriggerTime: now.UTC().Format(time.RFC3339Nano)}},
		"endpoints": []discoveryv1.Endpoint{{Addresses: []string{to}}},
	})
	if err == nil {
		_, err = api.DiscoveryV1().EndpointSlices(s.space).Patch(s.ctx, "crowd-0", types.MergePatchType, patch, metav1.PatchOptions{})
	}
	if err != nil {
		s.Fatal(err)
	}
}

// arrival is when a new connection first came to an endpoint.
func (s story) arrival(dial func(context.Context, string, string) (net.Conn, error), clusterIP, endpoint string, within time.Duration) time.Time {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, within)
	defer cancel()
	reached := func() (netip.Addr, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		c, err := dial(ctx, "tcp4", net.JoinHostPort(clusterIP, "80"))
		if err != nil {
			return netip.Addr{}, err
		}
		defer c.Close()
		return whom(c)
	}
	for {
		at, err := reached()
		switch {
		case at.String() == endpoint:
			return time.Now()
		case ctx.Err() != nil:
			s.Fatalf("after %s connections to %s come to %s, %v; want %s", within, clusterIP, at, err, endpoint)
		}
	}
}
