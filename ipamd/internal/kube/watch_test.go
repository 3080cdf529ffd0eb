package kube

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/causeway-cni/causeway/proxy/service"
)

// world is what a sink was told.
type world struct {
	mu       sync.Mutex
	services map[string]service.Service
	slices   map[string]service.EndpointSlice
	node     *service.Node
	nodes    int // calls of SetNode
	synced   int
	log      bytes.Buffer
}

func (w *world) do(f func()) { w.mu.Lock(); defer w.mu.Unlock(); f() }

func (w *world) SetService(s service.Service)     { w.do(func() { w.services[s.String()] = s }) }
func (w *world) SetSlice(s service.EndpointSlice) { w.do(func() { w.slices[s.String()] = s }) }
func (w *world) DeleteService(k service.Key)      { w.do(func() { delete(w.services, k.String()) }) }
func (w *world) DeleteSlice(k service.Key)        { w.do(func() { delete(w.slices, k.String()) }) }
func (w *world) SetNode(n *service.Node)          { w.do(func() { w.node, w.nodes = n, w.nodes+1 }) }
func (w *world) Synced()                          { w.do(func() { w.synced++ }) }
func (w *world) Write(p []byte) (n int, err error) {
	w.do(func() { n, err = w.log.Write(p) })
	return n, err
}

// names are those of all objects that the sink has.
func (w *world) names() []string {
	var all []string
	w.do(func() {
		for name := range w.services {
			all = append(all, name)
		}
		for name := range w.slices {
			all = append(all, "slice "+name)
		}
	})
	slices.Sort(all)
	return all
}

func (w *world) lines(with string) int {
	n := 0
	w.do(func() {
		for line := range strings.SplitSeq(w.log.String(), "\n") {
			if strings.Contains(line, with) {
				n++
			}
		}
	})
	return n
}

// follow watches the API until the test ends, or stop is called, which waits
// for the end.
func follow(t *testing.T, a *api, adjust func(*Client)) (w *world, stop func()) {
	t.Helper()
	w = &world{services: map[string]service.Service{}, slices: map[string]service.EndpointSlice{}}
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := New(Settings{Endpoint: "http://" + a.address, Node: "here", Version: "1.2", Log: log,
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.4")}})
	if err != nil {
		t.Fatal(err)
	}
	if adjust != nil {
		adjust(c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Watch(ctx, w) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Watch: %v", err)
			}
		case <-time.After(2 * time.Second):
			t.Error("Watch goes on after its context ended")
		}
	})
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("log:\n%s", w.log.String())
		}
	})
	return w, stop
}

// eventually polls until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (w *world) eventuallyHas(t *testing.T, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, strings.Join(want, ", ")+" and no others", func() bool { return slices.Equal(w.names(), want) })
}

func (w *world) eventuallySynced(t *testing.T) {
	t.Helper()
	eventually(t, "synced", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.synced == 1 })
}

func aService(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Spec: corev1.ServiceSpec{ClusterIP: "172.20.0.1"}}
}

func aSlice(name string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.9"}}}}
}

func aNode(name, address string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}}}}
}

func TestWatchFollowsTheAPI(t *testing.T) {
	for name, adjust := range map[string]func(*api){
		"list":            func(a *api) { a.streams = false },
		"streamed list":   func(*api) {},
		"protobuf":        func(a *api) { a.encode = runtime.ContentTypeProtobuf },
		"protobuf, lists": func(a *api) { a.encode, a.streams = runtime.ContentTypeProtobuf, false },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			adjust(a)
			a.set(aService("a"), aService("b"), aSlice("a-1"), aNode("here", "10.0.0.4"), aNode("there", "10.0.0.5"))
			w, _ := follow(t, a, nil)
			w.eventuallySynced(t)
			w.eventuallyHas(t, "n/a", "n/b", "slice n/a-1")

			a.set(aService("c"), aSlice("c-1"))
			a.delete(aService("a"))
			changed := aService("b")
			changed.Spec.HealthCheckNodePort = 30001
			a.set(changed)
			a.delete(aSlice("a-1"))
			w.eventuallyHas(t, "n/b", "n/c", "slice n/c-1")
			w.do(func() {
				if got := w.services["n/b"].HealthCheckNodePort; got != 30001 {
					t.Errorf("the service has health-check port %d, want the new 30001", got)
				}
				if got := w.slices["n/c-1"].Endpoints; len(got) != 1 || got[0].Addr.String() != "10.0.0.9" {
					t.Errorf("endpoints %v", got)
				}
				if w.node == nil || w.node.Name != "here" || w.synced != 1 {
					t.Errorf("node %v, synced %d times", w.node, w.synced)
				}
			})
		})
	}
}

func TestRequests(t *testing.T) {
	a := newAPI(t)
	a.set(aNode("here", "10.0.0.4"))
	w, _ := follow(t, a, nil)
	w.eventuallySynced(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	got := map[string]string{}
	for _, r := range a.requests {
		got[r.URL.Path] = r.URL.Query().Get("labelSelector") + r.URL.Query().Get("fieldSelector")
		if agent := r.UserAgent(); agent != "causeway/1.2" {
			t.Errorf("user agent %q", agent)
		}
		if accept := r.Header.Get("Accept"); !strings.HasPrefix(accept, "application/vnd.kubernetes.protobuf") || !strings.Contains(accept, "application/json") {
			t.Errorf("Accept: %s, want protobuf, then JSON", accept)
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("a token went over plain HTTP")
		}
	}
	want := map[string]string{
		"/api/v1/services":                         "!service.kubernetes.io/service-proxy-name",
		"/apis/discovery.k8s.io/v1/endpointslices": "!service.kubernetes.io/headless",
		"/api/v1/nodes":                            "metadata.name=here",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("selectors (-want +got)\n%s", diff)
	}
}

// TestExpiredWatch has a watch that cannot go on: a new list tells what is
// gone.
func TestExpiredWatch(t *testing.T) {
	for _, streams := range []bool{false, true} {
		a := newAPI(t)
		a.streams = streams
		a.set(aService("a"), aService("b"), aSlice("a-1"), aNode("here", "10.0.0.4"))
		w, _ := follow(t, a, nil)
		w.eventuallySynced(t)
		a.away()
		a.delete(aService("a"))
		a.delete(aSlice("a-1"))
		a.delete(aNode("here", ""))
		a.set(aService("c"))
		a.compact()
		a.back()
		w.eventuallyHas(t, "n/b", "n/c")
		eventually(t, "the Node is gone", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.node == nil })
		if w.synced != 1 {
			t.Errorf("synced %d times", w.synced)
		}
	}
}

func TestAPIAway(t *testing.T) {
	a := newAPI(t)
	a.set(aService("a"), aSlice("a-1"), aNode("here", "10.0.0.4"))
	w, _ := follow(t, a, nil)
	w.eventuallySynced(t)
	a.away()
	eventually(t, "an error in the log", func() bool { return w.lines("cannot be read") > 0 })
	a.set(aService("b"))
	eventually(t, "several attempts", func() bool { return w.lines("backing off") >= 9 })
	if got := w.names(); !slices.Equal(got, []string{"n/a", "slice n/a-1"}) {
		t.Errorf("with the API away there is %v, want what was there", got)
	}
	a.back()
	w.eventuallyHas(t, "n/a", "n/b", "slice n/a-1")
	eventually(t, "the log says that the API is back", func() bool { return w.lines("can be read again") > 0 })
	if away, back := w.lines("cannot be read"), w.lines("can be read again"); away != 1 || back != 1 {
		t.Errorf("one outage is in the log %d times, and its end %d times, want once", away, back)
	}
	if w.lines("level=ERROR") != 1 || w.lines(a.address) < 2 {
		t.Errorf("want one error, and the address of the server in both lines")
	}
}

func TestEndWhileTheAPIIsAway(t *testing.T) {
	a := newAPI(t)
	a.away()
	w, stop := follow(t, a, nil)
	eventually(t, "an error in the log", func() bool { return w.lines("cannot be read") > 0 })
	eventually(t, "the pauses are long", func() bool { return w.lines("backing off") >= 12 })
	stop()
	if w.synced != 0 {
		t.Error("synced without the API")
	}
}

func TestNodeMismatch(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(*api)
		want    []string
	}{
		"another name has our address": {func(a *api) { a.set(aNode("ip-10-0-0-4.ec2.internal", "10.0.0.4")) },
			[]string{"there is no Node", "setting=MY_NODE_NAME", "value=here", "want=ip-10-0-0-4.ec2.internal"}},
		"other letters":   {func(a *api) { a.set(aNode("HERE", "10.0.0.7")) }, []string{"value=here", "want=HERE"}},
		"nobody has it":   {func(a *api) { a.set(aNode("there", "10.0.0.5")) }, []string{"value=here", "kubectl get nodes"}},
		"it is forbidden": {func(a *api) { a.forbidden = "nodes" }, []string{"cannot be read", "resource=nodes", "the Node could not be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			test.prepare(a)
			a.set(aService("a"))
			w, _ := follow(t, a, func(c *Client) { c.grace = 300 * time.Millisecond })
			w.eventuallySynced(t)
			for _, want := range test.want {
				if w.lines(want) == 0 {
					t.Errorf("the log does not say %q", want)
				}
			}
			w.do(func() {
				if w.node != nil || a.forbidden == "" && w.nodes != 1 {
					t.Errorf("node %v, told %d times; want nil once", w.node, w.nodes)
				}
			})
			if a.forbidden != "" {
				return
			}
			a.set(aNode("here", "10.0.0.4"))
			eventually(t, "the Node is there", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.node != nil })
		})
	}
}

// TestNodeIsToldOnce has the heartbeats of a kubelet.
func TestNodeIsToldOnce(t *testing.T) {
	a := newAPI(t)
	a.set(aNode("here", "10.0.0.4"))
	w, _ := follow(t, a, nil)
	w.eventuallySynced(t)
	beat := aNode("here", "10.0.0.4")
	beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady}}
	a.set(beat)
	moved := aNode("here", "10.0.0.4")
	moved.Labels = map[string]string{corev1.LabelTopologyZone: "z1"}
	a.set(moved)
	eventually(t, "the new zone", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return w.node != nil && w.node.Zone == "z1" })
	if w.nodes != 2 {
		t.Errorf("the Node was told %d times, want twice", w.nodes)
	}
}

// TestSyncedWaitsForAll has services that are not to be read yet.
func TestSyncedWaitsForAll(t *testing.T) {
	a := newAPI(t)
	a.forbidden = "endpointslices"
	a.set(aService("a"), aSlice("a-1"), aNode("here", "10.0.0.4"))
	w, _ := follow(t, a, func(c *Client) { c.grace = time.Millisecond })
	w.eventuallyHas(t, "n/a")
	eventually(t, "an error in the log", func() bool { return w.lines("Forbidden") > 0 })
	w.do(func() {
		if w.synced != 0 {
			t.Error("synced without the slices")
		}
	})
	a.mu.Lock()
	a.forbidden = ""
	a.mu.Unlock()
	w.eventuallySynced(t)
	w.eventuallyHas(t, "n/a", "slice n/a-1")
}
