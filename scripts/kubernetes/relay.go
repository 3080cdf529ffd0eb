package kubernetes

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/cluster"
)

// relay passes TCP connections from the machine's loopback device on to a port
// of the loopback device in a network namespace: users reach the API server
// without an address or a route of the VPC in the root namespace.
type relay struct {
	listener net.Listener
	dial     func(context.Context, string, string) (net.Conn, error)
	to       string
	cancel   context.CancelFunc
	tasks    sync.WaitGroup
}

func startRelay(netns string, port int) (*relay, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening the way to the API server: %w", err)
	}
	r := &relay{listener: listener, dial: cluster.DialIn(netns), to: fmt.Sprintf("127.0.0.1:%d", port)}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.tasks.Go(func() { r.serve(ctx) })
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

func (r *relay) serve(ctx context.Context) {
	for {
		near, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.tasks.Go(func() { r.pass(ctx, near) })
	}
}

// pass carries the bytes of one connection, until both sides have no more.
func (r *relay) pass(ctx context.Context, near net.Conn) {
	defer near.Close()
	soon, cancel := context.WithTimeout(ctx, 10*time.Second)
	far, err := r.dial(soon, "tcp4", r.to)
	cancel()
	if err != nil {
		return // the client sees its connection end
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() { near.Close(); far.Close() })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { flow(far, near) })
	both.Go(func() { flow(near, far) })
	both.Wait()
}

// flow copies one way and passes the end on. An error is the end, too.
func flow(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

func (r *relay) close() {
	r.listener.Close()
	r.cancel()
	r.tasks.Wait()
}
