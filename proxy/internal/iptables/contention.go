package iptables

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// lockSeconds is how long one attempt waits for the xtables lock. The
	// program gets it as soon as it is free; only what waits longer is counted.
	lockSeconds = 1
	// lockPatience is how long we come back for the lock in all.
	lockPatience = 15 * time.Second
	// busyPatience is the same for other signs of a program at work, which may
	// as well be signs of a rule that can never be written.
	busyPatience = time.Second
	// firstPause comes before the second attempt; each one after is twice as
	// long, to maxPause.
	firstPause, maxPause = 10 * time.Millisecond, 320 * time.Millisecond
	// exitResource is the exit status for a held lock, or a table that
	// changed under the program's hands (iptables(8), RESOURCE_PROBLEM).
	exitResource = 4
)

// Counts are since the backend was opened.
type Counts struct {
	// Contended is how often an attempt failed because another program held
	// the lock or changed the same table, and was made again.
	Contended uint64
	// Failed is how many writes failed in the end.
	Failed uint64
}

type counters struct{ contended, failed atomic.Uint64 }

// Counts returns what was counted. Any goroutine may call it at any time.
func (b *Backend) Counts() Counts {
	return Counts{b.counters.contended.Load(), b.counters.failed.Load()}
}

// write repeats what failed only because another program was at work.
func (c *counters) write(ctx context.Context, attempt func() error) error {
	began, pause := time.Now(), firstPause
	for attempts := 1; ; attempts++ {
		err := attempt()
		if err == nil {
			return nil
		}
		tried := time.Since(began)
		if patience := patience(err); tried >= patience || wait(ctx, pause) != nil {
			c.failed.Add(1)
			if attempts > 1 {
				err = fmt.Errorf("gave up after %d attempts in %s: %w", attempts, tried.Round(time.Millisecond), err)
			}
			return err
		}
		c.contended.Add(1)
		pause = min(2*pause, maxPause)
	}
}

// patience is for how long to repeat what failed so; 0 for what would only fail
// again.
func patience(err error) time.Duration {
	var exit interface{ ExitStatus() int }
	if !errors.As(err, &exit) {
		return 0
	}
	said := err.Error()
	switch {
	case lockHeld(err):
		return lockPatience
	case exit.ExitStatus() == exitResource,
		strings.Contains(said, "Resource temporarily unavailable"), // the table changed meanwhile
		strings.Contains(said, "Device or resource busy"):
		return busyPatience
	}
	return 0
}

// lockHeld says whether a program gave up waiting for the lock.
func lockHeld(err error) bool { return strings.Contains(err.Error(), "holding the xtables lock") }

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
