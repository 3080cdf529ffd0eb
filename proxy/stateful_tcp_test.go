package proxy_test

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/service"
)

// affine is the service with affinity.
func (w *world) affine(d time.Duration) service.Service {
	s := w.shop(service.TCP)
	s.Affinity = d
	return s
}

// TestAffinity is K1, K3 and K4: a client stays with one endpoint, whatever
// front end it uses, until that one is not ready.
func TestAffinity(t *testing.T) {
	inEveryWay(t, func(w *world) {
		client := w.pods["d"].Namespace
		w.set(w.affine(time.Hour), w.ready("a", "b", "c")...)
		count := w.reached(client, w.toCluster(), 50)
		if len(count) != 1 {
			t.Fatalf("K1: 50 connections reached %v, want one pod", count)
		}
		sticky := slices.Collect(maps.Keys(count))[0]
		if diff := cmp.Diff(map[string]int{sticky: 20}, w.reached(client, w.toNode(), 20)); diff != "" {
			t.Errorf("K4: by the node port (-want +got):\n%s", diff)
		}
		left := slices.DeleteFunc([]string{"a", "b", "c"}, func(name string) bool { return name == sticky })
		gone := w.ready(sticky)
		gone[0].Ready, gone[0].Serving = false, false
		w.set(w.affine(time.Hour), append(w.ready(left...), gone...)...)
		count = w.reached(client, w.toCluster(), 20)
		if len(count) != 1 || count[sticky] > 0 {
			t.Errorf("K3: 20 connections reached %v, want one pod other than %s", count, sticky)
		}
	})
}

// TestAffinityEnds is K2: of 30 clients that pause for longer than affinity
// lasts, some move. That none does has a probability of 3^-30.
func TestAffinityEnds(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.set(w.affine(time.Second), w.ready("a", "b", "c")...)
		before := w.clients(30)
		<-time.After(3 * time.Second)
		if after := w.clients(30); maps.Equal(before, after) {
			t.Errorf("all went where they were before: %v", after)
		}
	})
}

// clients connects once from each of many addresses outside, and says whom
// they reached.
func (w *world) clients(n int) map[int]string {
	w.t.Helper()
	reached := map[int]string{}
	for i := range n {
		addr := plus(w.outsideIP, 90+i)
		addAddr(w.outside, addr)
		s, err := w.dialFrom(w.outside, net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0)), w.toCluster())
		if err != nil {
			w.t.Fatal(err)
		}
		s.Conn.Close()
		reached[i] = s.pod()
	}
	return reached
}

// TestTCPTerminating is K10: connections outlive that their endpoint
// terminates, and new ones avoid it.
func TestTCPTerminating(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.set(w.shop(service.TCP), w.ready("a")...)
		for _, s := range []session{w.mustDial(w.pods["d"].Namespace, w.toCluster()), w.mustDial(w.outside, w.toNode())} {
			w.set(w.shop(service.TCP), append(w.ready("b"), terminating(w.ready("a"))...)...)
			if diff := cmp.Diff(map[string]int{"b": 20}, w.reached(w.outside, w.toNode(), 20)); diff != "" {
				t.Errorf("new connections (-want +got):\n%s", diff)
			}
			if err := s.works(); err != nil || s.pod() != "a" {
				t.Errorf("the connection to %s: %v", s.pod(), err)
			}
		}
	})
}

// TestTCPNoEndpoints is K11: connections outlive that all endpoints leave the
// service, and new ones are refused.
func TestTCPNoEndpoints(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.set(w.shop(service.TCP), w.ready("a")...)
		sessions := []session{w.mustDial(w.pods["d"].Namespace, w.toCluster()), w.mustDial(w.outside, w.toNode())}
		w.set(w.shop(service.TCP))
		if s, err := w.dial(w.pods["d"].Namespace, w.toCluster()); err == nil {
			t.Errorf("a new connection reached %s", s.greeting)
		}
		for _, s := range sessions {
			if err := s.works(); err != nil {
				t.Errorf("the connection to %s: %v", s.RemoteAddr(), err)
			}
		}
		w.delete(w.shop(service.TCP))
		for _, s := range sessions {
			if err := s.works(); err != nil {
				t.Errorf("the connection to %s, with the service deleted: %v", s.RemoteAddr(), err)
			}
		}
	})
}

// TestHairpin is K13: a pod reaches itself, and sees the node.
func TestHairpin(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.set(w.shop(service.TCP), w.ready("a")...)
		for _, to := range []string{w.toCluster(), w.toNode()} {
			if got, want := w.mustDial(w.pods["a"].Namespace, to).greeting, "a sees "+w.nodeIP.String(); got != want {
				t.Errorf("%s: %q, want %q", to, got, want)
			}
		}
	})
}
