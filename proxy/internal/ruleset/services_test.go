package ruleset

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/service"
)

const (
	masqueradeMark = 0x4000
	here           = "node-a"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func addrs(s string) []netip.Addr {
	var all []netip.Addr
	for _, f := range strings.Fields(s) {
		all = append(all, addr(f))
	}
	return all
}

// lan is EKS with our own pods known by their links.
func lan(edits ...func(*Settings)) Settings {
	s := Settings{
		Family: service.IPv4, MasqueradeMark: masqueradeMark, Pods: Detector{Link: "eni+"},
		NodeAddrs: addrs("192.168.1.50"), DropInvalid: true,
	}
	for _, edit := range edits {
		edit(&s)
	}
	return s
}

// object is a service named ns/name of one TCP port p80, at 10.100.0.N, with
// endpoints: a star marks those of this node.
func object(n byte, name, endpoints string, edits ...func(*service.Service)) (service.Service, []service.EndpointSlice) {
	s := service.Service{
		Key: service.Key{Namespace: "ns", Name: name}, Type: service.ClusterIP,
		ClusterIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 100, 0, n})},
		Ports:      []service.Port{{Name: "p80", Protocol: service.TCP, Port: 80}},
	}
	for _, edit := range edits {
		edit(&s)
	}
	var slices []service.EndpointSlice
	for _, family := range []service.Family{service.IPv4, service.IPv6} {
		slice := service.EndpointSlice{Key: service.Key{Namespace: "ns", Name: name + family.String()}, Service: name, Family: family}
		for _, p := range s.Ports {
			slice.Ports = append(slice.Ports, service.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: 8080})
		}
		for _, word := range strings.Fields(endpoints) {
			ip, local := strings.CutSuffix(word, "*")
			e := service.Endpoint{Addr: addr(ip), Ready: true, Serving: true}
			if local {
				e.Node = here
			}
			if service.FamilyOf(e.Addr) == family {
				slice.Endpoints = append(slice.Endpoints, e)
			}
		}
		slices = append(slices, slice)
	}
	return s, slices
}

func nodePort(n int32) func(*service.Service) {
	return func(s *service.Service) {
		s.Type = service.NodePort
		s.Ports[0].NodePort = n
	}
}

func balancer(ips, ranges string) func(*service.Service) {
	return func(s *service.Service) {
		s.Type = service.LoadBalancer
		for _, ip := range addrs(ips) {
			s.Ingress = append(s.Ingress, service.Ingress{Addr: ip})
		}
		s.SourceRanges = prefixes(ranges)
	}
}

func externalIPs(ips string) func(*service.Service) {
	return func(s *service.Service) { s.ExternalIPs = addrs(ips) }
}

func externalLocal(s *service.Service) { s.External = service.Local }
func internalLocal(s *service.Service) { s.Internal = service.Local }
func affinity(s *service.Service)      { s.Affinity = 3 * time.Hour }
func healthCheck(s *service.Service)   { s.HealthCheckNodePort = 31000 }

// cluster is one service of each kind.
func cluster() *service.Tracker {
	t := service.NewTracker()
	t.SetNode(service.Node{Name: here})
	add := func(s service.Service, slices []service.EndpointSlice) {
		t.SetService(s)
		for _, slice := range slices {
			t.SetSlice(slice)
		}
	}
	add(object(1, "plain", "10.0.0.1* 10.0.0.2 10.0.0.3"))
	add(object(2, "node", "10.0.0.1* 10.0.0.2", nodePort(30002)))
	add(object(3, "node-local", "10.0.0.1* 10.0.0.2", nodePort(30003), externalLocal))
	add(object(4, "node-elsewhere", "10.0.0.2", nodePort(30004), externalLocal))
	add(object(5, "internal-local", "10.0.0.1* 10.0.0.2", internalLocal))
	add(object(6, "internal-elsewhere", "10.0.0.2", internalLocal))
	add(object(7, "empty", "", nodePort(30007), balancer("203.0.113.7", ""), externalIPs("203.0.113.17")))
	add(object(8, "balanced", "10.0.0.2", nodePort(30008), balancer("203.0.113.8 203.0.113.9", "198.51.100.0/24 192.168.0.0/16")))
	add(object(9, "balanced-local", "10.0.0.1* 10.0.0.2", balancer("203.0.113.10", ""), externalLocal, healthCheck))
	add(object(10, "external", "10.0.0.1*", externalIPs("203.0.113.20")))
	add(object(11, "sticky", "10.0.0.1* 10.0.0.2", affinity, nodePort(30011)))
	add(object(12, "dns", "10.0.0.5", func(s *service.Service) {
		s.Ports = []service.Port{{Name: "dns", Protocol: service.UDP, Port: 53}, {Name: "dns-tcp", Protocol: service.TCP, Port: 53}, {Name: "sctp", Protocol: service.SCTP, Port: 53}}
	}))
	add(object(13, "no-port-name", "10.0.0.6", func(s *service.Service) { s.Ports[0].Name = "" }))
	add(object(14, "two-families", "10.0.0.1* fd00::1* fd00::2", affinity, nodePort(30014), func(s *service.Service) {
		s.ClusterIPs = addrs("10.100.0.14 fd00:100::14")
	}))
	add(object(15, "two-families-empty", "", func(s *service.Service) { s.ClusterIPs = addrs("10.100.0.15 fd00:100::15") }))
	return t
}

func compiled(t testing.TB, tr *service.Tracker, s Settings) Ruleset {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	var all []ServiceRules
	for _, k := range tr.Services() {
		ports, err := tr.Resolve(k)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ports {
			if p.Family == s.Family {
				all = append(all, Compile(p, s))
			}
		}
	}
	return Services(s, all)
}

var serviceSettings = map[string]Settings{
	"services":               lan(),
	"services-no-detector":   lan(func(s *Settings) { s.Pods = Detector{} }),
	"services-block":         lan(func(s *Settings) { s.Pods = Detector{Block: prefixes("10.0.0.0/8")[0]} }),
	"services-all":           lan(func(s *Settings) { s.MasqueradeAll, s.DropInvalid, s.Terse = true, false, true }),
	"services-localhost":     lan(func(s *Settings) { s.LocalhostNodePorts = true }),
	"services-node-address":  lan(func(s *Settings) { s.NodePortAddrs = addrs("192.168.1.50 192.168.1.51") }),
	"services-other-address": lan(func(s *Settings) { s.NodeAddrs = addrs("172.31.0.1") }),
	"services-lists":         lan(func(s *Settings) { s.AffinityLists = 2 }),
	"services-lists-ipv6":    lan(func(s *Settings) { s.Family, s.NodeAddrs, s.AffinityLists = service.IPv6, nil, 2 }),
	"services-ipv6":          lan(func(s *Settings) { s.Family, s.NodeAddrs = service.IPv6, nil }),
}

func TestServicesGolden(t *testing.T) {
	for name, settings := range serviceSettings {
		t.Run(name, func(t *testing.T) { golden(t, name, compiled(t, cluster(), settings).String()) })
	}
}

// TestNames holds hashes that kube-proxy v1.36.3 was seen to make.
func TestNames(t *testing.T) {
	name := func(ns, n, port string) chainNames {
		return namesOf(service.PortName{Key: service.Key{Namespace: ns, Name: n}, Port: port, Protocol: service.TCP}, hash)
	}
	svc1 := name("ns1", "svc1", "p80")
	got := []string{svc1.cluster, svc1.endpoint(service.Target{AddrPort: netip.MustParseAddrPort("10.180.0.1:80")}), name("default", "kubernetes", "https").external}
	want := []string{"KUBE-SVC-XPGD46QRK7WJZT7O", "KUBE-SEP-SXIVWICOYRO3J4NJ", "KUBE-EXT-NPX46M4PTMTKRN6Y"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

// TestOneIn holds probabilities as iptables-save shows them, and that a service
// of 1,000 endpoints has 999 different ones.
func TestOneIn(t *testing.T) {
	for n, want := range map[OneIn]string{2: "0.50000000000", 3: "0.33333333349", 7: "0.14285714272", 1000: "0.00100000016"} {
		if got := n.String(); !strings.HasSuffix(got, " "+want) {
			t.Errorf("1 in %d: %s, want %s", n, got, want)
		}
	}
	seen := map[string]bool{}
	for n := range OneIn(1000) {
		seen[(n + 2).String()] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different probabilities of 1000", len(seen))
	}
}

// TestJumpsLeadSomewhere looks for jumps to nowhere, chains that nothing leads
// to, chains made twice, and names and comments that the kernel would not take.
func TestJumpsLeadSomewhere(t *testing.T) {
	for name, settings := range serviceSettings {
		for _, table := range compiled(t, cluster(), settings) {
			chains, targets := map[string]int{}, map[string]bool{}
			look := func(rules []Rule) {
				for _, r := range rules {
					if j, ok := r.Target.(Jump); ok {
						targets[string(j)] = true
					}
					if len(r.Comment) > 255 {
						t.Errorf("%s: comment %q has over 255 bytes", name, r.Comment)
					}
				}
			}
			for _, b := range table.Base {
				look(b.Rules)
			}
			for _, c := range table.Chains {
				chains[c.Name]++
				look(c.Rules)
			}
			for c, n := range chains {
				if n != 1 || len(c) > 28 || !targets[c] {
					t.Errorf("%s: %s %s made %d times, led to: %t", name, table.Name, c, n, targets[c])
				}
			}
			for j := range targets {
				if chains[j] == 0 {
					t.Errorf("%s: %s jumps to %s, which is not there", name, table.Name, j)
				}
			}
		}
	}
}

// TestLongestComment is a service with the longest names that are accepted.
func TestLongestComment(t *testing.T) {
	long := strings.Repeat("x", 63)
	tr := service.NewTracker()
	tr.SetService(service.Service{
		Key: service.Key{Namespace: long, Name: long}, ClusterIPs: addrs("fd00::1"),
		Ports: []service.Port{{Name: long, Protocol: service.TCP, Port: 80}},
	})
	tr.SetSlice(service.EndpointSlice{
		Key: service.Key{Namespace: long, Name: long}, Service: long, Family: service.IPv6,
		Ports:     []service.EndpointPort{{Name: long, Protocol: service.TCP, Port: 65535}},
		Endpoints: []service.Endpoint{{Addr: addr("fd00:1111:2222:3333:4444:5555:6666:7777"), Ready: true}},
	})
	ports, err := tr.Resolve(service.Key{Namespace: long, Name: long})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Compile(ports[0], lan(func(s *Settings) { s.Family = service.IPv6 })).Chains {
		for _, r := range c.Rules {
			if len(r.Comment) > 255 {
				t.Errorf("comment %q has %d bytes, the kernel takes 255", r.Comment, len(r.Comment))
			}
		}
	}
}

func TestSettingsNameTheField(t *testing.T) {
	tests := []struct {
		want string
		edit func(*Settings)
	}{
		{"family FQDN", func(s *Settings) { s.Family = service.OtherFamily }},
		{"masquerade mark 0x0", func(s *Settings) { s.MasqueradeMark = 0 }},
		{"masquerade mark 0x3", func(s *Settings) { s.MasqueradeMark = 3 }},
		{"pods in block 10.0.0.1/8", func(s *Settings) { s.Pods = Detector{Block: prefixes("10.0.0.1/8")[0]} }},
		{"pods in block fd00::/8", func(s *Settings) { s.Pods = Detector{Block: prefixes("fd00::/8")[0]} }},
		{"pods in block 0.0.0.0/0", func(s *Settings) { s.Pods = Detector{Block: prefixes("0.0.0.0/0")[0]} }},
		{"pods in block 10.0.0.0/8", func(s *Settings) { s.Pods.Block = prefixes("10.0.0.0/8")[0] }},
		{`pods by link "a b"`, func(s *Settings) { s.Pods.Link = "a b" }},
		{`pods by link "+"`, func(s *Settings) { s.Pods.Link = "+" }},
		{"node address fd00::1", func(s *Settings) { s.NodeAddrs = addrs("fd00::1") }},
		{"node address fd00::2", func(s *Settings) { s.NodePortAddrs = addrs("fd00::2") }},
		{"3 lists of clients", func(s *Settings) { s.AffinityLists = 3 }},
		{"localhost node ports", func(s *Settings) {
			s.Family, s.NodeAddrs, s.LocalhostNodePorts = service.IPv6, nil, true
		}},
	}
	for _, test := range tests {
		if err := lan(test.edit).Validate(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Validate() = %v, want an error that begins with %q", err, test.want)
		}
	}
}

// BenchmarkCompile is one service of 10 endpoints, as text.
func BenchmarkCompile(b *testing.B) {
	tr := service.NewTracker()
	s, slices := object(1, "plain", "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 10.0.0.7 10.0.0.8 10.0.0.9 10.0.0.10")
	tr.SetService(s)
	tr.SetSlice(slices[0])
	ports, err := tr.Resolve(s.Key)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for _, c := range Compile(ports[0], lan()).Chains {
			for _, r := range c.Rules {
				_ = r.String()
			}
		}
	}
}
