package kube

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"github.com/causeway-cni/causeway/proxy/service"
)

// otherProxyLabel marks Services that another proxy serves (KEP-2447).
const otherProxyLabel = "service.kubernetes.io/service-proxy-name"

const (
	// listTimeout bounds a list; a watch has no bound.
	listTimeout = 60 * time.Second
	// firstPause and longestPause bound the pause after a failed request; up
	// to half as much again comes by chance, so that nodes do not ask together.
	firstPause, longestPause = 100 * time.Millisecond, 3 * time.Second
)

// Sink is told of what is there. It is called from any goroutine.
type Sink interface {
	// SetService and SetSlice tell of an object that is new or has changed.
	SetService(service.Service)
	SetSlice(service.EndpointSlice)
	// DeleteService and DeleteSlice tell that an object is gone, or none of
	// ours any more.
	DeleteService(service.Key)
	DeleteSlice(service.Key)
	// SetNode tells of this node's Node; nil: it is gone, or was never there.
	SetNode(*service.Node)
	// Synced is called once: services, slices and the Node are all known, or
	// the Node has not come within 5 s.
	Synced()
}

// Watch tells the sink of all that is there and of all that changes, until ctx
// ends, and then returns nil. An API that is away is asked again and again.
func (c *Client) Watch(ctx context.Context, sink Sink) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(quiet{c.settings.Log.Handler()}))
	services := newStore(toService, sink.SetService, sink.DeleteService)
	slices := newStore(toSlice, sink.SetSlice, sink.DeleteSlice)
	node := newThisNode(sink, c.settings.Log)

	var tasks sync.WaitGroup
	tasks.Go(func() {
		c.reflect(ctx, watched{client: c.core, resource: "services", kind: &corev1.Service{}, choose: func(o *metav1.ListOptions) {
			o.LabelSelector = "!" + otherProxyLabel
		}}, services)
	})
	tasks.Go(func() {
		c.reflect(ctx, watched{client: c.discovery, resource: "endpointslices", kind: &discoveryv1.EndpointSlice{}, choose: func(o *metav1.ListOptions) {
			o.LabelSelector = "!" + corev1.IsHeadlessService
		}}, slices)
	})
	tasks.Go(func() { c.reflect(ctx, c.thisNode(), node) })
	tasks.Go(func() {
		if arrived(ctx, services.known) && arrived(ctx, slices.known) {
			c.await(ctx, node)
			if ctx.Err() == nil {
				sink.Synced()
			}
		}
	})
	tasks.Wait()
	return nil
}

func arrived(ctx context.Context, known <-chan struct{}) bool {
	select {
	case <-known:
		return true
	case <-ctx.Done():
		return false
	}
}

// watched is a resource, and what of it is watched.
type watched struct {
	client   rest.Interface
	resource string
	kind     runtime.Object
	choose   func(*metav1.ListOptions)
	// absent is called when the API does not have the resource; nil if each
	// API has it.
	absent func()
}

// isAbsent says whether a request failed because there is no such resource.
func (w watched) isAbsent(err error) bool { return w.absent != nil && apierrors.IsNotFound(err) }

// reflect keeps the store what the API has of a resource, until ctx ends.
func (c *Client) reflect(ctx context.Context, w watched, to cache.ReflectorStore) {
	pauses := wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.5, Steps: 10, Cap: longestPause}
	r := cache.NewReflectorWithOptions(c.requests(w), w.kind, to, cache.ReflectorOptions{
		Name: w.resource, Clock: endingClock{done: ctx.Done()}, Backoff: &pauses,
	})
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := r.ListAndWatchWithContext(ctx)
		if time.Since(began) > 2*longestPause {
			pause = firstPause // it went well for a while
		}
		now := pause
		switch {
		case w.isAbsent(err):
			w.absent()
			now = c.absence
		case err != nil:
			c.outage.report(w.resource, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(now + rand.N(now/2)):
		}
		pause = min(2*pause, longestPause)
	}
}

// requests lists and watches a resource, and reports how that went: the
// reflector itself retries much in silence.
func (c *Client) requests(w watched) *cache.ListWatch {
	lw := cache.NewFilteredListWatchFromClient(w.client, w.resource, metav1.NamespaceAll, w.choose)
	report := func(err error) {
		if w.isAbsent(err) {
			err = nil // an API that says so is there
		}
		c.outage.report(w.resource, err)
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			list, err := lw.ListWithContext(ctx, o)
			report(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			watching, err := lw.WatchWithContext(ctx, o)
			report(err)
			return watching, err
		},
	}
}
