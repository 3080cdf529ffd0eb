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
const listenEvery = 5 * time.Second

// serveHTTP serves on an address until ctx ends; the empty address means not
// at all. That it is taken, by an agent that is being replaced say, stops
// nothing else: it is tried again. The setting is named in the log.
func serveHTTP(ctx context.Context, log *slog.Logger, setting, address string, h http.Handler) error {
	if address == "" {
		return nil
	}
	for said := false; ctx.Err() == nil; said = true {
		listener, err := net.Listen("tcp", address)
		if err == nil {
			return serveOn(ctx, listener, h)
		}
		if !said {
			log.Error("nothing is served there for now", setting, address, "error", err, "retry_every", listenEvery)
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenEvery):
		}
	}
	return nil
}

func serveOn(ctx context.Context, listener net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return nil
}
