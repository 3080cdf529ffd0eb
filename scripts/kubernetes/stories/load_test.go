//go:build cluster

package stories

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// Pace of a load.
const (
	newPause     = 20 * time.Millisecond // between new connections
	sessionPause = 50 * time.Millisecond // between lines on those that stay
	patience     = 3 * time.Second       // for an answer
)

// load asks an echo server without end, from one network namespace: by new
// connections, and by sessions that stay.
type load struct {
	s      story
	name   string
	dial   func(context.Context, string, string) (net.Conn, error)
	to     string
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu    sync.Mutex
	count count
}

// count is what a load saw.
type count struct {
	made    int           // new connections that were answered
	failed  []string      // those that were not
	broken  []string      // sessions
	slowest time.Duration // of the new connections
	when    time.Time     // that one was begun
}

// load starts a load with so many sessions, which are there when it returns.
// The file is of a network namespace, as Node.Netns opens it; the load closes it.
func (s story) load(name string, netns *os.File, to netip.AddrPort, sessions int) *load {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	l := &load{s: s, name: name, dial: cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", netns.Fd())), to: to.String(), cancel: cancel}
	s.Cleanup(func() { cancel(); l.tasks.Wait(); netns.Close() })
	for range sessions {
		c, err := l.open(ctx)
		if err != nil {
			s.Fatalf("%s: %v", name, err)
		}
		l.tasks.Go(func() { l.stay(ctx, c) })
	}
	l.tasks.Go(func() { l.come(ctx) })
	return l
}

// fromPod is the namespace of a pod that runs.
func (s story) fromPod(pod string) *os.File {
	s.Helper()
	var host, addr string
	if _, err := fmt.Sscan(s.kubectl("get", "pod", pod, "-o", "jsonpath={.status.hostIP} {.status.podIP}"), &host, &addr); err != nil {
		s.Fatalf("addresses of pod %s: %v", pod, err)
	}
	file, err := s.node(host).Netns(netip.MustParseAddr(addr))
	if err != nil {
		s.Fatal(err)
	}
	return file
}

// fromPlace is the namespace of a host beyond the nodes: internet or peer.
func (s story) fromPlace(place string) *os.File {
	s.Helper()
	file, err := os.Open(s.cluster.Netns(place))
	if err != nil {
		s.Fatal(err)
	}
	return file
}

// node is the one with an address.
func (s story) node(addr string) *kubernetes.Node {
	s.Helper()
	for _, n := range s.cluster.Nodes {
		if n.Addr.String() == addr {
			return n
		}
	}
	s.Fatalf("no node has the address %s", addr)
	return nil
}

// answers connects to the echo server of a pod.
func (s story) answers(from *os.File, to netip.Addr, port uint16) error {
	ctx, cancel := context.WithTimeout(s.ctx, time.Second)
	defer cancel()
	conn, err := cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", from.Fd()))(ctx, "tcp4", netip.AddrPortFrom(to, port).String())
	if err != nil {
		return err
	}
	return conn.Close()
}

func (l *load) open(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return l.dial(ctx, "tcp4", l.to)
}

// ask sends a line and reads the answer's.
func ask(c net.Conn, r *bufio.Reader) error {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("\n")); err != nil {
		return err
	}
	_, err := r.ReadString('\n')
	return err
}

// whom asks an echo server for its address.
func whom(c net.Conn) (netip.Addr, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return netip.Addr{}, err
	}
	if _, err := c.Write([]byte("\n")); err != nil {
		return netip.Addr{}, err
	}
	var answer struct{ Local netip.AddrPort }
	err := json.NewDecoder(c).Decode(&answer) // a datagram's has no end of line
	return answer.Local.Addr(), err
}

func (l *load) come(ctx context.Context) {
	for tick(ctx, newPause) {
		start := time.Now()
		c, err := l.open(ctx)
		if err == nil {
			err = ask(c, bufio.NewReader(c))
			c.Close()
		}
		if ctx.Err() != nil {
			return
		}
		l.mu.Lock()
		if err != nil {
			l.count.failed = append(l.count.failed, fmt.Sprintf("%s: %v", clock(start), err))
		} else {
			l.count.made++
			if took := time.Since(start); took > l.count.slowest {
				l.count.slowest, l.count.when = took, start
			}
		}
		l.mu.Unlock()
	}
}

func (l *load) stay(ctx context.Context, c net.Conn) {
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	for r := bufio.NewReader(c); tick(ctx, sessionPause); {
		if err := ask(c, r); err != nil && ctx.Err() == nil {
			l.mu.Lock()
			l.count.broken = append(l.count.broken, fmt.Sprintf("%s: %v", clock(time.Now()), err))
			l.mu.Unlock()
			return
		}
	}
}

// tick waits; false is the end.
func tick(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

func clock(t time.Time) string { return t.Format("15:04:05.000") }

// end ends the load, and fails the story if a connection failed or broke.
func (l *load) end() {
	l.s.Helper()
	l.cancel()
	l.tasks.Wait()
	n := l.count
	l.s.number(l.name+": failed new connections", float64(len(n.failed)), "of %d, slowest %s at %s", n.made+len(n.failed), n.slowest.Round(time.Millisecond), clock(n.when))
	l.s.number(l.name+": broken sessions", float64(len(n.broken)), "")
	if n.made < 50 || len(n.failed)+len(n.broken) > 0 {
		l.s.Errorf("%s: %d connections made, failed %q, broken sessions %q; want at least 50 made, and none failed or broken", l.name, n.made, n.failed, n.broken)
	}
}
