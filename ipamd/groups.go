package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// How soon EC2 is asked again if it does not show what the metadata service
// does: one of them is late, or the service is stuck.
const (
	firstGroupsPause   = 30 * time.Second
	longestGroupsPause = 10 * time.Minute
)

// groups notices that the primary ENI's security groups changed: the metadata
// service, which costs nothing to ask, shows others than EC2 did when it was last
// described. The pool gives them to its ENIs once EC2 shows them as well.
type groups struct {
	cloud interface {
		GroupsHint(context.Context) ([]string, error)
	}
	book interface {
		ENIs() []pool.ENI
		Refresh()
	}
	log *slog.Logger

	hint  []string
	pause time.Duration
	next  time.Time
}

// Step compares once.
func (g *groups) Step(ctx context.Context, now time.Time) {
	hint, err := g.cloud.GroupsHint(ctx)
	if err != nil {
		g.log.Debug("asking the metadata service for the primary ENI's security groups", "error", err)
		return
	}
	enis := g.book.ENIs()
	i := slices.IndexFunc(enis, func(e pool.ENI) bool { return e.Primary })
	if i < 0 || slices.Equal(hint, enis[i].SecurityGroups) {
		g.hint = nil
		return
	}
	if !slices.Equal(hint, g.hint) {
		g.hint, g.pause, g.next = hint, firstGroupsPause, now
	}
	if now.Before(g.next) {
		return
	}
	g.next = now.Add(g.pause)
	g.pause = min(2*g.pause, longestGroupsPause)
	g.log.Info("the primary ENI's security groups changed", "by_metadata", hint, "by_ec2", enis[i].SecurityGroups)
	g.book.Refresh()
}
