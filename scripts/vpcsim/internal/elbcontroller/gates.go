package elbcontroller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elb"
)

// open opens the readiness gates of pods that are healthy targets wherever they
// are targets, and closes those of others. waiting says that a gate is closed.
func (c *Controller) open(ctx context.Context, pods []*corev1.Pod) (waiting bool, err error) {
	gated := slices.DeleteFunc(slices.Clone(pods), func(p *corev1.Pod) bool {
		return len(elb.Gates(p)) == 0 || p.DeletionTimestamp != nil || p.Status.PodIP == ""
	})
	if len(gated) == 0 {
		return false, nil
	}
	all, err := c.simulator.TargetHealth(ctx, "")
	if err != nil {
		return false, fmt.Errorf("reading the health of targets: %w", err)
	}
	health := map[netip.Addr][]control.TargetHealth{}
	for _, t := range all {
		health[t.Target.Address] = append(health[t.Target.Address], t)
	}
	var failed []error
	for _, p := range gated {
		addr, err := netip.ParseAddr(p.Status.PodIP)
		if err != nil {
			failed = append(failed, fmt.Errorf("reading the address of pod %s/%s: %w", p.Namespace, p.Name, err))
			continue
		}
		condition := judge(health[addr])
		closed, err := c.gate(ctx, p, condition)
		waiting = waiting || closed || condition.Status != corev1.ConditionTrue
		failed = append(failed, err)
	}
	return waiting, errors.Join(failed...)
}

// judge is the condition of a pod that is these targets, without a type. Those
// that drain are of an earlier pod with its address.
func judge(targets []control.TargetHealth) corev1.PodCondition {
	targets = slices.DeleteFunc(targets, func(t control.TargetHealth) bool { return t.State == "draining" })
	if len(targets) == 0 {
		return corev1.PodCondition{Status: corev1.ConditionFalse, Reason: "TargetNotRegistered", Message: "the pod is no target of a load balancer"}
	}
	for _, t := range targets {
		if t.State != "healthy" {
			return corev1.PodCondition{Status: corev1.ConditionFalse, Reason: t.Reason, Message: fmt.Sprintf("target of load balancer %s is %s: %s", t.Balancer, t.State, t.Description)}
		}
	}
	return corev1.PodCondition{Status: corev1.ConditionTrue}
}

// gate sets the conditions of a pod. Where kubelet was faster, again says so.
func (c *Controller) gate(ctx context.Context, p *corev1.Pod, want corev1.PodCondition) (again bool, err error) {
	changed := p.DeepCopy()
	news := false
	for _, t := range elb.Gates(p) {
		want.Type = t
		i := slices.IndexFunc(changed.Status.Conditions, func(s corev1.PodCondition) bool { return s.Type == t })
		if i < 0 {
			changed.Status.Conditions = append(changed.Status.Conditions, corev1.PodCondition{})
			i = len(changed.Status.Conditions) - 1
		}
		have := &changed.Status.Conditions[i]
		if have.Status == want.Status && have.Reason == want.Reason && have.Message == want.Message {
			continue
		}
		want.LastTransitionTime = have.LastTransitionTime
		if have.Status != want.Status {
			want.LastTransitionTime = metav1.Now()
		}
		*have, news = want, true
	}
	if !news {
		return false, nil
	}
	_, err = c.api.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("writing the readiness gate of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return false, nil
}
