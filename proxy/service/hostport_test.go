package service

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// podPort leads a TCP port, on one address or with "" on all, to port 80.
func podPort(at string, number uint16) PodPort {
	p := PodPort{Host: HostPort{Port: number}, Container: 80, Protocol: TCP}
	if at != "" {
		p.Host.Addr = addr(at)
	}
	return p
}

// hosts are the names of the service-ports of a key.
func hosts(t *testing.T, tr *Tracker, k Key) (names string, err error) {
	t.Helper()
	ports, err := tr.Resolve(k)
	var all []string
	for _, p := range ports {
		all = append(all, p.Name.String())
	}
	return strings.Join(all, " "), err
}

// TestHostPorts holds what a pod's host ports become.
func TestHostPorts(t *testing.T) {
	dns := PodPort{Host: HostPort{Port: 53}, Container: 5353, Protocol: UDP}
	onOther := podPort("2001:db8::1", 81)
	tr := NewTracker()
	pod, k := Key{"shop", "web"}, Key{"shop", "pod/web"}
	got := tr.SetHostPorts(pod, addr("10.0.0.1"), []PodPort{podPort("192.0.2.1", 8080), dns, onOther, dns})
	if diff := cmp.Diff([]Key{k}, got); diff != "" {
		t.Errorf("touched (-want +got):\n%s", diff)
	}
	if again := tr.SetHostPorts(pod, addr("10.0.0.1"), []PodPort{podPort("192.0.2.1", 8080), dns}); again != nil {
		t.Errorf("the same again touches %v", again)
	}
	ports, err := tr.Resolve(k)
	if err != nil {
		t.Fatal(err)
	}
	target := func(at string) []Target { return []Target{{netip.MustParseAddrPort(at), true}} }
	want := []ServicePort{{
		Name: PortName{k, "192.0.2.1:8080", TCP}, Family: IPv4, Port: 8080, HostPort: HostPort{addr("192.0.2.1"), 8080},
		External: Local, Cluster: target("10.0.0.1:80"), LocalOnly: target("10.0.0.1:80"), Anywhere: true,
	}, {
		Name: PortName{k, "53", UDP}, Family: IPv4, Port: 53, HostPort: HostPort{Port: 53},
		External: Local, Cluster: target("10.0.0.1:5353"), LocalOnly: target("10.0.0.1:5353"), Anywhere: true,
		Serving: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:5353")},
	}}
	if diff := cmp.Diff(want, ports, comparable...); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	tr.SetService(named("api", "10.100.0.1"))
	if diff := cmp.Diff([]Key{{"shop", "api"}, k}, tr.Services()); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Key{k}, tr.SetHostPorts(pod, addr("10.0.0.1"), nil)); diff != "" {
		t.Errorf("without ports (-want +got):\n%s", diff)
	}
	if got := tr.DeleteHostPorts(pod); got != nil {
		t.Errorf("gone again touches %v", got)
	}
	if ports, err := tr.Resolve(k); ports != nil || err != nil {
		t.Errorf("gone, but resolves to %v, %v", ports, err)
	}
}

// TestHostPortConflicts holds who gets a port that several want, and that the
// others take over when it goes.
func TestHostPortConflicts(t *testing.T) {
	a, b, c := Key{"shop", "a"}, Key{"shop", "b"}, Key{"shop", "c"}
	for _, test := range []struct {
		name    string
		service bool              // one with this node port
		ports   map[Key][]PodPort // by pod
		want    map[Key]string    // what each has
		loses   map[Key]string    // who has it instead
	}{
		{"node port before host port", true, map[Key][]PodPort{a: {podPort("", 30080)}}, nil, map[Key]string{a: "shop/web"}},
		{"node port before those on one address", true, map[Key][]PodPort{a: {podPort("192.0.2.1", 30080)}, b: {podPort("192.0.2.2", 30080)}},
			nil, map[Key]string{a: "shop/web", b: "shop/web"}},
		{"other port than the node port's", true, map[Key][]PodPort{a: {podPort("", 30081)}}, map[Key]string{a: "shop/pod/a:30081"}, nil},
		{"two pods, by name", false, map[Key][]PodPort{a: {podPort("", 80)}, b: {podPort("", 80)}},
			map[Key]string{a: "shop/pod/a:80"}, map[Key]string{b: "shop/pod/a"}},
		{"two pods, an address each", false, map[Key][]PodPort{a: {podPort("192.0.2.1", 80)}, b: {podPort("192.0.2.2", 80)}},
			map[Key]string{a: "shop/pod/a:192.0.2.1:80", b: "shop/pod/b:192.0.2.2:80"}, nil},
		{"one address of two pods", false, map[Key][]PodPort{a: {podPort("192.0.2.1", 80)}, b: {podPort("192.0.2.1", 80)}},
			map[Key]string{a: "shop/pod/a:192.0.2.1:80"}, map[Key]string{b: "shop/pod/a"}},
		{"all addresses before one", false, map[Key][]PodPort{a: {podPort("192.0.2.1", 80)}, b: {podPort("192.0.2.2", 80)}, c: {podPort("", 80)}},
			map[Key]string{c: "shop/pod/c:80"}, map[Key]string{a: "shop/pod/c", b: "shop/pod/c"}},
		{"one pod, on all and on one", false, map[Key][]PodPort{a: {podPort("", 80), podPort("192.0.2.1", 80)}},
			map[Key]string{a: "shop/pod/a:80 shop/pod/a:192.0.2.1:80"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			tr := NewTracker()
			if test.service {
				tr.SetService(named("web", "10.100.0.1", withNodePort))
			}
			for pod, ports := range test.ports {
				tr.SetHostPorts(pod, addr("10.0.0.1"), ports)
			}
			for pod := range test.ports {
				got, err := hosts(t, tr, podKey(pod))
				if got != test.want[pod] {
					t.Errorf("%s has %q, want %q", pod, got, test.want[pod])
				}
				winner := test.loses[pod]
				if (err != nil) != (winner != "") || err != nil && !strings.Contains(err.Error(), winner+" has it") {
					t.Errorf("%s: %v, want that %q has it", pod, err, winner)
				}
			}
			if !test.service {
				return
			}
			touched := tr.DeleteService(web)
			for pod := range test.loses {
				if !strings.Contains(strings.Join(names(touched), " "), podKey(pod).String()) {
					t.Errorf("the end of the service touches %v, want %s among them", touched, podKey(pod))
				}
				if got, err := hosts(t, tr, podKey(pod)); got == "" || err != nil {
					t.Errorf("%s did not take over: %v", pod, err)
				}
			}
		})
	}
}

func names(keys []Key) (all []string) {
	for _, k := range keys {
		all = append(all, k.String())
	}
	return all
}

// TestLongPodNames holds that a key is no longer than a Service's, and one pod's.
func TestLongPodNames(t *testing.T) {
	long := strings.Repeat("a", 252)
	one, other := podKey(Key{"shop", long + "1"}), podKey(Key{"shop", long + "2"})
	if one == other {
		t.Errorf("two pods have key %s", one)
	}
	if n := len(strings.TrimPrefix(one.Name, "pod/")); n != longestPodName {
		t.Errorf("the name in a key has %d bytes, want %d", n, longestPodName)
	}
}
