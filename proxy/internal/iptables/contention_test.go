package iptables

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// exit is a program that failed with a status.
type exit struct {
	status int
	said   string
}

func (e exit) Error() string   { return e.said }
func (e exit) ExitStatus() int { return e.status }

func TestWriteRepeatsOnlyContention(t *testing.T) {
	held := exit{exitResource, "Another app is currently holding the xtables lock. Stopped waiting after 1s."}
	busy := exit{exitResource, "line 3: RULE_REPLACE failed (Resource temporarily unavailable)"}
	tests := map[string]struct {
		err      error
		until    time.Duration // attempts fail until then
		ok       bool
		patience time.Duration
	}{
		"at once":         {nil, 0, true, 0},
		"lock, soon free": {held, 300 * time.Millisecond, true, 0},
		"lock, free late": {held, 14 * time.Second, true, 0},
		"lock, not free":  {held, time.Hour, false, lockPatience},
		"busy for once":   {busy, 5 * time.Millisecond, true, 0},
		"busy for good":   {busy, time.Hour, false, busyPatience},
		"wrong rule":      {exit{2, "Bad argument"}, time.Hour, false, 0},
		"no program":      {errors.New("no such file"), time.Hour, false, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began, calls := time.Now(), uint64(0)
				var c counters
				err := c.write(t.Context(), func() error {
					calls++
					if time.Since(began) < test.until {
						return test.err
					}
					return nil
				})
				took := time.Since(began)
				if (err == nil) != test.ok || took > max(test.until, test.patience)+maxPause && test.ok || took > test.patience+maxPause && !test.ok {
					t.Errorf("%v after %s and %d calls", err, took, calls)
				}
				if c.contended.Load() != calls-1 || (c.failed.Load() == 1) == test.ok {
					t.Errorf("counted %d contended, %d failed, of %d calls", c.contended.Load(), c.failed.Load(), calls)
				}
			})
		})
	}
}

func TestWriteEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var c counters
	if err := c.write(ctx, func() error { return exit{exitResource, "busy"} }); err == nil || c.failed.Load() != 1 {
		t.Errorf("error %v, %d failed", err, c.failed.Load())
	}
}

// TestHeldLock holds the xtables lock for longer than one attempt waits, and
// wants the services written within a second after.
func TestHeldLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	t.Setenv("XTABLES_LOCKFILE", file)
	lock, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	nstest.New(t).Do(func() {
		b, err := Open(Legacy, service.IPv4)
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Services(t.Context(), ruleset.Settings{Family: service.IPv4, MasqueradeMark: 0x4000})
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		freed := make(chan time.Time, 1)
		time.AfterFunc(1500*time.Millisecond, func() {
			unix.Flock(int(lock.Fd()), unix.LOCK_UN)
			freed <- time.Now()
		})
		if _, err := s.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := time.Since(<-freed); after > time.Second {
			t.Errorf("written %s after the lock was free", after)
		}
		if c := b.Counts(); c.Contended == 0 || c.Failed != 0 {
			t.Errorf("counted %+v, want some contended, none failed", c)
		}
	})
}
