package imds

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// plainTTL is the IP TTL of answers that carry no token.
const plainTTL = 64

type connKey struct{}

// ConnContext remembers a request's connection. Set it as the ConnContext of
// the http.Server, so that answers with tokens can be given the IP TTL of the
// node's hop limit; without it they have the system's.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// setTTL sets the IP TTL, or IPv6 hop limit, of what the connection sends from
// now on.
func setTTL(r *http.Request, ttl int) error {
	conn, _ := r.Context().Value(connKey{}).(net.Conn)
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	level, name := unix.IPPROTO_IP, unix.IP_TTL
	if local, err := netip.ParseAddrPort(conn.LocalAddr().String()); err == nil && local.Addr().Unmap().Is6() {
		level, name = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching the socket of a metadata connection: %w", err)
	}
	var option error
	err = raw.Control(func(fd uintptr) {
		option = unix.SetsockoptInt(int(fd), level, name, ttl)
	})
	if err == nil {
		err = option
	}
	if err != nil {
		return fmt.Errorf("setting the IP TTL of a metadata connection to %d: %w", ttl, err)
	}
	return nil
}
