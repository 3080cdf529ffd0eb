package nft

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/service"
)

// crowd is many endpoints in the namespace of one pod, which count datagrams.
type crowd struct {
	at     []netip.AddrPort
	counts []atomic.Int64
}

func (l *lab) crowd(n int) *crowd {
	l.t.Helper()
	c := &crowd{counts: make([]atomic.Int64, n)}
	l.node.Run("ip", "route", "add", "10.9.0.0/16", "via", l.at.pods[1], "dev", "eni1", "onlink")
	l.pods[1].Run("ip", "route", "add", "local", "10.9.0.0/16", "dev", "lo")
	for i := range n {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), 8080)
		c.at = append(c.at, at)
		var conn *net.UDPConn
		var err error
		l.pods[1].Do(func() { conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at)) })
		if err != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() { conn.Close() })
		raw, err := conn.SyscallConn()
		if err != nil {
			l.t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { // one endpoint may get all datagrams faster than it reads
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
		})
		if err != nil {
			l.t.Fatal(err)
		}
		go func() {
			buffer := make([]byte, 16)
			for {
				if _, _, err := conn.ReadFromUDPAddrPort(buffer); err != nil {
					return
				}
				c.counts[i].Add(1)
			}
		}()
	}
	return c
}

// port is a service-port with the first n endpoints of the crowd.
func (c *crowd) port(l *lab, n int) service.ServicePort {
	p := service.ServicePort{
		Name: service.PortName{Key: service.Key{Namespace: "ns", Name: "crowd"}, Protocol: service.UDP}, Family: service.IPv4,
		ClusterIP: netip.MustParseAddr(l.at.vip), Port: 53, Anywhere: true,
	}
	for _, at := range c.at[:n] {
		p.Cluster = append(p.Cluster, service.Target{AddrPort: at})
	}
	return p
}

// send opens connections, and returns how many each endpoint got.
func (c *crowd) send(t *testing.T, l *lab, connections int) []int64 {
	t.Helper()
	before := c.read()
	l.node.Run("conntrack", "-F")
	l.pods[0].Do(func() {
		for i := range connections { // a port that comes twice would be one connection
			conn, err := net.DialUDP("udp4", &net.UDPAddr{Port: 10000 + i}, net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(l.at.vip), 53)))
			if err != nil {
				t.Error(err)
				return
			}
			conn.Write([]byte("?"))
			conn.Close()
		}
	})
	deadline := time.Now().Add(5 * time.Second)
	for {
		after, total := c.read(), int64(0)
		for i := range after {
			after[i] -= before[i]
			total += after[i]
		}
		if total == int64(connections) {
			return after
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d connections arrived", total, connections)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *crowd) read() []int64 {
	all := make([]int64, len(c.counts))
	for i := range all {
		all[i] = c.counts[i].Load()
	}
	return all
}

// TestEqualShares holds the share of every endpoint to 5 sigma.
func TestEqualShares(t *testing.T) {
	l := newLab(t, v4)
	l.open()
	c := l.crowd(1000)
	for _, n := range []int{1, 2, 3, 5, 7, 10, 16, 17, 33, 100, 1000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			p := c.port(l, n)
			l.table.Set(p.Name.Key, []service.ServicePort{p})
			mustSync(t, l.table)
			const connections = 10000
			got := c.send(t, l, connections)
			share := 1 / float64(n)
			mean, sigma := connections*share, math.Sqrt(connections*share*(1-share))
			for i, g := range got {
				switch {
				case i >= n && g > 0:
					t.Errorf("endpoint %d is not one of the service's, and got %d connections", i, g)
				case i < n && math.Abs(float64(g)-mean) > 5*sigma+0.5:
					t.Errorf("endpoint %d got %d connections, want %.0f +- %.0f", i, g, mean, 5*sigma)
				}
			}
		})
	}
}
