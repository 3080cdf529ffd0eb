package kube

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
)

func toPod(o *corev1.Pod) demand.Pod {
	return demand.Pod{
		Key:         demand.Key{Namespace: intern(o.Namespace), Name: o.Name},
		UID:         string(o.UID),
		HostNetwork: o.Spec.HostNetwork,
		Ended:       o.Status.Phase == corev1.PodSucceeded || o.Status.Phase == corev1.PodFailed,
		Deleting:    o.DeletionTimestamp != nil,
		HasAddress:  o.Status.PodIP != "" || len(o.Status.PodIPs) > 0,
	}
}

// toDemandNode reads of the Node what addresses of pods depend on.
func toDemandNode(o *corev1.Node) *demand.Node {
	n := &demand.Node{
		Name: o.Name, Zone: o.Labels[corev1.LabelTopologyZone], Labels: o.Labels, Annotations: o.Annotations,
		Unschedulable: o.Spec.Unschedulable,
		MaxPods:       int(o.Status.Capacity.Pods().Value()),
	}
	for _, t := range o.Spec.Taints {
		n.Unschedulable = n.Unschedulable || t.Key == corev1.TaintNodeUnschedulable
	}
	return n
}
