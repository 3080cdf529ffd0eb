package span

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDurationJSON(t *testing.T) {
	tests := []struct{ in, out, problem string }{
		{in: `"1500ms"`, out: `"1.5s"`},
		{in: `0`, out: `"0s"`},
		{in: `"-1s"`, problem: "is negative"},
		{in: `5`, problem: "is not a length of time"},
		{in: `"soon"`, problem: `"soon" is not a length of time`},
	}
	for _, tt := range tests {
		var d Duration
		err := json.Unmarshal([]byte(tt.in), &d)
		if tt.problem != "" {
			if err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("%s: error %v, want one with %q", tt.in, err, tt.problem)
			}
			continue
		}
		if out, encodeErr := json.Marshal(d); err != nil || encodeErr != nil || string(out) != tt.out {
			t.Errorf("%s: %s (%v, %v), want %s", tt.in, out, err, encodeErr, tt.out)
		}
	}
}

func TestRange(t *testing.T) {
	for _, text := range []string{"5s..1s", "x..1s", "1s..y", ""} {
		if r, err := ParseRange(text); err == nil {
			t.Errorf("ParseRange(%q) = %v, want an error", text, r)
		}
	}
	r, err := ParseRange("10ms..30ms")
	if err != nil || r.String() != "10ms..30ms" {
		t.Fatalf("ParseRange = %v, %v", r, err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		if d := r.Draw(rng); d < r.Min || d > r.Max {
			t.Fatalf("drew %v from %v", d, r)
		}
	}
	if d := Fixed(time.Second).Draw(rng); d != time.Second {
		t.Errorf("drew %v from a fixed second", d)
	}
}

func TestSleepEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := Sleep(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("slept %v: %v", time.Since(start), err)
		}
		if err := Sleep(ctx, 0); err != nil {
			t.Errorf("no sleep failed: %v", err)
		}
	})
}
