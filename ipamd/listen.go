package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// listenEvery is how often an address that is taken is tried again.
const listenEvery = time.Second

// serveHTTP serves on an address until ctx ends; the empty address means not
// at all. That it is taken, by an agent that is being replaced say, stops
// nothing else: it is tried again. The setting is named in the log.
func serveHTTP(ctx context.Context, log *slog.Logger, setting, address string, h http.Handler) error {
	listener, _ := listen(ctx, log, setting, address)
	return serveOn(ctx, listener, h)
}

// listen waits for an address, and says whether it was taken until now. nil is
// the end of ctx, or the empty address.
func listen(ctx context.Context, log *slog.Logger, setting, address string) (listener net.Listener, taken bool) {
	if address == "" {
		return nil, false
	}
	for ; ctx.Err() == nil; taken = true {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return listener, taken
		}
		if !taken {
			log.Error("nothing is served there for now", setting, address, "error", err, "retry_every", listenEvery)
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenEvery):
		}
	}
	return nil, false
}

// serveOn serves until ctx ends; without a listener not at all.
func serveOn(ctx context.Context, listener net.Listener, h http.Handler) error {
	if listener == nil {
		return nil
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return nil
}
