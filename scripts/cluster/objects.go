package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const space = "default"

// ClusterIP is that of the i-th service.
func ClusterIP(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, 129, byte(i >> 8), byte(i)})
}

// Backend is the n-th endpoint of the i-th service in a generation.
func Backend(i, n, generation int) netip.Addr {
	v := uint32(i*64 + n + 1<<20*generation)
	return netip.AddrFrom4([4]byte{10, byte(1 + v>>16&0x7f), byte(v >> 8), byte(v)})
}

// Name is that of the i-th service.
func Name(i int) string { return fmt.Sprintf("svc-%05d", i) }

// writers is how many objects are written at once.
const writers = 32

// WriteServices creates the services from..to-1, each with a slice of so many
// ready endpoints.
func (a *API) WriteServices(ctx context.Context, from, to, endpoints int) error {
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.SetLimit(writers)
	for i := from; i < to; i++ {
		tasks.Go(func() error {
			_, err := a.Client.CoreV1().Services(space).Create(ctx, &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Name: Name(i)},
				Spec: corev1.ServiceSpec{ClusterIP: ClusterIP(i).String(),
					Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}},
			}, metav1.CreateOptions{})
			if err != nil {
				return err
			}
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta:  metav1.ObjectMeta{Name: Name(i), Labels: map[string]string{discoveryv1.LabelServiceName: Name(i)}},
				AddressType: discoveryv1.AddressTypeIPv4, Ports: ports(), Endpoints: ready(i, endpoints, 0),
			}
			_, err = a.Client.DiscoveryV1().EndpointSlices(space).Create(ctx, slice, metav1.CreateOptions{})
			return err
		})
	}
	return tasks.Wait()
}

// Move gives a service other endpoints: those of a generation.
func (a *API) Move(ctx context.Context, i, endpoints, generation int) error {
	patch, err := json.Marshal(map[string]any{"endpoints": ready(i, endpoints, generation)})
	if err != nil {
		return err
	}
	_, err = a.Client.DiscoveryV1().EndpointSlices(space).Patch(ctx, Name(i), types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

func ports() []discoveryv1.EndpointPort {
	name, protocol, number := "http", corev1.ProtocolTCP, int32(80)
	return []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &number}}
}

func ready(i, endpoints, generation int) []discoveryv1.Endpoint {
	yes, node := true, "elsewhere"
	var all []discoveryv1.Endpoint
	for n := range endpoints {
		all = append(all, discoveryv1.Endpoint{Addresses: []string{Backend(i, n, generation).String()},
			NodeName: &node, Conditions: discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes}})
	}
	return all
}
