package main

import (
	"context"
	"log/slog"
	"testing"
)

// TestListen tells an address that another proxy had until now from a free one.
func TestListen(t *testing.T) {
	listener, taken := listen(t.Context(), slog.New(slog.DiscardHandler), "SETTING", "127.0.0.1:0")
	if listener == nil || taken {
		t.Fatalf("a free address: %v, taken %t", listener, taken)
	}
	address := listener.Addr().String()
	said := make(chan struct{})
	log := slog.New(closing{slog.DiscardHandler, said})
	go func() { <-said; listener.Close() }()
	again, taken := listen(t.Context(), log, "SETTING", address)
	if again == nil || !taken {
		t.Fatalf("an address that was taken: %v, taken %t", again, taken)
	}
	defer again.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for what, ctx := range map[string]context.Context{"": t.Context(), again.Addr().String(): ended} {
		if l, _ := listen(ctx, slog.New(slog.DiscardHandler), "SETTING", what); l != nil {
			t.Errorf("%q: %v", what, l.Addr())
		}
	}
}

// closing closes a channel when something is logged.
type closing struct {
	slog.Handler
	said chan struct{}
}

func (closing) Enabled(context.Context, slog.Level) bool { return true }

func (c closing) Handle(context.Context, slog.Record) error { close(c.said); return nil }
