package kube

import (
	"context"
	"log/slog"
	"time"

	"k8s.io/utils/clock"
)

// quiet takes what client-go has to say down to Debug, but for errors: what it
// says of an API that is away is said by outage, once.
type quiet struct{ slog.Handler }

// Enabled is part of slog.Handler.
func (q quiet) Enabled(ctx context.Context, l slog.Level) bool {
	return q.Handler.Enabled(ctx, quieter(l))
}

// Handle is part of slog.Handler.
func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	r.Level = quieter(r.Level)
	return q.Handler.Handle(ctx, r)
}

// WithAttrs is part of slog.Handler.
func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

// WithGroup is part of slog.Handler.
func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

func quieter(l slog.Level) slog.Level {
	if l >= slog.LevelError {
		return l
	}
	return min(l, slog.LevelDebug)
}

// endingClock is the real clock, but nobody waits on it beyond the end: a
// reflector waits out its pauses whatever its context says.
type endingClock struct {
	clock.RealClock
	done <-chan struct{}
}

// After is part of clock.Clock.
func (c endingClock) After(d time.Duration) <-chan time.Time {
	at := make(chan time.Time, 1)
	timer := time.NewTimer(d)
	go func() {
		defer timer.Stop()
		select {
		case now := <-timer.C:
			at <- now
		case <-c.done:
			at <- time.Now()
		}
	}()
	return at
}
