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

// leakedENIs is EC2 with ENIs that are attached to nothing.
type leakedENIs struct {
	enis    []pool.ENI
	exist   map[string]bool
	refused map[pool.ENIID]pool.Class
	calls   []string
	fails   error
}

func (l *leakedENIs) Unattached(context.Context) ([]pool.ENI, error) {
	l.calls = append(l.calls, "describe")
	return l.enis, l.fails
}

func (l *leakedENIs) Exist(context.Context, []string) (map[string]bool, error) {
	l.calls = append(l.calls, "exist")
	return l.exist, nil
}

func (l *leakedENIs) Apply(_ context.Context, action pool.Action) (pool.Result, error) {
	l.calls = append(l.calls, action.String())
	if class, refused := l.refused[action.(pool.DeleteENI).ENI]; refused {
		return pool.Result{}, &pool.Failure{Class: class, Err: errors.New("refused: " + action.String())}
	}
	return pool.Result{}, nil
}

func leakedBy(instance string, id pool.ENIID, now time.Time) pool.ENI {
	return pool.ENI{ID: id, Description: pool.Description(instance), Created: now.Add(-time.Hour),
		Tags: map[string]string{pool.TagInstance: instance, pool.TagCluster: "ours"}}
}

// A node sweeps once in a period if it is its turn, not at once after its start,
// and not while the API is away or all is to be kept.
func TestSweeperTakesTurns(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cloud := &leakedENIs{}
	nodes, away, keeps := 1, error(nil), false
	s := &sweeper{cloud: cloud, cluster: "ours", instance: "i-self", every: time.Hour, log: slog.New(slog.DiscardHandler),
		nodes:  func(context.Context) (int, error) { return nodes, away },
		keeps:  func() bool { return keeps },
		chance: func() float64 { return 0.5 }, swept: func() {}}
	step := func(name string, after, again time.Duration, reads int) {
		t.Helper()
		now = now.Add(after)
		cloud.calls = nil
		if wait, err := s.Step(t.Context(), now); err != nil || wait != again || len(cloud.calls) != reads {
			t.Errorf("%s: again in %s, calls %q, error %v; want %s and %d", name, wait, cloud.calls, err, again, reads)
		}
	}
	step("at the start", 0, 30*time.Minute, 0)
	step("too early", 29*time.Minute, time.Minute, 0)
	step("in time", time.Minute, time.Hour, 1)
	nodes = 100
	step("another's turn", time.Hour, time.Hour, 0)
	nodes, away = 1, errors.New("away")
	step("nobody knows", time.Hour, time.Hour, 0)
	away, keeps = nil, true
	step("with a switch on", time.Hour, time.Hour, 0)
	keeps = false
	step("again", time.Hour, time.Hour, 1)
	cloud.fails = errors.New("EC2 is away")
	if _, err := s.Step(t.Context(), now.Add(time.Hour)); !errors.Is(err, cloud.fails) {
		t.Errorf("error %v, want %v", err, cloud.fails)
	}
}

// What is refused keeps nothing else; what another node deleted first is fine.
func TestSweeperDeletes(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	cloud := &leakedENIs{
		enis: []pool.ENI{leakedBy("i-gone", "eni-1", now), leakedBy("i-lives", "eni-2", now), leakedBy("i-gone", "eni-3", now),
			leakedBy("i-self", "eni-4", now), leakedBy("i-gone", "eni-5", now)},
		exist:   map[string]bool{"i-self": true, "i-lives": true},
		refused: map[pool.ENIID]pool.Class{"eni-1": pool.InUse, "eni-3": pool.NotFound},
	}
	swept := 0
	s := &sweeper{cloud: cloud, cluster: "ours", instance: "i-self", every: time.Hour, log: slog.New(slog.DiscardHandler),
		swept: func() { swept++ }}
	err := s.sweep(t.Context(), now)
	var failure *pool.Failure
	if !errors.As(err, &failure) || failure.Class != pool.InUse || swept != 1 {
		t.Errorf("error %v, %d swept; want that of eni-1 alone, and 1", err, swept)
	}
	const reason = " (left by i-gone, which is gone)"
	if diff := cmp.Diff([]string{"describe", "exist", "delete eni-1" + reason, "delete eni-3" + reason, "delete eni-5" + reason}, cloud.calls); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
