// Package echo is a server that tells each caller which source address it saw,
// over TCP, UDP and HTTP on one port, and the client that asks.
//
// Over TCP the caller sends a line and gets a Reply as a line of JSON, as often
// as it likes; a caller that begins with an HTTP method gets the Reply as an
// HTTP response. Over UDP every datagram is answered by a Reply, from the
// address that the datagram was sent to.
package echo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// Reply is what the server saw.
type Reply struct {
	Proto  string         `json:"proto"`  // "tcp", "udp" or "http"
	Source netip.AddrPort `json:"source"` // whom the server talks to
	Local  netip.AddrPort `json:"local"`  // the server's own end
	Host   string         `json:"host"`   // the server's name
	Bytes  int            `json:"bytes"`  // payload bytes that arrived
}

// idle is how long a TCP connection may be silent before the server ends it.
const idle = 10 * time.Minute

// Server answers on listeners that others have opened.
type Server struct {
	Host string // goes into every Reply
	// Grace is how long TCP connections may last after the end: each of them is
	// closed after its next answer, of which HTTP clients are told.
	Grace time.Duration
}

// ServeTCP answers connections until ctx ends, and closes l. It returns when
// there are no connections any more.
func (s Server) ServeTCP(ctx context.Context, l net.Listener) error {
	atLast, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var conns sync.WaitGroup
	for {
		conn, err := l.Accept()
		if err == nil {
			conns.Go(func() { s.answer(ctx, atLast, conn) })
			continue
		}
		if ctx.Err() == nil {
			return fmt.Errorf("accepting on %s: %w", l.Addr(), err)
		}
		timer := time.AfterFunc(s.Grace, cut)
		defer timer.Stop()
		conns.Wait()
		return nil
	}
}

// answer answers until one of both ends: after an answer, or atLast at any time.
func (s Server) answer(ctx, atLast context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(atLast, func() { conn.Close() })
	defer stop()
	if conn.SetDeadline(time.Now().Add(idle)) != nil {
		return
	}
	reply := Reply{Source: addrPort(conn.RemoteAddr()), Local: addrPort(conn.LocalAddr()), Host: s.Host}
	r := bufio.NewReaderSize(conn, 64<<10)
	if isHTTP(r) {
		answerHTTP(ctx, conn, r, reply)
		return
	}
	answerLines(ctx, conn, r, reply)
}

// isHTTP looks at the first byte before it waits for more: a line may be short.
func isHTTP(r *bufio.Reader) bool {
	first, err := r.Peek(1)
	if err != nil || !bytes.ContainsAny(first, "GHP") {
		return false
	}
	start, err := r.Peek(4)
	return err == nil && slices.ContainsFunc([]string{"GET ", "HEAD", "POST", "PUT "}, func(m string) bool {
		return bytes.Equal(start, []byte(m))
	})
}

func answerLines(ctx context.Context, conn net.Conn, r *bufio.Reader, reply Reply) {
	reply.Proto = "tcp"
	for {
		n := 0
		for {
			part, err := r.ReadSlice('\n')
			n += len(part)
			if err == nil {
				break
			}
			if !errors.Is(err, bufio.ErrBufferFull) {
				return
			}
		}
		reply.Bytes = n
		if json.NewEncoder(conn).Encode(reply) != nil || ctx.Err() != nil || conn.SetDeadline(time.Now().Add(idle)) != nil {
			return
		}
	}
}

func answerHTTP(ctx context.Context, conn net.Conn, r *bufio.Reader, reply Reply) {
	reply.Proto = "http"
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, req.Body)
		if err != nil {
			return
		}
		reply.Bytes = int(n)
		body, err := json.Marshal(reply)
		if err != nil {
			return
		}
		last := req.Close || ctx.Err() != nil
		resp := http.Response{
			StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: req, Close: last,
			Header:        http.Header{"Content-Type": {"application/json"}},
			ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
		}
		if resp.Write(conn) != nil || last {
			return
		}
	}
}

// ServeUDP answers datagrams until ctx ends, and closes conn.
func (s Server) ServeUDP(ctx context.Context, conn net.PacketConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	local := addrPort(conn.LocalAddr())
	socket, err := newPacketSocket(conn, local.Addr())
	if err != nil {
		return fmt.Errorf("asking for destination addresses on UDP %s: %w", local, err)
	}
	buf := make([]byte, 64<<10)
	for {
		n, at, from, err := socket.read(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading from UDP %s: %w", local, err)
		}
		reply, err := json.Marshal(Reply{
			Proto: "udp", Source: addrPort(from), Local: netip.AddrPortFrom(at, local.Port()), Host: s.Host, Bytes: n,
		})
		if err == nil {
			// A caller that cannot be reached is the caller's affair.
			_ = socket.write(reply, at, from)
		}
	}
}

// packetSocket is a UDP socket that knows to which of its addresses a datagram
// came, and can answer from there. It leaves the choice of the interface to
// routing, which is what is being observed.
type packetSocket struct {
	read  func([]byte) (n int, at netip.Addr, from net.Addr, err error)
	write func(b []byte, from netip.Addr, to net.Addr) error
}

func newPacketSocket(conn net.PacketConn, local netip.Addr) (packetSocket, error) {
	if local.Is4() {
		return newPacketSocket4(conn)
	}
	p := ipv6.NewPacketConn(conn)
	return packetSocket{
		read: func(b []byte) (int, netip.Addr, net.Addr, error) {
			n, cm, from, err := p.ReadFrom(b)
			if err != nil || cm == nil {
				return n, local, from, err
			}
			return n, addrOf(cm.Dst), from, nil
		},
		write: func(b []byte, from netip.Addr, to net.Addr) error {
			_, err := p.WriteTo(b, &ipv6.ControlMessage{Src: from.AsSlice()}, to)
			return err
		},
	}, p.SetControlMessage(ipv6.FlagDst, true)
}

func newPacketSocket4(conn net.PacketConn) (packetSocket, error) {
	p := ipv4.NewPacketConn(conn)
	return packetSocket{
		read: func(b []byte) (int, netip.Addr, net.Addr, error) {
			n, cm, from, err := p.ReadFrom(b)
			if err != nil || cm == nil {
				return n, netip.IPv4Unspecified(), from, err
			}
			return n, addrOf(cm.Dst), from, nil
		},
		write: func(b []byte, from netip.Addr, to net.Addr) error {
			_, err := p.WriteTo(b, &ipv4.ControlMessage{Src: from.AsSlice()}, to)
			return err
		},
	}, p.SetControlMessage(ipv4.FlagDst, true)
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func addrPort(a net.Addr) netip.AddrPort {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.TCPAddr:
		ap = a.AddrPort()
	case *net.UDPAddr:
		ap = a.AddrPort()
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
