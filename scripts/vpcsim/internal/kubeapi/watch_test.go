package kubeapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
)

// stream is an open watch.
type stream struct {
	*api
	lines *bufio.Scanner
	end   context.CancelFunc
}

func (a *api) watch(path string) *stream {
	a.Helper()
	ctx, cancel := context.WithTimeout(a.Context(), 20*time.Second)
	a.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", a.url+path, nil)
	if err != nil {
		a.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(func() { resp.Body.Close() })
	return &stream{a, bufio.NewScanner(resp.Body), cancel}
}

// next is the next event as "TYPE name", "" at the end of the stream.
func (s *stream) next() string {
	s.Helper()
	if !s.lines.Scan() {
		return ""
	}
	var e struct {
		Type   string         `json:"type"`
		Object map[string]any `json:"object"`
	}
	if err := json.Unmarshal(s.lines.Bytes(), &e); err != nil {
		s.Fatal(err)
	}
	if e.Type == "ERROR" {
		return fmt.Sprint(e.Type, " ", e.Object["code"])
	}
	return strings.TrimSpace(e.Type + " " + text(metadata(e.Object), "name"))
}

func (s *stream) want(events ...string) {
	s.Helper()
	for _, want := range events {
		if got := s.next(); got != want {
			s.Fatalf("event %q, want %q", got, want)
		}
	}
}

func sliceNamed(name, labels string) string {
	return fmt.Sprintf(`{"metadata": {"name": %q, "labels": {%s}}, "addressType": "IPv4"}`, name, labels)
}

func TestWatch(t *testing.T) {
	a := serve(t)
	a.must("POST", endpointSlices, sliceNamed("a", ""))
	w := a.watch(endpointSlices + "?watch=true&labelSelector=!hidden")
	w.want("ADDED a")
	a.must("POST", endpointSlices, sliceNamed("b", `"hidden": "1"`))
	a.must("POST", services, `{"metadata": {"name": "web"}}`)
	a.must("PUT", endpointSlices+"/a", sliceNamed("a", `"x": "1"`))
	a.must("PUT", endpointSlices+"/a", sliceNamed("a", `"x": "1"`)) // no change
	a.must("PUT", endpointSlices+"/a", sliceNamed("a", `"hidden": "1"`))
	a.must("PUT", endpointSlices+"/b", sliceNamed("b", ""))
	a.must("DELETE", endpointSlices+"/b", "")
	w.want("MODIFIED a", "DELETED a", "ADDED b", "DELETED b")

	from := metadata(a.must("GET", endpointSlices, ""))["resourceVersion"]
	a.must("POST", endpointSlices, sliceNamed("c", ""))
	w = a.watch(fmt.Sprintf("%s?watch=1&resourceVersion=%v&timeoutSeconds=1", endpointSlices, from))
	w.want("ADDED c", "") // and its time is up
	w = a.watch(endpointSlices + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dc")
	w.want("ADDED c", "BOOKMARK")
}

func TestWatchOfAForgottenVersion(t *testing.T) {
	a := serve(t)
	a.inner.store.limit = 5
	for i := range 20 {
		a.must("PUT", "/api/v1/namespaces/default", fmt.Sprintf(`{"metadata": {"labels": {"n": "%d"}}}`, i))
	}
	a.watch("/api/v1/namespaces?watch=1&resourceVersion=1").want("ERROR 410", "")
}

// TestReflector has client-go follow the API through everything that may
// happen: streamed and paged lists, an outage, a lost history.
func TestReflector(t *testing.T) {
	for _, streamed := range []bool{true, false} {
		t.Run(fmt.Sprintf("streamed=%v", streamed), func(t *testing.T) {
			a := serve(t)
			a.must("POST", endpointSlices, sliceNamed("a", ""))
			store := a.reflect(streamed)
			a.eventually(store, "a")
			a.must("POST", endpointSlices, sliceNamed("b", ""))
			a.must("POST", endpointSlices, sliceNamed("hidden", `"service.kubernetes.io/headless": ""`))
			a.eventually(store, "a", "b")

			a.fault(`{action: Kubernetes, effect: {away: true}}`)
			a.mustBeAway()
			change(t, a.inner, "c")
			a.clear()
			a.eventually(store, "a", "b", "c")

			a.fault(`{action: Kubernetes/watch/endpointslices, times: 1, effect: {error: {status: 410}}}`)
			a.fault(`{id: away, action: Kubernetes, effect: {away: true}}`)
			change(t, a.inner, "d")
			if _, err := a.inner.remove(resourceNamed("discovery.k8s.io", "endpointslices"), "default", "a"); err != nil {
				t.Fatal(err)
			}
			a.clear("away")
			a.eventually(store, "b", "c", "d")
			if counts := a.requests.Counts(); !slices.ContainsFunc(counts, func(c reqlog.Count) bool {
				return c.Service == "kubernetes" && c.Node == "n1" && c.Action == "watch endpointslices"
			}) {
				t.Errorf("the request log has %v", counts)
			}
		})
	}
}

// change makes a slice behind the back of the network.
func change(t *testing.T, s *Server, name string) {
	t.Helper()
	s.store.put(resourceNamed("discovery.k8s.io", "endpointslices"), "default", name, map[string]any{"addressType": "IPv4"})
}

func (a *api) fault(rule string) {
	a.Helper()
	rules, err := fault.Parse([]byte(rule))
	if err == nil {
		_, err = a.faults.Add(rules...)
	}
	if err != nil {
		a.Fatal(err)
	}
}

func (a *api) clear(ids ...string) {
	a.Helper()
	if err := a.faults.Clear(ids...); err != nil {
		a.Fatal(err)
	}
}

// mustBeAway proves that the API is away.
func (a *api) mustBeAway() {
	a.Helper()
	resp, err := http.Get(a.url + "/readyz")
	if err == nil {
		resp.Body.Close()
		a.Fatalf("an API that is away answers %s", resp.Status)
	}
	if !errors.Is(err, io.EOF) {
		a.Logf("away: %v", err)
	}
}

func (a *api) reflect(streamed bool) cache.Store {
	a.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{Host: a.url})
	if err != nil {
		a.Fatal(err)
	}
	api := client.DiscoveryV1().EndpointSlices(metav1.NamespaceAll)
	choose := func(o *metav1.ListOptions) { o.LabelSelector = "!service.kubernetes.io/headless" }
	source := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			choose(&o)
			o.Limit = 1
			return api.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			if choose(&o); o.SendInitialEvents != nil && !streamed {
				return nil, errors.New("this one lists")
			}
			return api.Watch(ctx, o)
		},
	}
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	r := cache.NewReflectorWithOptions(source, &discovery.EndpointSlice{}, store, cache.ReflectorOptions{MinWatchTimeout: time.Minute})
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(a.Context())
	go func() { r.RunWithContext(ctx); close(done) }()
	a.Cleanup(func() { cancel(); <-done })
	return store
}

// eventually polls until the store has just these slices.
func (a *api) eventually(store cache.Store, want ...string) {
	a.Helper()
	var diff string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		got := map[string]bool{}
		for _, each := range store.List() {
			got[each.(*discovery.EndpointSlice).Name] = true
		}
		wanted := map[string]bool{}
		for _, name := range want {
			wanted[name] = true
		}
		if diff = cmp.Diff(wanted, got); diff == "" {
			return
		}
	}
	a.Fatalf("the reflector has (-want +got)\n%s", diff)
}
