package proxy_test

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// sender sends UDP from one socket, and waits for no answer.
type sender struct {
	w    *world
	conn *net.UDPConn
	to   netip.AddrPort
}

func (w *world) newSender(from *nstest.Namespace, to string) sender {
	w.t.Helper()
	var conn *net.UDPConn
	var err error
	from.Do(func() { conn, err = net.ListenUDP("udp", nil) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	return sender{w, conn, netip.MustParseAddrPort(to)}
}

// send sends a packet, and wants one pod to receive it, or with "" none.
func (s sender) send(text, want string) {
	s.w.t.Helper()
	s.write(text, s.to)
	if want != "" {
		s.receives(want, text)
	}
	for range 2 { // what comes to a pod directly, twice, overtakes nothing
		for name, p := range s.w.pods {
			s.write("end", netip.AddrPortFrom(p.addr, 8080))
			s.receives(name, "end")
		}
	}
}

func (s sender) write(text string, to netip.AddrPort) {
	s.w.t.Helper()
	_, err := s.conn.WriteToUDPAddrPort([]byte(text), to)
	for errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EHOSTUNREACH) { // said of an earlier packet
		_, err = s.conn.WriteToUDPAddrPort([]byte(text), to)
	}
	if err != nil {
		s.w.t.Fatal(err)
	}
}

func (s sender) receives(name, want string) {
	s.w.t.Helper()
	select {
	case got := <-s.w.pods[name].received:
		if got != want {
			s.w.t.Errorf("to %s: pod %s received %q, want %q", s.to, name, got, want)
		}
	case <-time.After(5 * time.Second):
		s.w.t.Errorf("to %s: pod %s did not receive %q", s.to, name, want)
	}
}

// eachSender has a pod that sends to the cluster IP, and a host outside that
// sends to the node port.
func (w *world) eachSender(each func(sender)) {
	w.t.Helper()
	for _, s := range []sender{w.newSender(w.pods["d"].Namespace, w.toCluster()), w.newSender(w.outside, w.toNode())} {
		w.set(w.shop(service.UDP), w.ready("a")...)
		s.send("first", "a")
		s.send("second", "a")
		each(s)
	}
}

// TestUDPEndpointReplaced is K6: a sender that never pauses follows at once.
func TestUDPEndpointReplaced(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.eachSender(func(s sender) {
			w.set(w.shop(service.UDP), w.ready("b")...)
			s.send("replaced", "b")
		})
	})
}

// between is a source in which something happens whenever it is asked.
type between struct {
	proxy.Source
	happens func()
}

func (b between) Resolve(k service.Key) ([]service.ServicePort, error) {
	defer b.happens()
	return b.Source.Resolve(k)
}

// TestUDPSweptBetween has a sweep of earlier changes come just before the rules
// are written, and the sender use the old ones once more.
func TestUDPSweptBetween(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.eachSender(func(s sender) {
			changed := w.tracker.SetSlice(service.EndpointSlice{
				Key: w.shop(service.UDP).Key, Service: "web", Family: w.Family, Endpoints: w.ready("b"),
				Ports: []service.EndpointPort{{Name: "p", Protocol: service.UDP, Port: 8080}},
			})
			source := between{w.tracker, func() {
				if _, err := w.proxy.SweepFlows(w.t.Context()); err != nil {
					w.t.Fatal(err)
				}
				s.send("not yet", "a")
			}}
			w.node.Do(func() {
				if _, err := w.proxy.SyncServices(w.t.Context(), source, changed, w.settings); err != nil {
					w.t.Fatal(err)
				}
				if _, err := w.proxy.SweepFlows(w.t.Context()); err != nil {
					w.t.Fatal(err)
				}
			})
			s.send("replaced", "b")
		})
	})
}

// TestUDPLastEndpointGone is K7: the old endpoint receives nothing more, and a
// later one receives everything.
func TestUDPLastEndpointGone(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.eachSender(func(s sender) {
			w.set(w.shop(service.UDP))
			s.send("gone", "")
			w.set(w.shop(service.UDP), w.ready("b")...)
			s.send("back", "b")
		})
	})
}

// TestUDPServiceDeleted is K8.
func TestUDPServiceDeleted(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.eachSender(func(s sender) {
			w.delete(w.shop(service.UDP))
			s.send("deleted", "")
		})
	})
}

// TestUDPTerminating is K9: the flow stays until the endpoint stops to serve.
func TestUDPTerminating(t *testing.T) {
	inEveryWay(t, func(w *world) {
		w.eachSender(func(s sender) {
			w.set(w.shop(service.UDP), append(w.ready("b"), terminating(w.ready("a"))...)...)
			s.send("terminating", "a")
			w.newSender(w.pods["c"].Namespace, w.toCluster()).send("new flow", "b")
			w.set(w.shop(service.UDP), w.ready("b")...)
			s.send("ended", "b")
		})
	})
}
