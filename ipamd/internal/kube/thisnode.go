package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/causeway-cni/causeway/proxy/service"
)

// nodeGrace is how long the services wait for the Node, and searchTimeout for
// the search of what its name might be.
const nodeGrace, searchTimeout = 5 * time.Second, 3 * time.Second

// thisNode is the store of the one Node that is watched.
type thisNode struct {
	*store[*corev1.Node, service.Node]
	there chan struct{} // closed once the Node was there
	sink  Sink
}

// newThisNode tells the sink of changes that count alone: a kubelet writes its
// Node every few minutes.
func newThisNode(sink Sink, log *slog.Logger) thisNode {
	n := thisNode{there: make(chan struct{}), sink: sink}
	var told *service.Node
	var seen bool
	set := func(now service.Node) {
		if told == nil || !reflect.DeepEqual(*told, now) {
			told = &now
			sink.SetNode(&now)
		}
		if !seen {
			seen = true
			close(n.there)
		}
	}
	n.store = newStore(toNode, set, func(k service.Key) {
		told = nil
		log.Warn("the Node is gone", "node", k.Name)
		sink.SetNode(nil)
	})
	return n
}

// Replace tells of a Node that is missing from the first list, too.
func (n thisNode) Replace(list []any, version string) error {
	select {
	case <-n.known:
	default:
		if len(list) == 0 {
			n.sink.SetNode(nil)
		}
	}
	return n.store.Replace(list, version)
}

// await waits for the Node, but not for ever: a wrong name must not leave the
// node without services.
func (c *Client) await(ctx context.Context, node thisNode) {
	select {
	case <-node.there:
		return
	case <-ctx.Done():
		return
	case <-time.After(c.grace):
	}
	select {
	case <-node.known:
		c.sayNoNode(ctx)
	default:
		c.settings.Log.Error("the Node could not be read: until it is, every endpoint counts as another node's", "node", c.settings.Node)
	}
}

// nodePage is how many Nodes are read at a time when ours is looked for: they
// are the largest objects of many clusters.
const nodePage = 100

// sayNoNode says that the Node is not there, and what its name should be, as
// far as our addresses tell.
func (c *Client) sayNoNode(ctx context.Context) {
	s := c.settings
	want := "the name of this node's Node, in small letters, as kubectl get nodes has it"
	search, cancel := context.WithTimeout(ctx, searchTimeout)
	defer cancel()
	name, err := c.nodeByAddr(search)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		c.settings.Log.Debug("looking for this node's Node by its addresses", "error", err)
	case name != "":
		want = name
	}
	s.Log.Error(fmt.Sprintf("there is no Node %q: until there is, every endpoint counts as another node's", s.Node),
		"setting", s.NodeSetting, "value", s.Node, "want", want)
}

// nodeByAddr is the name of the Node that has one of our addresses; empty if
// none has.
func (c *Client) nodeByAddr(ctx context.Context) (string, error) {
	if len(c.settings.Addrs) == 0 {
		return "", nil
	}
	options := metav1.ListOptions{Limit: nodePage}
	for {
		var page corev1.NodeList
		if err := c.core.Get().Resource("nodes").VersionedParams(&options, metav1.ParameterCodec).Do(ctx).Into(&page); err != nil {
			return "", fmt.Errorf("listing Nodes: %w", err)
		}
		for i := range page.Items {
			if c.isOurs(&page.Items[i]) {
				return page.Items[i].Name, nil
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			return "", nil
		}
	}
}

func (c *Client) isOurs(o *corev1.Node) bool {
	return strings.EqualFold(o.Name, c.settings.Node) ||
		slices.ContainsFunc(nodeAddrs(o, corev1.NodeInternalIP), func(a netip.Addr) bool {
			return slices.Contains(c.settings.Addrs, a)
		})
}
