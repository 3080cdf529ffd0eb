package harness

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// ServicePort is the port of every service over TCP and over UDP; it leads to
// Port of the pods.
const ServicePort = 80

// Service is a service of the cluster with its endpoints.
type Service struct {
	Name string
	Pods []*Pod // the endpoints, ready
	// Type is of the API; "" is ClusterIP. Others have one node port for both
	// protocols.
	Type string
	// Local is externalTrafficPolicy Local.
	Local bool
	// Affinity is how long clients stay with their endpoint; 0 for no time.
	Affinity time.Duration
	// Ingress and Ranges are the addresses of a load balancer, as its
	// controller writes them into the status, and who may use it.
	Ingress []netip.Addr
	Ranges  []netip.Prefix
	// Target is the port of the pods, if it is not Port.
	Target uint16
}

// Served is where a service is reached.
type Served struct {
	Name       string
	ClusterIP  netip.AddrPort
	NodePort   uint16 // 0 for none
	HealthPort uint16 // of health checks; 0 for none
	lab        *Lab
}

// Serve writes a service and its endpoint slice to the Kubernetes API, as its
// users and the endpoint-slice controller would, and returns when every daemon
// has programmed it.
func (l *Lab) Serve(ctx context.Context, s Service) (Served, error) {
	zones, err := l.zones(ctx)
	if err != nil {
		return Served{}, err
	}
	object := s.object()
	if err := l.givePorts(ctx, s.Name, object); err != nil {
		return Served{}, err
	}
	applied, err := l.Control.Apply(ctx, object, s.slice(zones))
	if err != nil {
		return Served{}, fmt.Errorf("writing service %s: %w", s.Name, err)
	}
	served, err := readServed(applied[0])
	if err != nil {
		return Served{}, fmt.Errorf("reading service %s: %w", s.Name, err)
	}
	served.lab = l
	return served, l.Programmed(ctx)
}

// Remove deletes the service and its endpoints, and returns when every daemon
// knows.
func (s Served) Remove(ctx context.Context) error {
	return errors.Join(s.lab.Control.DeleteObject(ctx, "Service", "default", s.Name),
		s.lab.Control.DeleteObject(ctx, "EndpointSlice", "default", s.Name+"-1"), s.lab.Programmed(ctx))
}

// firstNodePort is before the node ports of services; the simulator gives
// health checks theirs from 30000 on.
const firstNodePort = 30999

// givePorts gives a service the node port that it has, or the next one: one
// number for both protocols, which the API gives to those only who ask for it.
// None is used again, or datagrams of an earlier flow would meet another
// service.
func (l *Lab) givePorts(ctx context.Context, name string, object control.Object) error {
	spec := object["spec"].(map[string]any)
	if spec["type"] == "ClusterIP" {
		return nil
	}
	all, err := l.Control.Objects(ctx, "Service")
	if err != nil {
		return err
	}
	port := uint16(0)
	for _, o := range all {
		s, err := readServed(o)
		if err != nil {
			return err
		}
		if s.Name == name {
			port = s.NodePort
		}
	}
	if port == 0 {
		l.nodePort++
		port = l.nodePort
	}
	for _, p := range spec["ports"].([]any) {
		p.(map[string]any)["nodePort"] = port
	}
	return nil
}

func (s Service) object() control.Object {
	spec := map[string]any{"type": "ClusterIP", "selector": map[string]any{"app": s.Name}}
	if s.Type != "" {
		spec["type"] = s.Type
	}
	if s.Local {
		spec["externalTrafficPolicy"] = "Local"
	}
	if s.Affinity > 0 {
		spec["sessionAffinity"] = "ClientIP"
		spec["sessionAffinityConfig"] = map[string]any{"clientIP": map[string]any{"timeoutSeconds": int(s.Affinity.Seconds())}}
	}
	var ranges, ports, ingress []any
	for _, r := range s.Ranges {
		ranges = append(ranges, r.String())
	}
	for _, proto := range []string{"TCP", "UDP"} {
		ports = append(ports, map[string]any{"name": strings.ToLower(proto), "protocol": proto, "port": ServicePort, "targetPort": s.target()})
	}
	for _, a := range s.Ingress {
		ingress = append(ingress, map[string]any{"ip": a.String()})
	}
	spec["ports"] = ports
	if ranges != nil {
		spec["loadBalancerSourceRanges"] = ranges
	}
	return control.Object{
		"kind": "Service", "metadata": map[string]any{"name": s.Name}, "spec": spec,
		"status": map[string]any{"loadBalancer": map[string]any{"ingress": ingress}},
	}
}

func (s Service) target() uint16 {
	if s.Target != 0 {
		return s.Target
	}
	return Port
}

// slice is what the endpoint-slice controller makes of the pods.
func (s Service) slice(zones map[string]string) control.Object {
	endpoints, ports := []any{}, []any{}
	for _, p := range s.Pods {
		endpoints = append(endpoints, map[string]any{
			"addresses": []any{p.IP.String()}, "nodeName": p.Node.Name, "zone": zones[p.Node.Name],
			"conditions": map[string]any{"ready": true, "serving": true, "terminating": false},
			"targetRef":  map[string]any{"kind": "Pod", "namespace": "default", "name": p.Name},
		})
	}
	for _, proto := range []string{"TCP", "UDP"} {
		ports = append(ports, map[string]any{"name": strings.ToLower(proto), "protocol": proto, "port": s.target()})
	}
	return control.Object{
		"kind": "EndpointSlice", "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
		"metadata": map[string]any{"name": s.Name + "-1", "labels": map[string]any{
			"kubernetes.io/service-name":             s.Name,
			"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
		}, "annotations": map[string]any{
			"endpoints.kubernetes.io/last-change-trigger-time": time.Now().UTC().Format(time.RFC3339Nano),
		}},
	}
}

// zones are those of the nodes.
func (l *Lab) zones(ctx context.Context) (map[string]string, error) {
	status, err := l.Control.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, n := range status.Nodes {
		out[n.Name] = n.Zone
	}
	return out, nil
}

func readServed(o control.Object) (Served, error) {
	var out Served
	meta, _ := o["metadata"].(map[string]any)
	out.Name, _ = meta["name"].(string)
	spec, _ := o["spec"].(map[string]any)
	text, _ := spec["clusterIP"].(string)
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return out, fmt.Errorf("its cluster IP: %w", err)
	}
	out.ClusterIP = netip.AddrPortFrom(ip, ServicePort)
	if ports, ok := spec["ports"].([]any); ok && len(ports) > 0 {
		first, _ := ports[0].(map[string]any)
		n, _ := first["nodePort"].(float64)
		out.NodePort = uint16(n)
	}
	n, _ := spec["healthCheckNodePort"].(float64)
	out.HealthPort = uint16(n)
	return out, nil
}

// Programmed returns when every running daemon has programmed what was written
// before. It writes a service and a slice whose port is new each time: once that
// answers on a node, what both watches told it earlier is in force there.
func (l *Lab) Programmed(ctx context.Context) error {
	if l.serving.Load() == nil {
		return errors.New("waiting for daemons: no pod serves yet")
	}
	l.marks++
	port := uint16(1000 + l.marks)
	mark, name := Service{Name: "programmed", Pods: []*Pod{l.serving.Load()}}, fmt.Sprintf("mark%d", l.marks)
	object, slice := mark.object(), mark.slice(nil)
	object["spec"].(map[string]any)["ports"] = []any{map[string]any{"name": name, "port": port, "targetPort": Port}}
	slice["ports"] = []any{map[string]any{"name": name, "port": Port}}
	applied, err := l.Control.Apply(ctx, object, slice)
	if err != nil {
		return fmt.Errorf("writing a mark: %w", err)
	}
	served, err := readServed(applied[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for _, n := range l.nodes {
		if n.daemon == nil || n.daemon.Ended() {
			continue
		}
		if err := Poll(ctx, func() error { return n.reaches(ctx, netip.AddrPortFrom(served.ClusterIP.Addr(), port)) }); err != nil {
			return fmt.Errorf("node %s has not programmed services: %w", n.Name, err)
		}
	}
	return nil
}

func (n *Node) reaches(ctx context.Context, to netip.AddrPort) error {
	answers, err := n.Prober().Try(ctx, "tcp", to, 1, 500*time.Millisecond)
	if err == nil && answers[0].Fate() != Answered {
		err = errors.New(answers[0].Error)
	}
	return err
}
