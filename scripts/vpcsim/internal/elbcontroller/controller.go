package elbcontroller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elb"
)

// Place is what the simulator says of its nodes and subnets.
type Place interface {
	Status(context.Context) (control.Status, error)
}

// Controller watches an API and keeps the simulator's balancers.
type Controller struct {
	api        kubernetes.Interface
	place      Place
	simulator  Simulator
	reconciler *Reconciler
	addresses  bool // go into the status, in place of names
	log        *slog.Logger
	wake       chan struct{}
	told       map[string]string // what was said of an object last
}

// Settings of a controller.
type Settings struct {
	API       kubernetes.Interface
	Simulator Simulator
	Place     Place
	// Addresses go into the status of objects in place of a host name, which
	// nobody resolves.
	Addresses bool
	Log       *slog.Logger
}

// New returns a controller that does nothing until Run.
func New(s Settings) *Controller {
	return &Controller{api: s.API, place: s.Place, simulator: s.Simulator, reconciler: NewReconciler(s.Simulator), addresses: s.Addresses, log: s.Log,
		wake: make(chan struct{}, 1), told: map[string]string{}}
}

const (
	gather = 20 * time.Millisecond  // for changes that come together
	soon   = 100 * time.Millisecond // where a pod waits for the health of a target
	retry  = time.Second
	resync = 10 * time.Second
)

// Run works until ctx ends, and then returns nil.
func (c *Controller) Run(ctx context.Context) error {
	factory := informers.NewSharedInformerFactory(c.api, 0)
	services, slices := factory.Core().V1().Services(), factory.Discovery().V1().EndpointSlices()
	nodes, ingresses, pods := factory.Core().V1().Nodes(), factory.Networking().V1().Ingresses(), factory.Core().V1().Pods()
	for _, i := range []cache.SharedIndexInformer{services.Informer(), slices.Informer(), nodes.Informer(), ingresses.Informer(), pods.Informer()} {
		if _, err := i.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { c.stir() }, UpdateFunc: func(any, any) { c.stir() }, DeleteFunc: func(any) { c.stir() },
		}); err != nil {
			return fmt.Errorf("watching the API: %w", err)
		}
	}
	factory.Start(ctx.Done())
	defer factory.Shutdown()
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading the API: no %s came", kind)
		}
	}
	c.log.Info("load balancer controller started")
	for {
		read := func() (cluster elb.Cluster, err error) {
			if cluster.Services, err = services.Lister().List(labels.Everything()); err != nil {
				return cluster, err
			}
			if cluster.Slices, err = slices.Lister().List(labels.Everything()); err != nil {
				return cluster, err
			}
			if cluster.Nodes, err = nodes.Lister().List(labels.Everything()); err != nil {
				return cluster, err
			}
			if cluster.Pods, err = pods.Lister().List(labels.Everything()); err != nil {
				return cluster, err
			}
			cluster.Ingresses, err = ingresses.Lister().List(labels.Everything())
			return cluster, err
		}
		next := resync
		waiting, err := c.round(ctx, read)
		if waiting {
			next = soon
		}
		if err != nil && ctx.Err() == nil {
			c.log.Error("load balancers are not as they should be", "error", err)
			next = retry
		}
		if !c.wait(ctx, next) {
			return nil
		}
	}
}

// stir asks for a round.
func (c *Controller) stir() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// wait waits for something to do; false means that ctx ended.
func (c *Controller) wait(ctx context.Context, next time.Duration) bool {
	timer := time.NewTimer(next)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-c.wake:
		timer.Reset(gather)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
		}
	}
	return true
}

// round looks at everything once; waiting says that it is to look again soon.
func (c *Controller) round(ctx context.Context, read func() (elb.Cluster, error)) (waiting bool, err error) {
	cluster, err := read()
	if err != nil {
		return false, err
	}
	status, err := c.place.Status(ctx)
	if err != nil {
		return false, fmt.Errorf("reading the simulator's nodes: %w", err)
	}
	cluster.Instances, cluster.Subnets = map[string]string{}, map[string]string{}
	for _, n := range status.Nodes {
		cluster.Instances[n.InstanceID] = n.Name
	}
	for _, s := range status.Subnets {
		cluster.Subnets[s.ID] = s.Name
	}
	outcomes, err := c.reconciler.Step(ctx, cluster.Balancers())
	waiting, failed := c.open(ctx, cluster.Pods)
	return waiting, errors.Join(err, failed, c.tell(ctx, cluster, outcomes, status.Region))
}
