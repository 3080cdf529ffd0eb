// Package span reads and writes lengths of time in topology and fault files:
// Duration is one length ("1.5s"), Range a length or a span that one is drawn
// from ("500ms..5s"). Negative lengths are refused.
package span

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Duration is a time.Duration that JSON and YAML spell as "1.5s".
type Duration time.Duration

// String spells the duration as time.Duration does.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string that time.ParseDuration understands, or 0.
func (d *Duration) UnmarshalJSON(data []byte) error {
	text, err := scalar(data)
	if err != nil {
		return err
	}
	v, err := parse(text)
	if err != nil {
		return err
	}
	*d = Duration(v)
	return nil
}

// Range is a length of time drawn evenly from Min to Max inclusive; equal
// ends make it fixed.
type Range struct{ Min, Max time.Duration }

// Fixed is the range that holds only d.
func Fixed(d time.Duration) Range { return Range{d, d} }

// ParseRange reads "300ms" or "500ms..5s".
func ParseRange(text string) (Range, error) {
	low, high, spread := strings.Cut(text, "..")
	lo, err := parse(low)
	if err != nil {
		return Range{}, err
	}
	if !spread {
		return Fixed(lo), nil
	}
	hi, err := parse(high)
	if err != nil {
		return Range{}, err
	}
	if hi < lo {
		return Range{}, fmt.Errorf("%q ends before it begins: write the shorter length first", text)
	}
	return Range{lo, hi}, nil
}

// Draw picks a length from the range.
func (r Range) Draw(rng *rand.Rand) time.Duration {
	if r.Max <= r.Min {
		return r.Min
	}
	return r.Min + time.Duration(rng.Int64N(int64(r.Max-r.Min)+1))
}

// String spells the range as ParseRange reads it.
func (r Range) String() string {
	if r.Min == r.Max {
		return r.Min.String()
	}
	return r.Min.String() + ".." + r.Max.String()
}

func parse(text string) (time.Duration, error) {
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("%q is not a length of time: write it like 250ms, 1.5s or 2m", text)
	}
	if d < 0 {
		return 0, fmt.Errorf("%q is negative: a length of time is 0 or more", text)
	}
	return d, nil
}

// scalar is the text of a JSON string, or of the bare number 0.
func scalar(data []byte) (string, error) {
	var text string
	if err := json.Unmarshal(data, &text); err == nil {
		return text, nil
	}
	if string(data) == "0" {
		return "0", nil
	}
	return "", fmt.Errorf("%s is not a length of time: write it like 250ms, 1.5s or 2m", data)
}

// Sleep waits for d, or for the end of ctx and returns its error.
func Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
