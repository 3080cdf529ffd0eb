package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// sights are what the metadata service and EC2 show of the primary ENI.
type sights struct {
	metadata, ec2 []string
	fails         bool
	asked         []time.Duration
	now           time.Duration
}

func (s *sights) GroupsHint(context.Context) ([]string, error) {
	if s.fails {
		return nil, errors.New("no answer")
	}
	return s.metadata, nil
}

func (s *sights) ENIs() []pool.ENI {
	return []pool.ENI{{ID: "eni-1", SecurityGroups: []string{"sg-0"}}, {ID: "eni-0", Primary: true, SecurityGroups: s.ec2}}
}

func (s *sights) Refresh() { s.asked = append(s.asked, s.now) }

// TestGroups asks EC2 at once when the metadata service shows other groups, and
// ever more rarely while the two disagree.
func TestGroups(t *testing.T) {
	s := &sights{metadata: []string{"sg-1"}, ec2: []string{"sg-1"}}
	g := &groups{cloud: s, book: s, log: slog.New(slog.DiscardHandler)}
	steps := func(until time.Duration) {
		for ; s.now < until; s.now += 5 * time.Second {
			g.Step(t.Context(), time.Unix(0, 0).Add(s.now))
		}
	}
	steps(time.Minute)
	s.metadata = []string{"sg-1", "sg-2"}
	steps(time.Hour)
	s.ec2 = s.metadata
	steps(2 * time.Hour)
	s.metadata, s.fails = []string{"sg-3"}, true
	steps(3 * time.Hour)
	s.fails = false
	steps(3*time.Hour + 10*time.Second)
	want := []time.Duration{time.Minute, 90 * time.Second, 150 * time.Second, 270 * time.Second, 510 * time.Second, 990 * time.Second,
		1590 * time.Second, 2190 * time.Second, 2790 * time.Second, 3390 * time.Second, 3 * time.Hour}
	if diff := cmp.Diff(want, s.asked); diff != "" {
		t.Errorf("EC2 was asked (-want +got):\n%s", diff)
	}
}
