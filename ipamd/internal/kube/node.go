package kube

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/causeway-cni/causeway/proxy/service"
)

// toNode reads the Node. What of its addresses and blocks cannot be read is
// left out.
func toNode(o *corev1.Node) service.Node {
	n := service.Node{
		Name:     o.Name,
		Zone:     o.Labels[corev1.LabelTopologyZone],
		Addrs:    slices.Concat(nodeAddrs(o, corev1.NodeInternalIP), nodeAddrs(o, corev1.NodeExternalIP)),
		Deleting: o.DeletionTimestamp != nil,
	}
	blocks := o.Spec.PodCIDRs
	if len(blocks) == 0 && o.Spec.PodCIDR != "" {
		blocks = []string{o.Spec.PodCIDR}
	}
	for _, b := range blocks {
		if prefix, err := service.ParsePrefix(b); err == nil {
			n.PodCIDRs = append(n.PodCIDRs, prefix)
		}
	}
	for _, t := range o.Spec.Taints {
		n.Taints = append(n.Taints, t.Key)
	}
	return n
}

func nodeAddrs(o *corev1.Node, kind corev1.NodeAddressType) []netip.Addr {
	var addrs []netip.Addr
	for _, a := range o.Status.Addresses {
		if addr, err := service.ParseAddr(a.Address); err == nil && a.Type == kind {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
