package kube

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/causeway-cni/causeway/proxy/service"
)

// toSlice reads an EndpointSlice as kube-proxy v1.36 does (pkg/proxy
// endpointslicecache.go): of an endpoint's addresses the first one alone, and
// no endpoint without any. An address that cannot be read is an invalid one,
// which the model refuses by name.
func toSlice(o *discoveryv1.EndpointSlice) service.EndpointSlice {
	s := service.EndpointSlice{
		Key:       service.Key{Namespace: intern(o.Namespace), Name: o.Name},
		Service:   intern(o.Labels[discoveryv1.LabelServiceName]),
		Headless:  has(o.Labels, corev1.IsHeadlessService),
		Family:    family(o.AddressType),
		Triggered: triggered(o.Annotations),
	}
	if s.Family == service.OtherFamily {
		return s // never used
	}
	s.Ports = make([]service.EndpointPort, 0, len(o.Ports))
	for _, p := range o.Ports {
		s.Ports = append(s.Ports, service.EndpointPort{
			Name: intern(value(p.Name, "")), Protocol: protocol(value(p.Protocol, "")), Port: value(p.Port, 0),
		})
	}
	s.Endpoints = make([]service.Endpoint, 0, len(o.Endpoints))
	for _, e := range o.Endpoints {
		if len(e.Addresses) > 0 {
			s.Endpoints = append(s.Endpoints, endpoint(e, s.Endpoints))
		}
	}
	return s
}

// endpoint shares its hints with the endpoint before it if they are the same,
// as they are for most.
func endpoint(e discoveryv1.Endpoint, before []service.Endpoint) service.Endpoint {
	addr, _ := service.ParseAddr(e.Addresses[0])
	out := service.Endpoint{
		Addr:        addr,
		Ready:       value(e.Conditions.Ready, true),
		Serving:     value(e.Conditions.Serving, true),
		Terminating: value(e.Conditions.Terminating, false),
		Node:        intern(value(e.NodeName, "")),
	}
	if e.Hints != nil {
		for _, z := range e.Hints.ForZones {
			out.HintZones = append(out.HintZones, intern(z.Name))
		}
		for _, n := range e.Hints.ForNodes {
			out.HintNodes = append(out.HintNodes, intern(n.Name))
		}
	}
	if n := len(before); n > 0 {
		out.HintZones = share(before[n-1].HintZones, out.HintZones)
		out.HintNodes = share(before[n-1].HintNodes, out.HintNodes)
	}
	return out
}

func share(before, now []string) []string {
	if slices.Equal(before, now) {
		return before
	}
	return now
}

func family(t discoveryv1.AddressType) service.Family {
	switch t {
	case discoveryv1.AddressTypeIPv4:
		return service.IPv4
	case discoveryv1.AddressTypeIPv6:
		return service.IPv6
	}
	return service.OtherFamily
}

// triggered is zero without the annotation, and if it cannot be read, as
// nothing but a measurement depends on it.
func triggered(annotations map[string]string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, annotations[corev1.EndpointsLastChangeTriggerTime])
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// value is what p points to, or the API's default.
func value[T any](p *T, fallback T) T {
	if p == nil {
		return fallback
	}
	return *p
}
