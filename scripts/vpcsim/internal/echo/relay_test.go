package echo

import (
	"context"
	"net"
	"testing"
	"time"
)

// TestRelay asks a server through a relay, which the server takes for its
// client, and has another one hang up because it leads nowhere.
func TestRelay(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	listen := func() net.Listener {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	server, front, lost := listen(), listen(), listen()
	nowhere := listen()
	if err := nowhere.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 3)
	go func() { ended <- Server{Host: "h"}.ServeTCP(ctx, server) }()
	go func() { ended <- Relay(ctx, front, server.Addr().String()) }()
	go func() { ended <- Relay(ctx, lost, nowhere.Addr().String()) }()
	for _, proto := range []string{"tcp", "http"} {
		got, err := Probe{Proto: proto, Target: front.Addr().String(), Size: 8000, Wait: 5 * time.Second}.Run(ctx)
		if err != nil || got.Local != addrPort(server.Addr()) || got.Source == got.Client || got.Bytes != 8000 {
			t.Errorf("%s: %v, %v", proto, got, err)
		}
		if got, err := (Probe{Proto: proto, Target: lost.Addr().String(), Size: 1, Wait: 5 * time.Second}).Run(ctx); err == nil {
			t.Errorf("%s through a relay to nowhere: %v", proto, got)
		}
	}
	cancel()
	for range cap(ended) {
		if err := <-ended; err != nil {
			t.Errorf("it did not stop cleanly: %v", err)
		}
	}
}
