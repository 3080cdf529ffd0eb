// Package loop runs a Step again and again: at once when triggered, with
// triggers that come together carried out together; after a time that the step
// asks for; after a pause that grows while it fails; and every so often in any
// case. With main, it is the only place that waits.
package loop

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Step does one round of work. again, if positive, is when the next round is
// due by the step's own account.
type Step func(context.Context) (again time.Duration, err error)

// Settings of a loop. All are durations from the end of a round.
type Settings struct {
	Name     string
	Coalesce time.Duration // from a trigger to the round, so that more can join
	Spacing  time.Duration // least time between rounds; a trigger after it is heard at once
	Resync   time.Duration // longest time between rounds
	Pause    time.Duration // after a first failure; doubles to LongestPause
	// LongestPause also bounds how long triggers are not heard while the step
	// fails.
	LongestPause time.Duration
}

// Loop is one step and its triggers.
type Loop struct {
	settings Settings
	step     Step
	log      *slog.Logger
	failed   func(name string)
	trigger  chan struct{}
}

// New returns a loop that does nothing until Run. failed is told of each round
// that ended in an error.
func New(s Settings, step Step, log *slog.Logger, failed func(name string)) *Loop {
	return &Loop{settings: s, step: step, log: log, failed: failed, trigger: make(chan struct{}, 1)}
}

// Trigger asks for a round soon. It never blocks.
func (l *Loop) Trigger() {
	select {
	case l.trigger <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, and then returns nil. The first round is at once.
func (l *Loop) Run(ctx context.Context) error {
	failures, said := 0, ""
	for ctx.Err() == nil {
		again, err := l.step(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			failures++
			pause := l.pause(failures)
			l.failed(l.settings.Name)
			l.say(err, said, failures, pause)
			said = err.Error()
			l.sleep(ctx, pause, nil)
			continue
		}
		if failures > 1 {
			l.log.Info(l.settings.Name+" works again", "failed_before", failures)
		}
		failures, said = 0, ""
		wait := l.settings.Resync
		if again > 0 {
			wait = min(wait, again)
		}
		ended := time.Now()
		if l.sleep(ctx, wait, l.trigger) {
			l.sleep(ctx, max(l.settings.Coalesce, l.settings.Spacing-time.Since(ended)), nil)
		}
		l.drain()
	}
	return nil
}

// say logs a failure. One that only lasts is not worth a line every few seconds.
func (l *Loop) say(err error, before string, failures int, pause time.Duration) {
	level := slog.LevelError
	if err.Error() == before {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, l.settings.Name+" failed", "error", err, "times", failures, "retry_in", pause.Round(time.Millisecond))
}

// pause doubles with each failure and is spread by a quarter either way, so
// that a fleet does not retry in step.
func (l *Loop) pause(failures int) time.Duration {
	d := min(l.settings.Pause<<min(failures-1, 20), l.settings.LongestPause)
	return d*3/4 + rand.N(d/2+1)
}

func (l *Loop) drain() {
	select {
	case <-l.trigger:
	default:
	}
}

// sleep waits for d, ctx or wake, and says whether it was wake.
func (l *Loop) sleep(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-wake:
		return true
	}
	return false
}
