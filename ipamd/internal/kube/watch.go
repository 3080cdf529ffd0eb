package kube

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
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
		c.reflect(ctx, c.core, "services", &corev1.Service{}, services, func(o *metav1.ListOptions) {
			o.LabelSelector = "!" + otherProxyLabel
		})
	})
	tasks.Go(func() {
		c.reflect(ctx, c.discovery, "endpointslices", &discoveryv1.EndpointSlice{}, slices, func(o *metav1.ListOptions) {
			o.LabelSelector = "!" + corev1.IsHeadlessService
		})
	})
	tasks.Go(func() {
		c.reflect(ctx, c.core, "nodes", &corev1.Node{}, node, func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("metadata.name", c.settings.Node).String()
		})
	})
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

// reflect keeps the store what the API has of a resource, until ctx ends.
func (c *Client) reflect(ctx context.Context, client rest.Interface, resource string, kind runtime.Object, to cache.ReflectorStore, choose func(*metav1.ListOptions)) {
	pauses := wait.Backoff{Duration: firstPause, Factor: 2, Jitter: 0.5, Steps: 10, Cap: longestPause}
	r := cache.NewReflectorWithOptions(c.requests(client, resource, choose), kind, to, cache.ReflectorOptions{
		Name: resource, Clock: endingClock{done: ctx.Done()}, Backoff: &pauses,
	})
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		if err := r.ListAndWatchWithContext(ctx); err != nil {
			c.outage.report(resource, err)
		}
		if time.Since(began) > 2*longestPause {
			pause = firstPause // it went well for a while
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause + rand.N(pause/2)):
		}
		pause = min(2*pause, longestPause)
	}
}

// requests lists and watches a resource, and reports how that went: the
// reflector itself retries much in silence.
func (c *Client) requests(client rest.Interface, resource string, choose func(*metav1.ListOptions)) *cache.ListWatch {
	lw := cache.NewFilteredListWatchFromClient(client, resource, metav1.NamespaceAll, choose)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, listTimeout)
			defer cancel()
			list, err := lw.ListWithContext(ctx, o)
			c.outage.report(resource, err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			w, err := lw.WatchWithContext(ctx, o)
			c.outage.report(resource, err)
			return w, err
		},
	}
}
