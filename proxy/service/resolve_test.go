package service

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var comparable = []cmp.Option{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})}

func addrs(words string) []netip.Addr {
	var all []netip.Addr
	for _, w := range strings.Fields(words) {
		all = append(all, addr(w))
	}
	return all
}

func prefixes(words string) []netip.Prefix {
	var all []netip.Prefix
	for _, w := range strings.Fields(words) {
		all = append(all, netip.MustParsePrefix(w))
	}
	return all
}

// TestFrontEnds holds what of a Service becomes a front end of which family.
func TestFrontEnds(t *testing.T) {
	base := ServicePort{
		Name: PortName{web, "http", TCP}, Family: IPv4, ClusterIP: addr("10.100.0.1"), Port: 80,
	}
	with := func(edit func(*ServicePort)) ServicePort {
		p := base
		edit(&p)
		return p
	}
	v6 := with(func(p *ServicePort) { p.Family, p.ClusterIP = IPv6, addr("fd00::1") })
	tests := []struct {
		name string
		edit func(*Service)
		want []ServicePort
	}{
		{"cluster IP", func(*Service) {}, []ServicePort{base}},
		{"headless", func(s *Service) { s.ClusterIPs = nil }, nil},
		{"a name only", func(s *Service) { s.Type = ExternalName }, nil},
		{"another proxy's", func(s *Service) { s.OtherProxy = true }, nil},
		{"no ports", func(s *Service) { s.Ports = nil }, nil},
		{"two families, IPv4 first", func(s *Service) { s.ClusterIPs = addrs("fd00::1 10.100.0.1") }, []ServicePort{base, v6}},
		{"IPv6 only, IPv4 front ends left out", func(s *Service) {
			s.ClusterIPs, s.ExternalIPs = addrs("fd00::1"), addrs("192.0.2.1")
		}, []ServicePort{v6}},
		{"external IPs, each once", func(s *Service) { s.ExternalIPs = addrs("192.0.2.1 192.0.2.2 192.0.2.1") },
			[]ServicePort{with(func(p *ServicePort) { p.ExternalIPs = addrs("192.0.2.1 192.0.2.2") })}},
		{"load balancer, ipMode Proxy left out", func(s *Service) {
			s.Type, s.Ingress = LoadBalancer, []Ingress{{addr("192.0.2.1"), false}, {addr("192.0.2.2"), true}, {addr("fd00::2"), false}}
		}, []ServicePort{with(func(p *ServicePort) { p.VIPs = addrs("192.0.2.1") })}},
		{"source ranges of the family", func(s *Service) { s.SourceRanges = prefixes("198.51.100.0/24 fd00::/64 198.51.100.0/24") },
			[]ServicePort{with(func(p *ServicePort) { p.SourceRanges = prefixes("198.51.100.0/24") })}},
		{"source range of everybody", func(s *Service) { s.SourceRanges = prefixes("198.51.100.0/24 0.0.0.0/0") }, []ServicePort{base}},
		{"everybody of the other family", func(s *Service) { s.SourceRanges = prefixes("198.51.100.0/24 ::/0") },
			[]ServicePort{with(func(p *ServicePort) { p.SourceRanges = prefixes("198.51.100.0/24") })}},
		{"node port", withNodePort, []ServicePort{with(func(p *ServicePort) { p.NodePort = 30080 })}},
		{"affinity", func(s *Service) { s.Affinity = 3 * time.Hour },
			[]ServicePort{with(func(p *ServicePort) { p.Affinity = 3 * time.Hour })}},
		{"health check port", func(s *Service) { s.Type, s.External, s.HealthCheckNodePort = LoadBalancer, Local, 31000 },
			[]ServicePort{with(func(p *ServicePort) { p.External, p.HealthCheckNodePort = Local, 31000 })}},
		{"health check port with policy Cluster", func(s *Service) { s.Type, s.HealthCheckNodePort = LoadBalancer, 31000 }, []ServicePort{base}},
		{"one port for two protocols", func(s *Service) {
			s.Ports = append(s.Ports, Port{Name: "quic", Protocol: UDP, Port: 80})
		}, []ServicePort{base, with(func(p *ServicePort) { p.Name.Port, p.Name.Protocol = "quic", UDP })}},
		{"external IP that is its own balancer's", func(s *Service) {
			s.ExternalIPs, s.Ingress = addrs("192.0.2.1"), []Ingress{{Addr: addr("192.0.2.1")}}
		}, []ServicePort{with(func(p *ServicePort) { p.VIPs = addrs("192.0.2.1") })}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tr := NewTracker()
			tr.SetService(webService(test.edit))
			got, err := tr.Resolve(web)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, comparable...); diff != "" {
				t.Errorf("ports (-want +got):\n%s", diff)
			}
		})
	}
}

// TestRefused holds what makes a service unusable, and that the error says
// which service and which value. Its neighbour is served all the same.
func TestRefused(t *testing.T) {
	tests := []struct {
		says string
		edit func(*Service)
	}{
		{`"Shop/web"`, func(s *Service) { s.Namespace = "Shop" }},
		{`"shop/web\n-A"`, func(s *Service) { s.Name = "web\n-A" }},
		{`"shop/-web"`, func(s *Service) { s.Name = "-web" }},
		{`"shop/` + strings.Repeat("x", 64), func(s *Service) { s.Name = strings.Repeat("x", 64) }},
		{`port "a b"`, func(s *Service) { s.Ports[0].Name = "a b" }},
		{`port "http": want a name of its own`, func(s *Service) {
			s.Ports = append(s.Ports, Port{Name: "http", Protocol: TCP, Port: 81})
		}},
		{`protocol "ICMP"`, func(s *Service) { s.Ports[0].Protocol = "ICMP" }},
		{"port 0,", func(s *Service) { s.Ports[0].Port = 0 }},
		{"port 65536,", func(s *Service) { s.Ports[0].Port = 65536 }},
		{"nodePort 65616", func(s *Service) { s.Ports[0].NodePort = 65616 }},
		{"nodePort -1", func(s *Service) { s.Ports[0].NodePort = -1 }},
		{"TCP port 80", func(s *Service) { s.Ports = append(s.Ports, Port{Name: "b", Protocol: TCP, Port: 80}) }},
		{"nodePort 30080", func(s *Service) {
			withNodePort(s)
			s.Ports = append(s.Ports, Port{Name: "b", Protocol: TCP, Port: 81, NodePort: 30080})
		}},
		{"healthCheckNodePort 65536", func(s *Service) { s.HealthCheckNodePort = 65536 }},
		{"timeout 24h0m1s", func(s *Service) { s.Affinity = 24*time.Hour + time.Second }},
		{"timeout 500ms", func(s *Service) { s.Affinity = time.Second / 2 }},
		{"clusterIPs", func(s *Service) { s.ClusterIPs = addrs("10.100.0.1 10.100.0.2") }},
		{"externalIPs", func(s *Service) { s.ExternalIPs = []netip.Addr{{}} }},
		{"loadBalancer.ingress", func(s *Service) { s.Ingress = []Ingress{{}} }},
		{"10.0.0.1/8", func(s *Service) { s.SourceRanges = prefixes("10.0.0.1/8") }},
		{`externalIPs[0] "x"`, func(s *Service) { s.Faults = []string{`externalIPs[0] "x"`} }},
	}
	for _, test := range tests {
		t.Run(test.says, func(t *testing.T) {
			tr := NewTracker()
			bad := webService(test.edit)
			tr.SetService(bad)
			good := webService(func(s *Service) { s.Name = "api" }) // wants the same cluster IP
			tr.SetService(good)
			ports, err := tr.Resolve(bad.Key)
			if len(ports) > 0 || err == nil {
				t.Fatalf("%d ports, %v: want an error", len(ports), err)
			}
			for _, say := range []string{"service " + bad.Key.String(), test.says} {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("%v: want it to say %q", err, say)
				}
			}
			if ports, err := tr.Resolve(good.Key); len(ports) != 1 || err != nil || !ports[0].ClusterIP.IsValid() {
				t.Errorf("the other service: %v, %v", ports, err)
			}
		})
	}
}

// TestRefusedEndpoints leaves out what cannot be an endpoint, and no more.
func TestRefusedEndpoints(t *testing.T) {
	tr := NewTracker()
	tr.SetService(webService())
	good, bad, number := webSlice("web-1", "10.0.0.1"), webSlice("web-2", "fd00::9", "10.0.0.2"), webSlice("web-3", "10.0.0.3")
	number.Ports[0].Port = 70000
	none := webSlice("web-4", "10.0.0.4")
	none.Ports[0].Port = 0
	for _, s := range []EndpointSlice{good, bad, number, none} {
		tr.SetSlice(s)
	}
	ports, err := tr.Resolve(web)
	if err == nil || !strings.Contains(err.Error(), "shop/web-2: endpoint fd00::9") || !strings.Contains(err.Error(), "70000") {
		t.Errorf("error %v: want it to name the endpoint and the port", err)
	}
	if got := text(ports[0].Cluster); got != "10.0.0.1 10.0.0.2" {
		t.Errorf("endpoints %s", got)
	}
}
