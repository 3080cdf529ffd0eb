package echo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Probe is one question to a server.
type Probe struct {
	Proto  string        // "tcp", "udp" or "http"
	Target string        // host:port
	Bind   netip.Addr    // the source to use; zero leaves it to the kernel
	Size   int           // payload bytes
	Wait   time.Duration // for the whole exchange
}

// Result is the answer, seen from both ends.
type Result struct {
	Reply
	Client netip.AddrPort `json:"client"` // the caller's own end, before any translation
	Target netip.AddrPort `json:"target"` // whom the caller addressed
	RTT    time.Duration  `json:"rtt_ns"`
}

func (r Result) String() string {
	return fmt.Sprintf("%s client=%s target=%s source=%s server=%s host=%s bytes=%d rtt=%s",
		r.Proto, r.Client, r.Target, r.Source, r.Local, r.Host, r.Bytes, r.RTT.Round(time.Microsecond))
}

// Run asks once, on a connection of its own.
func (p Probe) Run(ctx context.Context) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Wait)
	defer cancel()
	start := time.Now()
	conn, err := p.Dial(ctx)
	if err != nil {
		return Result{RTT: time.Since(start)}, err
	}
	res, err := p.Ask(ctx, conn)
	res.RTT = time.Since(start)
	return res, err
}

// Ask asks over conn, which Dial has opened, and closes it.
func (p Probe) Ask(ctx context.Context, conn net.Conn) (Result, error) {
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, p.Wait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	res := Result{Client: addrPort(conn.LocalAddr()), Target: addrPort(conn.RemoteAddr())}
	answer, err := p.exchange(conn)
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer within %s", p.Wait)
	}
	if err == nil {
		err = json.Unmarshal(answer, &res.Reply)
	}
	if err != nil {
		return res, fmt.Errorf("asking %s over %s: %w", p.Target, p.Proto, err)
	}
	return res, nil
}

// Dial opens the connection, within p.Wait. The socket belongs to the network
// namespace of the calling thread.
func (p Probe) Dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: p.Wait}
	network := p.Proto
	switch p.Proto {
	case "tcp", "http":
		network = "tcp"
		if p.Bind.IsValid() {
			d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(p.Bind, 0))
		}
	case "udp":
		if p.Bind.IsValid() {
			d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(p.Bind, 0))
		}
	default:
		return nil, fmt.Errorf("protocol %q is not one of tcp, udp, http", p.Proto)
	}
	return d.DialContext(ctx, network, p.Target)
}

func (p Probe) exchange(conn net.Conn) ([]byte, error) {
	payload := append(bytes.Repeat([]byte{'x'}, max(p.Size-1, 0)), '\n')
	if p.Proto == "http" {
		return askHTTP(conn, payload)
	}
	if _, err := conn.Write(payload); err != nil {
		return nil, err
	}
	if p.Proto == "tcp" {
		return bufio.NewReader(conn).ReadBytes('\n')
	}
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	return buf[:n], err
}

func askHTTP(conn net.Conn, payload []byte) ([]byte, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+conn.RemoteAddr().String()+"/", bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	req.Close = true
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", resp.Status)
	}
	return io.ReadAll(resp.Body)
}
