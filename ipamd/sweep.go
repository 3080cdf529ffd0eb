package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/kube"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/sweep"
)

// leaked is EC2 as a sweep needs it.
type leaked interface {
	Unattached(context.Context) ([]pool.ENI, error)
	Exist(ctx context.Context, instances []string) (map[string]bool, error)
	Apply(context.Context, pool.Action) (pool.Result, error)
}

// sweeper deletes what nodes of the cluster left behind that are gone, when it
// is this node's turn.
type sweeper struct {
	cloud             leaked
	cluster, instance string
	every             time.Duration
	nodes             func(context.Context) (int, error) // of the cluster
	keeps             func() bool                        // nothing is to be deleted now
	chance            func() float64
	log               *slog.Logger
	swept             func() // after each deletion
	next              time.Time
}

// unknownFleet is how many nodes a cluster is taken for where no API tells.
const unknownFleet = 100

// sweepTimeout bounds what one sweep reads.
const sweepTimeout = 30 * time.Second

// sweepLoop is the loop that sweeps; nil if none is to.
func (d *daemon) sweepLoop(cloud leaked, instance string, api *kube.Client) *loop.Loop {
	c := d.config.EC2
	if c.SweepEvery == 0 {
		return nil
	}
	if c.ClusterName == "" {
		d.log.Info("ENIs of nodes that are gone are not looked for: CLUSTER_NAME is not set")
		return nil
	}
	s := &sweeper{cloud: cloud, cluster: c.ClusterName, instance: instance, every: max(c.SweepEvery, time.Second), log: d.log,
		nodes: func(context.Context) (int, error) { return unknownFleet, nil }, chance: rand.Float64,
		keeps: func() bool { return d.off.current().Keeps() }, swept: d.metrics.Swept}
	if api != nil {
		s.nodes = api.Nodes
	}
	return loop.New(loop.Settings{Name: "sweep", Resync: s.every, Pause: s.every, LongestPause: s.every},
		func(ctx context.Context) (time.Duration, error) { return s.Step(ctx, time.Now()) }, d.log, d.metrics.StepFailed)
}

// Step sweeps if it is time, and this node's turn: after a start at any moment
// of the period, for nodes may start together. Without the API nobody knows
// whose turn it is.
func (s *sweeper) Step(ctx context.Context, now time.Time) (again time.Duration, err error) {
	if s.next.IsZero() {
		s.next = now.Add(time.Duration(s.chance() * float64(s.every)))
	}
	if wait := s.next.Sub(now); wait > 0 {
		return wait, nil
	}
	s.next = now.Add(s.every)
	if s.keeps() {
		return s.every, nil
	}
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	nodes, err := s.nodes(ctx)
	if err != nil {
		s.log.Debug("no sweep: it is not known how many nodes take turns", "error", err)
		return s.every, nil
	}
	if !sweep.Mine(nodes, s.chance()) {
		return s.every, nil
	}
	return s.every, s.sweep(ctx, now)
}

func (s *sweeper) sweep(ctx context.Context, now time.Time) error {
	enis, err := s.cloud.Unattached(ctx)
	if err != nil {
		return err
	}
	candidates := sweep.Candidates(enis, s.cluster, s.instance, now)
	s.log.Debug("sweep", "unattached", len(enis), "candidates", len(candidates))
	if len(candidates) == 0 {
		return nil
	}
	exist, err := s.cloud.Exist(ctx, sweep.Owners(candidates))
	if err != nil {
		return err
	}
	var failed []error
	for _, action := range sweep.Plan(candidates, exist) {
		_, err := s.cloud.Apply(ctx, action)
		var failure *pool.Failure
		switch {
		case err == nil:
			s.log.Info("EC2: " + action.String())
			s.swept()
		case errors.As(err, &failure) && failure.Class == pool.NotFound: // another node was first
		default:
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			failed = append(failed, fmt.Errorf("sweeping: %w", ctx.Err()))
			break
		}
	}
	return errors.Join(failed...)
}
