package loop

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var settings = Settings{Name: "test", Coalesce: 10 * time.Millisecond, Resync: time.Minute, Pause: 100 * time.Millisecond, LongestPause: time.Second}

// run runs a loop in a bubble of time and returns when its rounds were, in
// milliseconds.
func run(t *testing.T, d time.Duration, step func(round int) (time.Duration, error), during func(*Loop)) []int64 {
	t.Helper()
	var rounds []int64
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), d)
		defer cancel()
		l := New(settings, func(context.Context) (time.Duration, error) {
			rounds = append(rounds, time.Since(began).Milliseconds())
			return step(len(rounds))
		}, slog.New(slog.DiscardHandler), func(string) {})
		go during(l)
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return rounds
}

func never(*Loop) {}

func TestRounds(t *testing.T) {
	fine := func(int) (time.Duration, error) { return 0, nil }
	if diff := cmp.Diff([]int64{0, 60000, 120000}, run(t, 150*time.Second, fine, never)); diff != "" {
		t.Errorf("resync (-want +got):\n%s", diff)
	}
	burst := func(l *Loop) {
		time.Sleep(time.Second)
		for range 5 {
			l.Trigger()
			time.Sleep(time.Millisecond)
		}
	}
	if diff := cmp.Diff([]int64{0, 1010}, run(t, 30*time.Second, fine, burst)); diff != "" {
		t.Errorf("triggers that come together (-want +got):\n%s", diff)
	}
	soon := func(round int) (time.Duration, error) {
		if round == 1 {
			return 2 * time.Second, nil
		}
		return 0, nil
	}
	if diff := cmp.Diff([]int64{0, 2000}, run(t, 30*time.Second, soon, never)); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
}

// TestSpacing wants the first trigger of a quiet time to be heard at once, and
// those after it to be taken together.
func TestSpacing(t *testing.T) {
	var rounds []int64
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		l := New(Settings{Name: "test", Spacing: 20 * time.Millisecond, Resync: time.Hour}, func(context.Context) (time.Duration, error) {
			rounds = append(rounds, time.Since(began).Milliseconds())
			return 0, nil
		}, slog.New(slog.DiscardHandler), func(string) {})
		go func() {
			time.Sleep(time.Second)
			for range 30 {
				l.Trigger()
				time.Sleep(time.Millisecond)
			}
		}()
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	if diff := cmp.Diff([]int64{0, 1000, 1020, 1040}, rounds); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPausesGrow(t *testing.T) {
	got := run(t, 20*time.Second, func(int) (time.Duration, error) { return 0, errors.New("no") }, func(l *Loop) {
		for range 100 {
			l.Trigger()
			time.Sleep(50 * time.Millisecond)
		}
	})
	for i, want := range []int64{100, 200, 400, 800, 1000, 1000, 1000} {
		if gap := got[i+1] - got[i]; gap < want*3/4 || gap > want*5/4+1 {
			t.Errorf("pause %d is %d ms, want %d give or take a quarter", i, gap, want)
		}
	}
}

// TestSaysOnce logs a failure that lasts once, and again when it becomes another.
func TestSaysOnce(t *testing.T) {
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		round := 0
		l := New(settings, func(context.Context) (time.Duration, error) {
			round++
			switch {
			case round <= 5:
				return 0, errors.New("no turn yet")
			case round <= 8:
				return 0, errors.New("refused")
			}
			return 0, nil
		}, slog.New(slog.NewTextHandler(&log, nil)), func(string) {})
		if err := l.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	var said []string
	for line := range strings.Lines(log.String()) {
		_, line, _ = strings.Cut(strings.TrimSpace(line), "level=")
		line, _, _ = strings.Cut(line, " retry_in")
		said = append(said, line)
	}
	want := []string{
		`ERROR msg="test failed" error="no turn yet" times=1`,
		`ERROR msg="test failed" error=refused times=6`,
		`INFO msg="test works again" failed_before=8`,
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
