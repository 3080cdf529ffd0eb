package elbcontroller

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/elb"
)

// tell writes into the objects what became of them: the status, and an event
// when there is news.
func (c *Controller) tell(ctx context.Context, cluster elb.Cluster, outcomes []Outcome, region string) error {
	var failed []error
	told := map[string]string{}
	for _, o := range outcomes {
		key := strings.Join([]string{o.Kind, o.Namespace, o.Name}, "/")
		var object runtime.Object
		var meta metav1.ObjectMeta
		switch o.Kind {
		case "Service":
			for _, s := range cluster.Services {
				if s.Namespace == o.Namespace && s.Name == o.Name {
					object, meta = s, s.ObjectMeta
					failed = append(failed, c.serviceStatus(ctx, s, o, region))
				}
			}
		case "Ingress":
			for _, i := range cluster.Ingresses {
				if i.Namespace == o.Namespace && i.Name == o.Name {
					object, meta = i, i.ObjectMeta
					failed = append(failed, c.ingressStatus(ctx, i, o, region))
				}
			}
		}
		text := o.text()
		told[key] = text
		if object == nil || c.told[key] == text {
			continue
		}
		c.log.Info("load balancer of "+key, "name", o.Balancer.Name, "outcome", text)
		if err := c.event(ctx, o, meta, text); err != nil {
			failed = append(failed, err)
			delete(told, key)
		}
	}
	c.told = told
	return errors.Join(failed...)
}

// text is the outcome in words, for the event.
func (o Outcome) text() string {
	var out strings.Builder
	if o.Failed != nil {
		out.WriteString(o.Failed.Error())
	} else {
		fmt.Fprintf(&out, "load balancer %s at %s", o.Balancer.Name, strings.Join(addresses(o.Status), ", "))
	}
	for _, w := range o.Warnings {
		fmt.Fprintf(&out, "; %s", w)
	}
	return out.String()
}

// event says it where kubectl describe shows it, in the controller's words.
func (c *Controller) event(ctx context.Context, o Outcome, about metav1.ObjectMeta, text string) error {
	kind, reason := corev1.EventTypeNormal, "SuccessfullyReconciled"
	switch {
	case o.Err != nil:
		kind, reason = corev1.EventTypeWarning, "FailedBuildModel"
	case o.Failed != nil:
		kind, reason = corev1.EventTypeWarning, "FailedDeployModel"
	}
	version := map[string]string{"Service": "v1", "Ingress": "networking.k8s.io/v1"}[o.Kind]
	now := metav1.Now()
	_, err := c.api.CoreV1().Events(o.Namespace).Create(ctx, &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{GenerateName: o.Name + "-", Namespace: o.Namespace},
		InvolvedObject: corev1.ObjectReference{APIVersion: version, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name, UID: types.UID(about.UID), ResourceVersion: about.ResourceVersion},
		Type:           kind, Reason: reason, Message: text[:min(1024, len(text))], Count: 1, FirstTimestamp: now, LastTimestamp: now,
		Source: corev1.EventSource{Component: "vpcsim-controller"},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("writing an event of %s %s/%s: %w", o.Kind, o.Namespace, o.Name, err)
	}
	return nil
}

func (c *Controller) serviceStatus(ctx context.Context, s *corev1.Service, o Outcome, region string) error {
	if o.Failed != nil {
		return nil
	}
	var want []corev1.LoadBalancerIngress
	if c.addresses {
		for _, a := range addresses(o.Status) {
			want = append(want, corev1.LoadBalancerIngress{IP: a, IPMode: new(corev1.LoadBalancerIPModeProxy)})
		}
	} else {
		want = []corev1.LoadBalancerIngress{{Hostname: hostname(o.Balancer, region)}}
	}
	if reflect.DeepEqual(s.Status.LoadBalancer.Ingress, want) {
		return nil
	}
	s = s.DeepCopy()
	s.Status.LoadBalancer.Ingress = want
	if _, err := c.api.CoreV1().Services(s.Namespace).UpdateStatus(ctx, s, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("writing the status of service %s/%s: %w", s.Namespace, s.Name, err)
	}
	return nil
}

func (c *Controller) ingressStatus(ctx context.Context, i *networkingv1.Ingress, o Outcome, region string) error {
	if o.Failed != nil {
		return nil
	}
	var want []networkingv1.IngressLoadBalancerIngress
	if c.addresses {
		for _, a := range addresses(o.Status) {
			want = append(want, networkingv1.IngressLoadBalancerIngress{IP: a})
		}
	} else {
		want = []networkingv1.IngressLoadBalancerIngress{{Hostname: hostname(o.Balancer, region)}}
	}
	if reflect.DeepEqual(i.Status.LoadBalancer.Ingress, want) {
		return nil
	}
	i = i.DeepCopy()
	i.Status.LoadBalancer.Ingress = want
	if _, err := c.api.NetworkingV1().Ingresses(i.Namespace).UpdateStatus(ctx, i, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("writing the status of ingress %s/%s: %w", i.Namespace, i.Name, err)
	}
	return nil
}

// addresses are where clients reach the balancer: the public ones, if it has
// such.
func addresses(b control.BalancerStatus) (out []string) {
	for _, z := range b.Zones {
		a := z.Public
		if !a.IsValid() {
			a = z.Address
		}
		out = append(out, a.String())
	}
	return out
}

// hostname is the balancer's as AWS would name it.
func hostname(b control.LoadBalancer, region string) string {
	sum := sha256.Sum256([]byte(b.Name + b.Scheme))
	id := hex.EncodeToString(sum[:])[:16]
	if b.Type == "nlb" {
		return fmt.Sprintf("%s-%s.elb.%s.amazonaws.com", b.Name, id, region)
	}
	name := b.Name
	if b.Scheme == "internal" {
		name = "internal-" + name
	}
	return fmt.Sprintf("%s-%s.%s.elb.amazonaws.com", name, id, region)
}
