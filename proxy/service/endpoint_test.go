package service

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var web = Key{"shop", "web"}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// webService is a ClusterIP service of one port.
func webService(edits ...func(*Service)) Service {
	s := Service{Key: web, Type: ClusterIP, ClusterIPs: []netip.Addr{addr("10.100.0.1")}, Ports: []Port{{Name: "http", Protocol: TCP, Port: 80}}}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

// webSlice is an IPv4 slice of the web service, its endpoints as lines "10.0.0.1
// words": notready, notserving, terminating; here or at=node; zones=a,b; nodes=a,b.
func webSlice(name string, endpoints ...string) EndpointSlice {
	s := EndpointSlice{Key: Key{"shop", name}, Service: "web", Family: IPv4, Ports: []EndpointPort{{"http", TCP, 8080}}}
	for _, line := range endpoints {
		words := strings.Fields(line)
		e := Endpoint{Addr: addr(words[0]), Ready: true, Serving: true}
		for _, w := range words[1:] {
			key, value, _ := strings.Cut(w, "=")
			switch key {
			case "notready":
				e.Ready = false
			case "notserving":
				e.Ready, e.Serving = false, false
			case "terminating":
				e.Ready, e.Terminating = false, true
			case "here":
				e.Node = "node-a"
			case "at":
				e.Node = value
			case "zones":
				e.HintZones = strings.Split(value, ",")
			case "nodes":
				e.HintNodes = strings.Split(value, ",")
			default:
				panic(w)
			}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func internalLocal(s *Service) { s.Internal = Local }

func withNodePort(s *Service) {
	s.Type = NodePort
	s.Ports[0].NodePort = 30080
}

func externalLocal(s *Service) {
	withNodePort(s)
	s.External = Local
}

func clusterOnlyExternalLocal(s *Service) { s.External = Local }

func text(targets []Target) string {
	var words []string
	for _, t := range targets {
		word := t.Addr().String()
		if t.Local {
			word += "*"
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// TestEndpoints holds every rule of which endpoints are usable. Those of this
// node have a star.
func TestEndpoints(t *testing.T) {
	tests := []struct {
		name           string
		service        func(*Service)
		endpoints      []string
		cluster, local string
		nowhere        bool
	}{
		{name: "none", nowhere: true},
		{name: "ready", endpoints: []string{"10.0.0.2", "10.0.0.1 here"}, cluster: "10.0.0.1* 10.0.0.2"},
		{name: "sorted as text", endpoints: []string{"10.0.0.9", "10.0.0.10"}, cluster: "10.0.0.10 10.0.0.9"},
		{name: "not ready", endpoints: []string{"10.0.0.1 notready", "10.0.0.2"}, cluster: "10.0.0.2"},
		{name: "not ready but serving, alone", endpoints: []string{"10.0.0.1 notready"}, nowhere: true},
		{name: "terminating beside ready", endpoints: []string{"10.0.0.1 terminating", "10.0.0.2"}, cluster: "10.0.0.2"},
		{name: "terminating alone", endpoints: []string{"10.0.0.1 terminating", "10.0.0.2 notready"}, cluster: "10.0.0.1"},
		{name: "terminating and not serving", endpoints: []string{"10.0.0.1 terminating notserving"}, nowhere: true},

		{name: "internal local", service: internalLocal, endpoints: []string{"10.0.0.1 here", "10.0.0.2"}, local: "10.0.0.1*"},
		{name: "internal local, none here", service: internalLocal, endpoints: []string{"10.0.0.1 at=node-b"}},
		{name: "internal local, none anywhere", service: internalLocal, endpoints: []string{"10.0.0.1 at=node-b notready"}, nowhere: true},
		{name: "internal local, terminating here", service: internalLocal, endpoints: []string{"10.0.0.1 here terminating", "10.0.0.2"}, local: "10.0.0.1*"},
		{name: "internal local, ready and terminating here", service: internalLocal, endpoints: []string{"10.0.0.1 here terminating", "10.0.0.2 here"}, local: "10.0.0.2*"},

		{name: "external local", service: externalLocal, endpoints: []string{"10.0.0.1 here", "10.0.0.2"}, cluster: "10.0.0.1* 10.0.0.2", local: "10.0.0.1*"},
		{name: "external local, terminating here", service: externalLocal, endpoints: []string{"10.0.0.1 here terminating", "10.0.0.2"}, cluster: "10.0.0.2", local: "10.0.0.1*"},
		{name: "external local, all terminating", service: externalLocal, endpoints: []string{"10.0.0.1 here terminating", "10.0.0.2 terminating"}, cluster: "10.0.0.1* 10.0.0.2", local: "10.0.0.1*"},
		{name: "external local, only elsewhere", service: externalLocal, endpoints: []string{"10.0.0.2"}, cluster: "10.0.0.2"},
		{name: "external local without an external front end", service: clusterOnlyExternalLocal, endpoints: []string{"10.0.0.1 here", "10.0.0.2"}, cluster: "10.0.0.1* 10.0.0.2"},
		{name: "internal local, external cluster", service: func(s *Service) { withNodePort(s); internalLocal(s) }, endpoints: []string{"10.0.0.1 here", "10.0.0.2"}, cluster: "10.0.0.1* 10.0.0.2", local: "10.0.0.1*"},

		{name: "zone hints", endpoints: []string{"10.0.0.1 zones=a", "10.0.0.2 zones=b", "10.0.0.3 zones=a,b"}, cluster: "10.0.0.1 10.0.0.3"},
		{name: "zone hints, one without", endpoints: []string{"10.0.0.1 zones=a", "10.0.0.2"}, cluster: "10.0.0.1 10.0.0.2"},
		{name: "zone hints, one without that is not ready", endpoints: []string{"10.0.0.1 zones=a", "10.0.0.2 notready", "10.0.0.3 zones=b"}, cluster: "10.0.0.1"},
		{name: "zone hints, none for us", endpoints: []string{"10.0.0.1 zones=b", "10.0.0.2 zones=c"}, cluster: "10.0.0.1 10.0.0.2"},
		{name: "zone hints, ours not ready", endpoints: []string{"10.0.0.1 zones=a notready", "10.0.0.2 zones=b"}, cluster: "10.0.0.2"},
		{name: "zone hints, only terminating", endpoints: []string{"10.0.0.1 zones=a terminating", "10.0.0.2 zones=b terminating"}, cluster: "10.0.0.1 10.0.0.2"},
		{name: "node hints before zone hints", endpoints: []string{"10.0.0.1 zones=a nodes=node-b", "10.0.0.2 zones=a nodes=node-a"}, cluster: "10.0.0.2"},
		{name: "node hints, none for us", endpoints: []string{"10.0.0.1 zones=a nodes=node-b", "10.0.0.2 zones=b nodes=node-c"}, cluster: "10.0.0.1"},
		{name: "node hints, one without", endpoints: []string{"10.0.0.1 nodes=node-a", "10.0.0.2"}, cluster: "10.0.0.1 10.0.0.2"},
		{name: "hints do not bear on local", service: internalLocal, endpoints: []string{"10.0.0.1 here zones=b", "10.0.0.2 zones=a"}, local: "10.0.0.1*"},

		{name: "twice, the one that does not terminate", endpoints: []string{"10.0.0.1 terminating at=node-b", "10.0.0.1 here"}, cluster: "10.0.0.1*"},
		{name: "twice, the one that is ready", endpoints: []string{"10.0.0.1 here", "10.0.0.1 notready"}, cluster: "10.0.0.1*"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := NewTracker()
			tr.SetNode(Node{Name: "node-a", Zone: "a"})
			s := webService()
			if test.service != nil {
				test.service(&s)
			}
			tr.SetService(s)
			tr.SetSlice(webSlice("web-1", test.endpoints...))
			ports, err := tr.Resolve(web)
			if err != nil || len(ports) != 1 {
				t.Fatalf("%d ports, %v", len(ports), err)
			}
			got := []any{text(ports[0].Cluster), text(ports[0].LocalOnly), !ports[0].Anywhere}
			if diff := cmp.Diff([]any{test.cluster, test.local, test.nowhere}, got); diff != "" {
				t.Errorf("cluster, local, nowhere (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHealthChecks(t *testing.T) {
	tr := NewTracker()
	tr.SetNode(Node{Name: "node-a"})
	balanced := webService(externalLocal, func(s *Service) {
		s.Type, s.HealthCheckNodePort = LoadBalancer, 31000
		s.Ports = append(s.Ports, Port{Name: "https", Protocol: TCP, Port: 443})
	})
	slice := webSlice("web-1", "10.0.0.1 here", "10.0.0.2 here", "10.0.0.3 here terminating", "10.0.0.4")
	slice.Ports = append(slice.Ports, EndpointPort{"https", TCP, 8443})
	tr.SetSlice(slice)
	for name, test := range map[string]struct {
		edit func(*Service)
		want []HealthCheck
	}{
		"balanced":        {func(*Service) {}, []HealthCheck{{web, IPv4, 31000, 2}}},
		"policy Cluster":  {func(s *Service) { s.External = Cluster }, nil},
		"no balancer":     {func(s *Service) { s.Type = NodePort }, nil},
		"refused":         {func(s *Service) { s.Faults = []string{"x"} }, nil},
		"of another":      {func(s *Service) { s.OtherProxy = true }, nil},
		"without a port":  {func(s *Service) { s.HealthCheckNodePort = 0 }, nil},
		"of two families": {func(s *Service) { s.ClusterIPs = append(s.ClusterIPs, addr("fd00::1")) }, []HealthCheck{{web, IPv4, 31000, 2}, {web, IPv6, 31000, 0}}},
	} {
		s := balanced
		test.edit(&s)
		tr.SetService(s)
		if diff := cmp.Diff(test.want, tr.HealthChecks(web)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
