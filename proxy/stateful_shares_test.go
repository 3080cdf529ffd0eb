package proxy_test

import (
	"flag"
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/proxy/service"
)

var connections = flag.Int("connections", 1500, "connections to every number of endpoints")

// crowd answers at many addresses in the pod a.
type crowd struct {
	first netip.Addr // the others follow it
	mu    sync.Mutex
	count map[netip.Addr]int
}

const crowdPort = 9090

// newCrowd routes a block of addresses to the pod, all of which it answers at.
func (w *world) newCrowd() *crowd {
	w.t.Helper()
	block, listen := netip.MustParsePrefix("192.168.3.0/24"), "tcp4"
	if w.Family == service.IPv6 {
		block, listen = netip.MustParsePrefix("fd00:3::/64"), "tcp6"
	}
	c, a := &crowd{first: block.Addr().Next(), count: map[netip.Addr]int{}}, w.pods["a"]
	a.Run("ip", "route", "add", "local", block.String(), "dev", "lo")
	w.node.Run("ip", "route", "add", block.String(), "via", a.addr.String(), "dev", "enia")
	var l net.Listener
	var err error
	a.Do(func() { l, err = net.Listen(listen, fmt.Sprintf(":%d", crowdPort)) })
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.count[conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()]++
			c.mu.Unlock()
			go func() {
				defer conn.Close()
				conn.Write([]byte("."))
				conn.Read(make([]byte, 1)) // the client ends it
			}()
		}
	}()
	return c
}

// join makes the first n of the crowd the endpoints of a service.
func (w *world) join(c *crowd, n int) {
	w.t.Helper()
	s := w.shop(service.TCP)
	var all []service.Endpoint
	for i := range n {
		all = append(all, service.Endpoint{Addr: plus(c.first, i), Ready: true, Serving: true, Node: "here"})
	}
	changed := w.tracker.SetService(s)
	w.sync(append(changed, w.tracker.SetSlice(service.EndpointSlice{
		Key: s.Key, Service: s.Name, Family: w.Family, Endpoints: all,
		Ports: []service.EndpointPort{{Name: "p", Protocol: service.TCP, Port: crowdPort}},
	})...))
}

// TestShares is K20: every endpoint gets its share, within five times the
// standard deviation of a fair choice.
func TestShares(t *testing.T) {
	inEveryWay(t, func(w *world) {
		c := w.newCrowd()
		for _, n := range []int{2, 3, 5, 7, 100} {
			w.join(c, n)
			c.mu.Lock()
			clear(c.count)
			c.mu.Unlock()
			w.pods["d"].Do(func() {
				for range *connections {
					conn, err := net.DialTimeout("tcp", w.toCluster(), 5*time.Second)
					if err != nil {
						t.Errorf("%d endpoints: %v", n, err)
						return
					}
					conn.Read(make([]byte, 1))
					conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				}
			})
			c.mu.Lock()
			share := 1 / float64(n)
			fair, far := float64(*connections)*share, 5*math.Sqrt(float64(*connections)*share*(1-share))
			total := 0
			for i := range n {
				got := c.count[plus(c.first, i)]
				total += got
				if math.Abs(float64(got)-fair) > far {
					t.Errorf("endpoint %d of %d got %d connections, want %.0f±%.0f", i, n, got, fair, far)
				}
			}
			if total != *connections {
				t.Errorf("%d endpoints got %d connections, want %d", n, total, *connections)
			}
			c.mu.Unlock()
		}
	})
}

// TestAffinityOfMany is K5: 150 clients stay with the endpoint that they went
// to, also when there are others later; kube-proxy's rules remember 100.
func TestAffinityOfMany(t *testing.T) {
	inEveryWay(t, func(w *world) {
		const many = 150
		w.set(w.affine(time.Hour), w.ready("a")...)
		w.clients(many)
		w.set(w.affine(time.Hour), w.ready("a", "b", "c")...)
		moved := 0
		for _, pod := range w.clients(many) {
			if pod != "a" {
				moved++
			}
		}
		if moved > 0 {
			t.Errorf("%d of %d clients moved", moved, many)
		}
	})
}
