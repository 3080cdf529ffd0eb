package pool

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// sandbox is a request of a container of a pod for ports of all addresses or
// of one, as "8080/tcp" or "192.0.2.1:8080/tcp".
func sandbox(container, pod string, ports ...HostPort) Request {
	return Request{Key: Key{"net", container, "eth0"}, Pod: Pod{Namespace: "default", Name: pod}, Ports: ports}
}

func tcp(port uint16) HostPort { return HostPort{Port: port, Container: 80, Protocol: "tcp"} }

func tcpOn(at string, port uint16) HostPort {
	h := tcp(port)
	h.Addr = addr(at)
	return h
}

func TestPortsFree(t *testing.T) {
	udp := tcp(8080)
	udp.Protocol = "udp"
	for _, test := range []struct {
		name  string
		holds Request
		wants Request
		says  []string // of the refusal; nil for none
	}{
		{"no ports", sandbox("c1", "a", tcp(8080)), sandbox("c2", "b"), nil},
		{"another port", sandbox("c1", "a", tcp(8080)), sandbox("c2", "b", tcp(8081)), nil},
		{"another protocol", sandbox("c1", "a", tcp(8080)), sandbox("c2", "b", udp), nil},
		{"the same port", sandbox("c1", "a", tcp(8080)), sandbox("c2", "b", tcp(1), tcp(8080)), []string{"host port 8080/tcp", "pod default/a", "container c1"}},
		{"an address each", sandbox("c1", "a", tcpOn("192.0.2.1", 8080)), sandbox("c2", "b", tcpOn("192.0.2.2", 8080)), nil},
		{"one address of all", sandbox("c1", "a", tcp(8080)), sandbox("c2", "b", tcpOn("192.0.2.2", 8080)), []string{"host port 192.0.2.2:8080/tcp", "has 8080/tcp"}},
		{"all addresses, one taken", sandbox("c1", "a", tcpOn("192.0.2.2", 8080)), sandbox("c2", "b", tcp(8080)), []string{"has 192.0.2.2:8080/tcp"}},
		{"an older sandbox", sandbox("c1", "a", tcp(8080)), sandbox("c2", "a", tcp(8080)), nil},
		{"the same container", sandbox("c1", "", tcp(8080)), sandbox("c1", "", tcp(8080)), nil},
		{"two without a name", sandbox("c1", "", tcp(8080)), sandbox("c2", "", tcp(8080)), []string{"container c1"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := New(settings)
			p.Observe([]ENI{eni(0, 3)}, true, t0)
			ready(p, 0)
			held, _, ok := p.Assign(test.holds, t0)
			if !ok {
				t.Fatal("no address")
			}
			err := p.PortsFree(test.wants)
			var taken *PortTaken
			if errors.As(err, &taken) != (test.says != nil) {
				t.Fatalf("got %v, want one that says %q", err, test.says)
			}
			for _, words := range test.says {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("%q does not say %q", err, words)
				}
			}
			p.Release(held.Key, "", nil, t0)
			if err := p.PortsFree(test.wants); err != nil {
				t.Errorf("after the holder's release: %v", err)
			}
		})
	}
}

// TestForwarded holds that a pod's youngest sandbox has its host ports.
func TestForwarded(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 9)}, true, t0)
	ready(p, 0)
	for i, r := range []Request{sandbox("a-old", "a", tcp(1)), sandbox("a-new", "a", tcp(1)), sandbox("b", "b"), sandbox("c", "c", tcp(2)), sandbox("d", "", tcp(3))} {
		if _, _, ok := p.Assign(r, t0.Add(time.Duration(i)*time.Second)); !ok {
			t.Fatal("no address for", r.Key)
		}
	}
	var got []string
	for _, a := range p.Forwarded() {
		got = append(got, a.Key.ContainerID+" "+a.Ports[0].String())
	}
	want(t, got, "a-new 1/tcp", "c 2/tcp", "d 3/tcp")
}
