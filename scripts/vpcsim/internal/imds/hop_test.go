package imds_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/imds"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/simulator"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// TestHopLimit reads the IP TTL off the server's socket after each answer.
func TestHopLimit(t *testing.T) {
	t.Run("IPv4", func(t *testing.T) { hopLimit(t, "127.0.0.1:0", unix.IPPROTO_IP, unix.IP_TTL) })
	t.Run("IPv6", func(t *testing.T) { hopLimit(t, "[::1]:0", unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS) })
}

func hopLimit(t *testing.T, address string, level, name int) {
	topo, err := topology.Parse([]byte("nodes: [{name: n1, subnet: a, metadata: {hopLimit: 3}}]"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := simulator.New(topo, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conns := make(chan net.Conn, 1)
	server := &http.Server{Handler: s.IMDS.ForNode("n1"), ConnContext: func(ctx context.Context, c net.Conn) context.Context {
		conns <- c
		return imds.ConnContext(ctx, c)
	}}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }() // ends with Close
	defer server.Close()                //nolint:errcheck // the test is over
	base := "http://" + l.Addr().String()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()

	token := send(t, client, "PUT", base+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	conn := <-conns
	if got := ttl(t, conn, level, name); got != 3 {
		t.Errorf("the token's answer has IP TTL %d, want 3", got)
	}
	if mac := send(t, client, "GET", base+"/latest/meta-data/mac", "X-aws-ec2-metadata-token", token); !strings.HasPrefix(mac, "02:") {
		t.Errorf("mac %q", mac)
	}
	if got := ttl(t, conn, level, name); got != 64 {
		t.Errorf("another answer on the same connection has IP TTL %d, want 64", got)
	}
}

// TestIdentityByAddress serves nodes by the address that they come from.
func TestIdentityByAddress(t *testing.T) {
	s, err := simulator.New(topology.Default(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, v := range s.Model.View().Interfaces {
		if got := instanceSeenFrom(t, s.IMDS, v.Addresses[0]); !strings.HasPrefix(got, "401") {
			t.Errorf("a request from %s: %s, want 401 for want of a token", v.Node, got)
		}
	}
	if got := instanceSeenFrom(t, s.IMDS, netip.MustParseAddr("10.0.0.1")); got != "reset" {
		t.Errorf("a request from a stranger: %s, want a reset", got)
	}
}

func send(t *testing.T, c *http.Client, method, url, header, value string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, value)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}

func ttl(t *testing.T, c net.Conn, level, name int) int {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var value int
	var option error
	if err := raw.Control(func(fd uintptr) { value, option = unix.GetsockoptInt(int(fd), level, name) }); err != nil || option != nil {
		t.Fatal(err, option)
	}
	return value
}

func instanceSeenFrom(t *testing.T, h http.Handler, client netip.Addr) (out string) {
	t.Helper()
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			out = "reset"
		} else if p != nil {
			panic(p)
		}
	}()
	w := &recorder{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://169.254.169.254/latest/meta-data/instance-id", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = netip.AddrPortFrom(client, 40000).String()
	h.ServeHTTP(w, r)
	return fmt.Sprint(w.status)
}

// recorder keeps the status of an answer.
type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) WriteHeader(status int)      { r.status = status }
