package main

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
	"github.com/causeway-cni/causeway/ipamd/internal/kube"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/telemetry"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/reason"
)

// causes tells why a pod has no address, or the node not what it should have:
// in the log, in a metric and in an event, under the code that the CNI error
// has. Its methods may be called from any goroutine.
type causes struct {
	log     *slog.Logger
	metrics *telemetry.Metrics
	api     atomic.Pointer[kube.Client] // nil: no events

	mu      sync.Mutex
	ofNode  map[rpc.Reason]time.Time // when it was told last
	cluster *cluster                 // nil without an API
}

// repeatAfter is how often a cause that lasts is told of the node.
const repeatAfter = 10 * time.Minute

func newCauses(log *slog.Logger, metrics *telemetry.Metrics) *causes {
	return &causes{log: log, metrics: metrics, ofNode: map[rpc.Reason]time.Time{}}
}

// events makes causes known to the API from now on.
func (c *causes) events(api *kube.Client, known *cluster) {
	c.mu.Lock()
	c.cluster = known
	c.mu.Unlock()
	c.api.Store(api)
}

// pod tells why a pod got no address.
func (c *causes) pod(p pool.Pod, why rpc.Reason, message string) {
	c.metrics.Cause(reason.Code(why))
	c.log.Warn("a pod got no address", "pod", p.Namespace+"/"+p.Name, "code", reason.Code(why), "why", message)
	api := c.api.Load()
	if api == nil || p.Name == "" {
		return
	}
	key, uid := demand.Key{Namespace: p.Namespace, Name: p.Name}, p.UID
	c.mu.Lock()
	if uid == "" && c.cluster != nil { // people find a pod's events by its UID
		uid = c.cluster.uid(key)
	}
	c.mu.Unlock()
	api.Report(kube.Event{About: kube.Object{Pod: key, UID: uid}, Reason: reason.Code(why), Message: message})
}

// node tells what the node lacks, now and then while that lasts.
func (c *causes) node(why rpc.Reason, message string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, told := c.ofNode[why]; told && now.Sub(last) < repeatAfter {
		return
	}
	c.ofNode[why] = now
	c.metrics.Cause(reason.Code(why))
	c.log.Warn("the node has not all that it should", "code", reason.Code(why), "why", message)
	if api := c.api.Load(); api != nil {
		api.Report(kube.Event{Reason: reason.Code(why), Message: message})
	}
}

// dropped is how many events were never written.
func (c *causes) dropped() uint64 {
	if api := c.api.Load(); api != nil {
		return api.DroppedEvents()
	}
	return 0
}

// tooManyPods compares what kubelet takes with what the instance type can hold.
// Pods of the node's own network need no address: so many are passed over.
func tooManyPods(node *demand.Node, most int) (string, bool) {
	const ownNetwork = 2 // as EKS counts them: kube-proxy and aws-node, or what stands in for them
	if node == nil || node.MaxPods <= most+ownNetwork {
		return "", false
	}
	return fmt.Sprintf("kubelet takes %d pods (max-pods), but this node can hold %d addresses: want max-pods of at most %d", node.MaxPods, most, most+ownNetwork), true
}
