package elb

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// Cluster is what the API has, and what the simulator calls its nodes.
type Cluster struct {
	Services  []*corev1.Service
	Slices    []*discoveryv1.EndpointSlice
	Ingresses []*networkingv1.Ingress
	Nodes     []*corev1.Node
	Pods      []*corev1.Pod
	// Instances and Subnets are the names that the simulator has, by ID.
	Instances, Subnets map[string]string
}

// Wanted is the load balancer of one object.
type Wanted struct {
	Kind, Namespace, Name string // of the object
	// Balancer has its name also where Err says why there is no more of it.
	Balancer control.LoadBalancer
	Warnings []string
	Err      error
}

// Balancers are all that the cluster is to have, in the order of its objects.
func (c Cluster) Balancers() []Wanted {
	var out []Wanted
	for _, s := range c.Services {
		if Ours(s) {
			w := Wanted{Kind: "Service", Namespace: s.Namespace, Name: s.Name}
			w.Balancer, w.Warnings, w.Err = c.network(s)
			out = append(out, w)
		}
	}
	for _, i := range c.Ingresses {
		if OursToo(i) {
			w := Wanted{Kind: "Ingress", Namespace: i.Namespace, Name: i.Name}
			w.Balancer, w.Warnings, w.Err = c.application(i)
			out = append(out, w)
		}
	}
	return out
}

// subnets are names in the simulator, of IDs or names.
func (c Cluster) subnets(given []string) (names []string) {
	for _, s := range given {
		names = append(names, cmp.Or(c.Subnets[s], s))
	}
	return names
}

// balancerName is the controller's: the beginnings of namespace and name, and a
// hash that is the object's own.
func balancerName(namespace, name, uid string) string {
	sum := sha256.Sum256([]byte(namespace + "/" + name + "/" + uid))
	return fmt.Sprintf("k8s-%s-%s-%s", begin(namespace), begin(name), hex.EncodeToString(sum[:])[:10])
}

// groupName tells groups apart by what is for life of them.
func groupName(begins string, identity ...any) string {
	sum := sha256.Sum256([]byte(fmt.Sprint(identity...)))
	return begins + "-" + hex.EncodeToString(sum[:])[:8]
}

// begin is the first eight letters and digits of a name.
func begin(name string) string {
	kept := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	return kept[:min(8, len(kept))]
}

// excluded is the label of nodes that are no targets.
const excluded = "node.kubernetes.io/exclude-from-external-load-balancers"

// nodes are targets of kind instance: nodes that are ready and match.
func (c Cluster) nodes(selector labels.Selector, port uint16) (out []control.Target) {
	for _, n := range c.Nodes {
		_, left := n.Labels[excluded]
		id := n.Spec.ProviderID[strings.LastIndex(n.Spec.ProviderID, "/")+1:]
		ready := slices.ContainsFunc(n.Status.Conditions, func(s corev1.NodeCondition) bool {
			return s.Type == corev1.NodeReady && s.Status == corev1.ConditionTrue
		})
		if name := c.Instances[id]; name != "" && ready && !left && selector.Matches(labels.Set(n.Labels)) {
			out = append(out, control.Target{Node: name, Port: port})
		}
	}
	return sorted(out)
}

// endpoints are targets of kind ip: those of a port of a service.
func (c Cluster) endpoints(s *corev1.Service, p corev1.ServicePort) (out []control.Target) {
	for _, slice := range c.Slices {
		if slice.Namespace != s.Namespace || slice.Labels[discoveryv1.LabelServiceName] != s.Name || slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		port := slicePort(slice, p)
		if port == 0 {
			continue
		}
		for _, e := range slice.Endpoints {
			if !c.target(s.Namespace, e) {
				continue
			}
			for _, text := range e.Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					out = append(out, control.Target{Address: a, Port: port})
				}
			}
		}
	}
	return sorted(out)
}

// slicePort is the endpoints' port of that name and protocol, or 0.
func slicePort(slice *discoveryv1.EndpointSlice, p corev1.ServicePort) uint16 {
	for _, q := range slice.Ports {
		name, protocol := "", corev1.ProtocolTCP
		if q.Name != nil {
			name = *q.Name
		}
		if q.Protocol != nil {
			protocol = *q.Protocol
		}
		if name == p.Name && protocol == p.Protocol && q.Port != nil {
			return uint16(*q.Port)
		}
	}
	return 0
}

// sorted has each target once.
func sorted(targets []control.Target) []control.Target {
	slices.SortFunc(targets, func(a, b control.Target) int {
		if d := strings.Compare(a.Node, b.Node); d != 0 {
			return d
		}
		if d := a.Address.Compare(b.Address); d != 0 {
			return d
		}
		return int(a.Port) - int(b.Port)
	})
	return slices.Compact(targets)
}

// groupPort is the port that a group has for targets that name none, which ours
// do: the controller takes 1 where the target port is a name.
func groupPort(kind string, p corev1.ServicePort) uint16 {
	switch {
	case kind == "instance":
		return uint16(p.NodePort)
	case p.TargetPort.Type == intstr.Int && p.TargetPort.IntVal > 0:
		return uint16(p.TargetPort.IntVal)
	}
	return 1
}
