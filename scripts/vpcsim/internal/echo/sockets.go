package echo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sync/errgroup"
)

// Sockets is one port to serve on, over TCP and UDP.
type Sockets struct {
	tcp net.Listener
	udp []net.PacketConn
}

// Open opens the sockets for "host:port", or for ":port" on every address of
// both families. They belong to the network namespace of the calling thread.
func Open(ctx context.Context, addr string) (Sockets, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return Sockets{}, fmt.Errorf("listen address %q is not host:port: %w", addr, err)
	}
	var lc net.ListenConfig
	var s Sockets
	if s.tcp, err = lc.Listen(ctx, "tcp", addr); err != nil {
		return Sockets{}, fmt.Errorf("opening the echo port: %w", err)
	}
	// One UDP socket per family: only such a socket can answer an IPv4 datagram
	// from the address that it came to.
	hosts := []string{host}
	if host == "" {
		hosts = []string{"0.0.0.0", "::"}
	}
	for _, h := range hosts {
		network := "udp4"
		if strings.Contains(h, ":") {
			network = "udp6"
		}
		conn, err := lc.ListenPacket(ctx, network, net.JoinHostPort(h, port))
		if err != nil {
			return Sockets{}, errors.Join(fmt.Errorf("opening the echo port: %w", err), s.Close())
		}
		s.udp = append(s.udp, conn)
	}
	return s, nil
}

// Close closes sockets that are not going to be served.
func (s Sockets) Close() error {
	errs := []error{s.tcp.Close()}
	for _, u := range s.udp {
		errs = append(errs, u.Close())
	}
	return errors.Join(errs...)
}

// Serve answers on the sockets until ctx ends, and closes them.
func (s Server) Serve(ctx context.Context, sockets Sockets) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.ServeTCP(ctx, sockets.tcp) })
	for _, u := range sockets.udp {
		group.Go(func() error { return s.ServeUDP(ctx, u) })
	}
	return group.Wait()
}
