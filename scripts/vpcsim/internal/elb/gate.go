package elb

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// gate begins the readiness gates that are ours. What follows is the name of a
// target group binding, which the controller's webhook writes; the simulator has
// no such objects, and takes any name.
const gate = "target-health.elbv2.k8s.aws/"

// Gates are the conditions of a pod that tell whether balancers send to it.
func Gates(p *corev1.Pod) (types []corev1.PodConditionType) {
	for _, g := range p.Spec.ReadinessGates {
		if strings.HasPrefix(string(g.ConditionType), gate) {
			types = append(types, g.ConditionType)
		}
	}
	return types
}

// target says whether an endpoint is one: it is ready, or its pod would be but
// for a gate of ours, which opens only for targets.
func (c Cluster) target(namespace string, e discoveryv1.Endpoint) bool {
	if e.Conditions.Ready == nil || *e.Conditions.Ready {
		return true
	}
	if e.TargetRef == nil || e.Conditions.Terminating != nil && *e.Conditions.Terminating {
		return false
	}
	i := slices.IndexFunc(c.Pods, func(p *corev1.Pod) bool { return p.Namespace == namespace && p.Name == e.TargetRef.Name })
	return i >= 0 && len(Gates(c.Pods[i])) > 0 && slices.ContainsFunc(c.Pods[i].Status.Conditions, func(s corev1.PodCondition) bool {
		return s.Type == corev1.ContainersReady && s.Status == corev1.ConditionTrue
	})
}
