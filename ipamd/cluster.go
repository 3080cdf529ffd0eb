package main

import (
	"context"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/demand"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
)

// cluster is what Kubernetes says that the pool plans by. Its methods may be
// called from any goroutine.
type cluster struct {
	mu    sync.Mutex
	known demand.Cluster
	wake  func() // after a change; it must not block
}

func (c *cluster) note(change func(*demand.Cluster) bool) {
	c.mu.Lock()
	changed := change(&c.known)
	c.mu.Unlock()
	if changed {
		c.wake()
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

// followPods tells the book how many pods to expect, as the cluster changes.
func (r *rounds) followPods(c *cluster, book *allocator.Allocator) {
	told := 0
	r.pods.Store(r.add(loop.Settings{Name: "scheduled pods", Coalesce: 20 * time.Millisecond, Resync: 10 * time.Second,
		Pause: time.Second, LongestPause: time.Minute},
		func(context.Context) (time.Duration, error) {
			if n := c.unwired(book); n != told || n > 0 {
				book.Expect(n)
				told = n
			}
			return 0, nil
		}))
}
