package echo

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// dialLimit is how long a relay tries to reach the far end.
const dialLimit = 5 * time.Second

// Relay passes the bytes of each connection on over one of its own to another
// address, until ctx ends, and closes l. A client whose connection leads
// nowhere is hung up on.
func Relay(ctx context.Context, l net.Listener, to string) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("accepting on %s: %w", l.Addr(), err)
		}
		go relay(ctx, conn, to)
	}
}

func relay(ctx context.Context, client net.Conn, to string) {
	defer client.Close()
	d := net.Dialer{Timeout: dialLimit}
	server, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(way[1], way[0]) // either end may break off; both are closed then
			done <- struct{}{}
		}()
	}
	<-done
}
