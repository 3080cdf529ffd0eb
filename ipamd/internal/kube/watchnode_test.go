package kube

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
)

// planner is a sink that keeps what it is told.
type planner struct {
	mu      sync.Mutex
	cluster demand.Cluster
	synced  int
	log     bytes.Buffer
}

func (p *planner) do(f func()) { p.mu.Lock(); defer p.mu.Unlock(); f() }

func (p *planner) SetPod(pod demand.Pod)           { p.do(func() { p.cluster.SetPod(pod) }) }
func (p *planner) DeletePod(k demand.Key)          { p.do(func() { p.cluster.DeletePod(k) }) }
func (p *planner) SetENIConfig(e demand.ENIConfig) { p.do(func() { p.cluster.SetENIConfig(e) }) }
func (p *planner) DeleteENIConfig(name string)     { p.do(func() { p.cluster.DeleteENIConfig(name) }) }
func (p *planner) SetNode(n *demand.Node)          { p.do(func() { p.cluster.SetNode(n) }) }
func (p *planner) Synced()                         { p.do(func() { p.synced++; p.cluster.Synced() }) }
func (p *planner) Write(b []byte) (n int, err error) {
	p.do(func() { n, err = p.log.Write(b) })
	return n, err
}

func (p *planner) lines(with string) (n int) {
	p.do(func() { n = strings.Count(p.log.String(), with) })
	return n
}

// names are the pods that wait and the ENIConfigs that there are.
func (p *planner) names() []string {
	var all []string
	p.do(func() {
		for _, pod := range p.cluster.Waiting(func(demand.Pod) bool { return false }) {
			all = append(all, pod.String())
		}
		for _, e := range p.cluster.ENIConfigs() {
			all = append(all, e.Name)
		}
	})
	return all
}

func (p *planner) eventually(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, strings.Join(want, ", ")+" and no others", func() bool { return slices.Equal(p.names(), want) })
}

func (p *planner) eventuallySynced(t *testing.T) {
	t.Helper()
	eventually(t, "synced", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.synced > 0 })
}

func newClient(t *testing.T, a *api, log *slog.Logger) *Client {
	t.Helper()
	c, err := New(Settings{Endpoint: "http://" + a.address, Node: "here", Version: "1.2", ENIConfigs: true, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// followNode watches what is of this node until the test ends.
func followNode(t *testing.T, a *api, adjust func(*Client)) *planner {
	t.Helper()
	p := &planner{}
	c := newClient(t, a, slog.New(slog.NewTextHandler(p, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if adjust != nil {
		adjust(c)
	}
	runTask(t, p, func(ctx context.Context) error { return c.WatchNode(ctx, p) })
	return p
}

// runTask runs a task until the test ends.
func runTask(t *testing.T, p *planner, task func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- task(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(2 * time.Second):
			t.Error("the task goes on after its context ended")
		}
		if t.Failed() {
			p.do(func() { t.Logf("log:\n%s", p.log.String()) })
		}
	})
}

func aPod(name, node string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, UID: "uid-1"}, Spec: corev1.PodSpec{NodeName: node}}
}

func anENIConfig(name, subnet string, groups ...string) *eniConfig {
	e := &eniConfig{ObjectMeta: metav1.ObjectMeta{Name: name}}
	e.Spec.Subnet, e.Spec.SecurityGroups = subnet, groups
	return e
}

func TestWatchNodeFollowsTheAPI(t *testing.T) {
	for name, adjust := range map[string]func(*api){
		"list":          func(a *api) { a.streams = false },
		"streamed list": func(*api) {},
		"protobuf":      func(a *api) { a.encode = runtime.ContentTypeProtobuf },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			adjust(a)
			a.set(aPod("a", "here"), aPod("b", "here"), aPod("c", "there"), anENIConfig("z1", "subnet-1", "sg-1", "sg-2"),
				aNode("here", "10.0.0.4"), aNode("there", "10.0.0.5"))
			p := followNode(t, a, nil)
			p.eventuallySynced(t)
			p.eventually(t, "n/a", "n/b", "z1")

			running := aPod("b", "here")
			running.Status.PodIP = "10.0.0.9"
			a.set(running, aPod("d", "here"), anENIConfig("z2", "subnet-2"))
			a.delete(aPod("a", "here"))
			cordoned := aNode("here", "10.0.0.4")
			cordoned.Labels = map[string]string{corev1.LabelTopologyZone: "z1"}
			cordoned.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}}
			a.set(cordoned)
			p.eventually(t, "n/d", "z1", "z2")
			a.delete(anENIConfig("z2", ""))
			p.eventually(t, "n/d", "z1")
			eventually(t, "the Node is cordoned", func() bool {
				p.mu.Lock()
				defer p.mu.Unlock()
				n := p.cluster.Node()
				return n != nil && n.Name == "here" && n.Unschedulable
			})
			a.delete(aNode("here", ""))
			eventually(t, "the Node is gone", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.cluster.Node() == nil })
			p.do(func() {
				want := demand.ENIConfig{Name: "z1", Subnet: "subnet-1", SecurityGroups: []string{"sg-1", "sg-2"}}
				if diff := cmp.Diff([]demand.ENIConfig{want}, p.cluster.ENIConfigs()); diff != "" || p.synced != 1 {
					t.Errorf("synced %d times; ENIConfigs (-want +got)\n%s", p.synced, diff)
				}
			})
		})
	}
}

func TestNodeRequests(t *testing.T) {
	a := newAPI(t)
	p := followNode(t, a, nil)
	p.eventuallySynced(t)
	a.mu.Lock()
	defer a.mu.Unlock()
	got := map[string]string{}
	for _, r := range a.requests {
		accepts, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
		accepts, _, _ = strings.Cut(accepts, ";")
		got[r.URL.Path] = r.URL.Query().Get("fieldSelector") + " " + accepts
	}
	want := map[string]string{
		"/api/v1/pods":  "spec.nodeName=here application/vnd.kubernetes.protobuf",
		"/api/v1/nodes": "metadata.name=here application/vnd.kubernetes.protobuf",
		"/apis/crd.k8s.amazonaws.com/v1alpha1/eniconfigs": " application/json",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("selectors and media types (-want +got)\n%s", diff)
	}
}

// TestENIConfigsOfNoUse has a cluster with ENIConfigs, and a node without
// custom networking, which does not ask for them.
func TestENIConfigsOfNoUse(t *testing.T) {
	a := newAPI(t)
	a.set(aPod("a", "here"), anENIConfig("z1", "subnet-1"))
	p := followNode(t, a, func(c *Client) { c.settings.ENIConfigs = false })
	p.eventuallySynced(t)
	p.eventually(t, "n/a")
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if strings.Contains(r.URL.Path, "eniconfigs") {
			t.Errorf("asked for %s", r.URL)
		}
	}
}

// TestWithoutENIConfigs has a cluster without the resource, until it has it.
func TestWithoutENIConfigs(t *testing.T) {
	for _, streams := range []bool{false, true} {
		a := newAPI(t)
		a.streams, a.absent = streams, "eniconfigs"
		a.set(aPod("a", "here"), aNode("here", "10.0.0.4"), anENIConfig("z1", "subnet-1"))
		p := followNode(t, a, func(c *Client) { c.absence = 50 * time.Millisecond })
		p.eventuallySynced(t)
		p.eventually(t, "n/a")
		asked := func() (n int) {
			a.mu.Lock()
			defer a.mu.Unlock()
			for _, r := range a.requests {
				if strings.HasSuffix(r.URL.Path, "/eniconfigs") {
					n++
				}
			}
			return n
		}
		eventually(t, "several attempts", func() bool { return asked() >= 6 })
		a.mu.Lock()
		a.absent = ""
		a.mu.Unlock()
		p.eventually(t, "n/a", "z1")
		if p.lines("has no ENIConfigs") != 1 || p.lines("level=ERROR") != 0 {
			t.Errorf("want one line of the missing resource and no error")
		}
		a.mu.Lock()
		a.absent = "eniconfigs"
		a.mu.Unlock()
		before := asked()
		a.away()
		a.back()
		eventually(t, "a new attempt", func() bool { return asked() > before })
		p.eventually(t, "n/a", "z1")
	}
}

// TestNodeAPIAway has an outage in which nothing changes for the sink, and a
// new list after it.
func TestNodeAPIAway(t *testing.T) {
	a := newAPI(t)
	a.set(aPod("a", "here"), aPod("b", "here"), aNode("here", "10.0.0.4"), anENIConfig("z1", "subnet-1"))
	p := followNode(t, a, nil)
	p.eventuallySynced(t)
	a.away()
	eventually(t, "an error in the log", func() bool { return p.lines("cannot be read") > 0 })
	a.delete(aPod("a", "here"))
	a.delete(anENIConfig("z1", ""))
	a.set(aPod("c", "here"))
	a.compact()
	if got, want := p.names(), []string{"n/a", "n/b", "z1"}; !slices.Equal(got, want) {
		t.Errorf("with the API away there is %v, want %v", got, want)
	}
	a.back()
	p.eventually(t, "n/b", "n/c")
	if p.lines("cannot be read") != 1 || p.synced != 1 {
		t.Errorf("one outage is in the log %d times; synced %d times", p.lines("cannot be read"), p.synced)
	}
}

func TestToPod(t *testing.T) {
	now := metav1.Now()
	plain := demand.Pod{Key: demand.Key{Namespace: "n", Name: "a"}, UID: "uid-1"}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   func(*demand.Pod)
	}{
		"scheduled":    {func(*corev1.Pod) {}, func(*demand.Pod) {}},
		"pending":      {func(o *corev1.Pod) { o.Status.Phase = corev1.PodPending }, func(*demand.Pod) {}},
		"host network": {func(o *corev1.Pod) { o.Spec.HostNetwork = true }, func(p *demand.Pod) { p.HostNetwork = true }},
		"succeeded":    {func(o *corev1.Pod) { o.Status.Phase = corev1.PodSucceeded }, func(p *demand.Pod) { p.Ended = true }},
		"failed":       {func(o *corev1.Pod) { o.Status.Phase = corev1.PodFailed }, func(p *demand.Pod) { p.Ended = true }},
		"deleting":     {func(o *corev1.Pod) { o.DeletionTimestamp = &now }, func(p *demand.Pod) { p.Deleting = true }},
		"one address":  {func(o *corev1.Pod) { o.Status.PodIP = "10.0.0.9" }, func(p *demand.Pod) { p.HasAddress = true }},
		"IPv6": {func(o *corev1.Pod) { o.Status.PodIPs = []corev1.PodIP{{IP: "2001:db8::1"}} },
			func(p *demand.Pod) { p.HasAddress = true }},
	} {
		t.Run(name, func(t *testing.T) {
			o, want := aPod("a", "here"), plain
			test.change(o)
			test.want(&want)
			if diff := cmp.Diff(want, toPod(o)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestToDemandNode(t *testing.T) {
	o := aNode("here", "10.0.0.4")
	o.Labels = map[string]string{corev1.LabelTopologyZone: "z1", "x": "y"}
	o.Annotations = map[string]string{"k8s.amazonaws.com/eniConfig": "e"}
	o.Status.Capacity = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("29")}
	o.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady}}
	want := &demand.Node{Name: "here", Zone: "z1", Labels: o.Labels, Annotations: o.Annotations, MaxPods: 29}
	if diff := cmp.Diff(want, toDemandNode(o)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	o.Spec.Unschedulable = true
	if !toDemandNode(o).Unschedulable {
		t.Error("a cordoned Node is schedulable")
	}
}
