package elbcontroller

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestGates has a pod that is ready but for its gate: it becomes a target, and
// the gate follows the target's health.
func TestGates(t *testing.T) {
	w := newWorld(t, true)
	health := func(state string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.health = state
	}
	health("initial")
	const gate = "target-health.elbv2.k8s.aws/k8s-default-web"
	w.must(w.api.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:   corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: gate}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.7", Conditions: []corev1.PodCondition{{Type: corev1.ContainersReady, Status: corev1.ConditionTrue}}}}, metav1.CreateOptions{}))
	w.serve("web", map[string]string{"service.beta.kubernetes.io/aws-load-balancer-type": "nlb-ip"}, "10.0.0.7")
	slice, err := w.api.DiscoveryV1().EndpointSlices("default").Get(t.Context(), "web", metav1.GetOptions{})
	w.must(slice, err)
	slice.Endpoints[0].Conditions.Ready, slice.Endpoints[0].TargetRef = new(false), &corev1.ObjectReference{Kind: "Pod", Name: "web"}
	w.must(w.api.DiscoveryV1().EndpointSlices("default").Update(t.Context(), slice, metav1.UpdateOptions{}))
	condition := func() corev1.PodCondition {
		p, err := w.api.CoreV1().Pods("default").Get(t.Context(), "web", metav1.GetOptions{})
		w.must(p, err)
		for _, c := range p.Status.Conditions {
			if c.Type == gate {
				return c
			}
		}
		return corev1.PodCondition{}
	}
	for _, step := range []struct {
		health string
		want   corev1.ConditionStatus
	}{{"initial", corev1.ConditionFalse}, {"healthy", corev1.ConditionTrue}, {"unhealthy", corev1.ConditionFalse}} {
		health(step.health)
		w.eventually("a gate for a target that is "+step.health, func() bool { return condition().Status == step.want })
		if c := condition(); c.LastTransitionTime.IsZero() {
			t.Errorf("%s: %+v has no time", step.health, c)
		}
	}
}
