package kubernetes

import (
	"io"
	"net"
	"testing"
)

// TestRelay sends through a relay to a server that answers at the end of what
// it was sent, so that both ends must be passed on.
func TestRelay(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		c, err := server.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		text, _ := io.ReadAll(c) // what there was is sent back
		c.Write(append([]byte("got "), text...))
	}()
	r, err := startRelay("/proc/self/ns/net", server.Addr().(*net.TCPAddr).Port)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	c, err := net.Dial("tcp4", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "this"); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || string(got) != "got this" {
		t.Errorf("through the relay: %q, %v; want %q", got, err, "got this")
	}
}

// TestRelayEnds closes a relay that has an idle connection.
func TestRelayEnds(t *testing.T) {
	server, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r, err := startRelay("/proc/self/ns/net", server.Addr().(*net.TCPAddr).Port)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", r.address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	far, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	r.close()
	if got, _ := io.ReadAll(c); len(got) > 0 { // it returns: the connection has ended
		t.Errorf("a relay that was closed says %q; want nothing", got)
	}
}
