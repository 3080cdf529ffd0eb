package echo

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestProbe asks a server on loopback over every protocol.
func TestProbe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// On all addresses, so that the answer has to choose the right one.
	u, err := net.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 2)
	go func() { served <- Server{Host: "h"}.ServeTCP(ctx, l) }()
	go func() { served <- Server{Host: "h"}.ServeUDP(ctx, u) }()
	_, udpPort, err := net.SplitHostPort(u.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	for proto, target := range map[string]string{
		"tcp": l.Addr().String(), "http": l.Addr().String(), "udp": net.JoinHostPort("127.0.0.1", udpPort),
	} {
		for _, size := range []int{1, 8000} {
			got, err := Probe{Proto: proto, Target: target, Size: size, Wait: 5 * time.Second}.Run(ctx)
			if err != nil {
				t.Errorf("%s, %d bytes: %v", proto, size, err)
				continue
			}
			want := Reply{Proto: proto, Source: got.Client, Local: got.Target, Host: "h", Bytes: size}
			if got.Reply != want || got.Target.String() != target {
				t.Errorf("%s, %d bytes: got %v, want reply %v from %s", proto, size, got, want, target)
			}
		}
	}
	cancel()
	for range 2 {
		if err := <-served; err != nil {
			t.Errorf("server did not stop cleanly: %v", err)
		}
	}
}

// TestProbeFails says what went wrong.
func TestProbeFails(t *testing.T) {
	u, err := net.ListenPacket("udp4", "127.0.0.1:0") // hears and is silent
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	p := Probe{Proto: "udp", Target: u.LocalAddr().String(), Wait: 50 * time.Millisecond}
	if _, err := p.Run(t.Context()); err == nil {
		t.Error("a silent server was taken for an answer")
	}
	p.Proto = "icmp"
	if _, err := p.Run(t.Context()); err == nil {
		t.Error("an unknown protocol was accepted")
	}
}

// TestGrace ends a server: a connection is answered once more and told that this
// was the last time, and one that is silent is cut.
func TestGrace(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- Server{Grace: time.Second}.ServeTCP(ctx, l) }()
	silent, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	conn, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	for _, last := range []bool{false, true} {
		if last {
			cancel()
		}
		if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: h\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Close != last {
			t.Errorf("an answer says %t that it is the last one, want %t", resp.Close, last)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]net.Conn{"answered": conn, "silent": silent} {
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Errorf("the %s connection goes on", name)
		}
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
