package kube

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/klog/v2"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
	"github.com/causeway-cni/causeway/proxy/service"
)

// absentPause is how long a resource that the API does not have is left alone.
const absentPause = time.Minute

// NodeSink is told of what the address pool plans by. It is called from any
// goroutine, and of what it was told before, too.
type NodeSink interface {
	// SetPod and DeletePod tell of the pods that are scheduled to this node.
	SetPod(demand.Pod)
	DeletePod(demand.Key)
	// SetENIConfig and DeleteENIConfig tell of all ENIConfigs of the cluster.
	SetENIConfig(demand.ENIConfig)
	DeleteENIConfig(name string)
	// SetNode tells of this node's Node; nil: it is gone.
	SetNode(*demand.Node)
	// Synced is called once: all that there is was told. ENIConfigs are none
	// if the settings do not ask for them or the cluster has no such resource.
	Synced()
}

// WatchNode tells the sink of this node's pods, its Node and the ENIConfigs,
// and of all that changes, until ctx ends, and then returns nil. With the API
// away nothing is told. It can run beside Watch, or alone.
func (c *Client) WatchNode(ctx context.Context, sink NodeSink) error {
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(quiet{c.settings.Log.Handler()}))
	pods := newStore(toPod, sink.SetPod, func(k service.Key) { sink.DeletePod(demand.Key(k)) })
	configs := newStore(toENIConfig, sink.SetENIConfig, func(k service.Key) { sink.DeleteENIConfig(k.Name) })
	node := newStore(toDemandNode, sink.SetNode, func(service.Key) { sink.SetNode(nil) })

	var tasks sync.WaitGroup
	tasks.Go(func() {
		c.reflect(ctx, watched{client: c.core, resource: "pods", kind: &corev1.Pod{}, choose: func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", c.settings.Node).String()
		}}, pods)
	})
	tasks.Go(func() { c.reflect(ctx, c.thisNode(), node) })
	tasks.Go(func() {
		if !c.settings.ENIConfigs {
			configs.settle()
			return
		}
		said := sync.OnceFunc(func() { c.settings.Log.Debug("the cluster has no ENIConfigs: no such resource") })
		c.reflect(ctx, watched{client: c.custom, resource: "eniconfigs", kind: &eniConfig{}, choose: func(*metav1.ListOptions) {},
			absent: func() { said(); configs.settle() }}, configs)
	})
	tasks.Go(func() {
		if arrived(ctx, pods.known) && arrived(ctx, node.known) && arrived(ctx, configs.known) {
			sink.Synced()
		}
	})
	tasks.Wait()
	return nil
}

// thisNode is the one Node that is ours.
func (c *Client) thisNode() watched {
	return watched{client: c.core, resource: "nodes", kind: &corev1.Node{}, choose: func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("metadata.name", c.settings.Node).String()
	}}
}
