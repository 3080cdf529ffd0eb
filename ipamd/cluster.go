package main

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/demand"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/rpc"
)

// cluster is what Kubernetes says that the pool plans by. Its methods may be
// called from any goroutine.
type cluster struct {
	mu    sync.Mutex
	known demand.Cluster
	wake  func() // after a change, if set; it must not block
}

func (c *cluster) note(change func(*demand.Cluster) bool) {
	c.mu.Lock()
	changed, wake := change(&c.known), c.wake
	c.mu.Unlock()
	if changed && wake != nil {
		wake()
	}
}

// SetPod implements kube.NodeSink, as do the methods below.
func (c *cluster) SetPod(p demand.Pod) {
	c.note(func(k *demand.Cluster) bool { return k.SetPod(p) })
}

func (c *cluster) DeletePod(key demand.Key) {
	c.note(func(k *demand.Cluster) bool { return k.DeletePod(key) })
}

func (c *cluster) SetENIConfig(e demand.ENIConfig) {
	c.note(func(k *demand.Cluster) bool { return k.SetENIConfig(e) })
}

func (c *cluster) DeleteENIConfig(name string) {
	c.note(func(k *demand.Cluster) bool { return k.DeleteENIConfig(name) })
}

func (c *cluster) SetNode(n *demand.Node) {
	c.note(func(k *demand.Cluster) bool { return k.SetNode(n) })
}

func (c *cluster) Synced() { c.note((*demand.Cluster).Synced) }

// unwired counts the pods that are scheduled here and hold no address.
func (c *cluster) unwired(book *allocator.Allocator) int {
	held := map[demand.Key]bool{}
	for _, a := range book.Assignments() {
		held[demand.Key{Namespace: a.Pod.Namespace, Name: a.Pod.Name}] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known.Waiting(func(p demand.Pod) bool { return held[p.Key] }))
}

// place is where the node's ENIConfig says that ENIs are made.
func (c *cluster) place(settings config.Pool) *pool.Place {
	c.mu.Lock()
	defer c.mu.Unlock()
	choice := c.known.Choose(settings.ENIConfigAnnotation, settings.ENIConfigLabel)
	switch {
	case !c.known.Known():
		return &pool.Place{Missing: "custom networking is on, and the Kubernetes API has not said yet which ENIConfig applies to this node"}
	case !choice.Found:
		return &pool.Place{Missing: fmt.Sprintf("custom networking is on, and there is no ENIConfig %q (named by %s): create it, or name another one", choice.Name, choice.By)}
	}
	return &pool.Place{Subnet: pool.SubnetID(choice.Config.Subnet), SecurityGroups: choice.Config.SecurityGroups}
}

// uid is that of a pod; "" if it is not known.
func (c *cluster) uid(key demand.Key) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, _ := c.known.Pod(key)
	return p.UID
}

func (c *cluster) node() *demand.Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.Node()
}

// followPods tells the book how many pods to expect and where ENIs are made, as
// the cluster changes.
func (r *rounds) followPods(c *cluster, book *allocator.Allocator) {
	c.mu.Lock()
	c.wake = r.wakePods
	c.mu.Unlock()
	told, cordoned := 0, false
	var place *pool.Place
	r.pods.Store(r.add(loop.Settings{Name: "cluster", Coalesce: 20 * time.Millisecond, Resync: 10 * time.Second,
		Pause: time.Second, LongestPause: time.Minute},
		func(context.Context) (time.Duration, error) {
			if now := r.daemon.place(); !reflect.DeepEqual(now, place) {
				book.SetPlace(now)
				place = now
			}
			if now := r.daemon.cordoned(); now != cordoned {
				r.daemon.log.Info("the node is cordoned, or is so no longer", "cordoned", now)
				book.SetCordoned(now)
				cordoned = now
			}
			if n := c.unwired(book); n != told || n > 0 {
				book.Expect(n)
				told = n
			}
			if why, much := tooManyPods(c.node(), book.Snapshot().Count.MaxAddresses); much && book.Ready() == nil {
				r.daemon.causes.node(rpc.Reason_REASON_TOO_MANY_PODS, why, time.Now())
			}
			if why := book.SubnetsUnknown(); why != nil && why.Class == pool.Unauthorized {
				r.daemon.causes.node(rpc.Reason_REASON_UNAUTHORIZED, "subnets for pods are not discovered, so that ENIs are made in the primary one's subnet: "+why.Error(), time.Now())
			}
			for _, subnet := range book.Fragmented() {
				r.daemon.causes.node(rpc.Reason_REASON_NO_PREFIX,
					fmt.Sprintf("subnet %s has no free /28 for this node: it gets single addresses until it has; a subnet CIDR reservation of type prefix keeps some free", subnet), time.Now())
			}
			return 0, nil
		}))
}
