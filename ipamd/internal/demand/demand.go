// Package demand is what Kubernetes says of this node that the address pool
// plans by: the pods that are scheduled here, the Node, and the ENIConfigs of
// which one may apply to it.
//
// It only keeps and compares: it knows no API, lock or clock, and of pods
// nothing that addresses do not depend on.
//
// Invariants: what was told stays until something else is told, so that an API
// that is away changes nothing; every answer is the same for the same state,
// whatever the order in which it came.
package demand

import (
	"cmp"
	"maps"
	"reflect"
	"slices"
)

// Key names a pod.
type Key struct{ Namespace, Name string }

// String is the key as in "default/web-0".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Pod is a pod that is scheduled to this node.
type Pod struct {
	Key
	UID         string
	HostNetwork bool // it has the node's addresses
	Ended       bool // its phase is Succeeded or Failed: it never runs again
	Deleting    bool // it is to be deleted: if it has no sandbox, it gets none
	HasAddress  bool // its status names an address
}

// Waits says whether the pod is to get an address and its status has none. The
// status comes from kubelet some seconds after the address does.
func (p Pod) Waits() bool {
	return !p.HostNetwork && !p.Ended && !p.Deleting && !p.HasAddress
}

// Node is this node's Node.
type Node struct {
	Name                string
	Zone                string // label topology.kubernetes.io/zone, as in us-east-1a
	Labels, Annotations map[string]string
	// Unschedulable: cordoned, by the field or by the taint
	// node.kubernetes.io/unschedulable.
	Unschedulable bool
	// MaxPods is how many pods kubelet takes, those with the node's addresses
	// included (status.capacity.pods); 0 if it does not say.
	MaxPods int
}

// ENIConfig is where the ENIs of pods are made, apart from the node's subnet
// (crd.k8s.amazonaws.com/v1alpha1).
type ENIConfig struct {
	Name           string
	Subnet         string   // subnet id
	SecurityGroups []string // ids; none for those of the primary ENI
}

// Cluster is what was told of the cluster; its zero value is one of which
// nothing is known. It is not safe for concurrent use.
type Cluster struct {
	pods    map[Key]Pod
	configs map[string]ENIConfig
	node    *Node
	synced  bool
}

// SetPod notes a pod that is new or has changed, and reports whether that
// makes a difference.
func (c *Cluster) SetPod(p Pod) bool {
	if old, ok := c.pods[p.Key]; ok && old == p {
		return false
	}
	if c.pods == nil {
		c.pods = map[Key]Pod{}
	}
	c.pods[p.Key] = p
	return true
}

// DeletePod notes that a pod is gone, and reports whether it was there.
func (c *Cluster) DeletePod(k Key) bool {
	_, ok := c.pods[k]
	delete(c.pods, k)
	return ok
}

// SetENIConfig notes an ENIConfig that is new or has changed, and reports
// whether that makes a difference.
func (c *Cluster) SetENIConfig(e ENIConfig) bool {
	if old, ok := c.configs[e.Name]; ok && reflect.DeepEqual(old, e) {
		return false
	}
	if c.configs == nil {
		c.configs = map[string]ENIConfig{}
	}
	c.configs[e.Name] = e
	return true
}

// DeleteENIConfig notes that an ENIConfig is gone, and reports whether it was
// there.
func (c *Cluster) DeleteENIConfig(name string) bool {
	_, ok := c.configs[name]
	delete(c.configs, name)
	return ok
}

// SetNode notes what the Node is, nil if it is gone, and reports whether that
// makes a difference.
func (c *Cluster) SetNode(n *Node) bool {
	if reflect.DeepEqual(c.node, n) {
		return false
	}
	c.node = n
	return true
}

// Node is the Node as it was told; nil if it is not known.
func (c *Cluster) Node() *Node { return c.node }

// Synced notes that all was told at least once, and reports whether that is
// new.
func (c *Cluster) Synced() bool {
	before := c.synced
	c.synced = true
	return !before
}

// Known says whether all was told at least once: until then, what is missing
// may exist.
func (c *Cluster) Known() bool { return c.synced }

// Pod finds a pod.
func (c *Cluster) Pod(k Key) (Pod, bool) {
	p, ok := c.pods[k]
	return p, ok
}

// Waiting are the pods that are to get an address and hold none, by name. The
// book knows of addresses before Kubernetes does, so holds says which pods
// have one there.
func (c *Cluster) Waiting(holds func(Pod) bool) []Pod {
	var out []Pod
	for _, p := range c.pods {
		if p.Waits() && !holds(p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// ENIConfigs are all that are known, by name.
func (c *Cluster) ENIConfigs() []ENIConfig {
	var out []ENIConfig
	for _, name := range slices.Sorted(maps.Keys(c.configs)) {
		out = append(out, c.configs[name])
	}
	return out
}
