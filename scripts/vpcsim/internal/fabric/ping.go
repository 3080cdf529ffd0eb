package fabric

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
)

// In runs do on a thread that is inside a place: sockets that it opens belong
// there and work from any goroutine.
func (f *Fabric) In(place string, do func() error) error {
	return namespace.Do(f.Space(place), do)
}

// Ping sends ICMP echo requests from a place, ten per second, until the target
// answers or ctx ends.
func (f *Fabric) Ping(ctx context.Context, place string, target netip.Addr) error {
	var conn *icmp.PacketConn
	err := f.In(place, func() (err error) {
		conn, err = icmp.ListenPacket("ip4:icmp", "0.0.0.0")
		return err
	})
	if err != nil {
		return fmt.Errorf("opening an ICMP socket in %s: %w", place, err)
	}
	defer conn.Close()
	request, err := (&icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: 0xec2, Seq: 1}}).Marshal(nil)
	if err != nil {
		return fmt.Errorf("making an echo request: %w", err)
	}
	for ctx.Err() == nil {
		// A failure to send is a missing route or an answer to an earlier
		// packet; either way it is too early.
		_, _ = conn.WriteTo(request, &net.IPAddr{IP: target.AsSlice()})
		if answered(conn, target, 100*time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("%s did not answer ping from %s: %w", target, place, ctx.Err())
}

// answered waits for an echo reply from target.
func answered(conn *icmp.PacketConn, target netip.Addr, wait time.Duration) bool {
	if conn.SetReadDeadline(time.Now().Add(wait)) != nil {
		return false
	}
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return false
		}
		m, err := icmp.ParseMessage(ipv4.ICMPTypeEcho.Protocol(), buf[:n])
		if err == nil && m.Type == ipv4.ICMPTypeEchoReply && from.String() == target.String() {
			return true
		}
	}
}
