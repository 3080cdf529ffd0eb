package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/datapath"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
)

// rounds are the daemon's loops. They may be woken before they are made: each
// begins with a round of its own.
type rounds struct {
	daemon            *daemon
	pool, node, nat   atomic.Pointer[loop.Loop]
	pods, conf        atomic.Pointer[loop.Loop]
	offered           atomic.Bool // the CNI configuration is in place
	nodePart, natPart part
	natWritten        chan struct{} // closed by the first success
	all               []*loop.Loop
}

func (r *rounds) wakePool() { wake(&r.pool) }
func (r *rounds) wakeNode() { wake(&r.node) }
func (r *rounds) wakeNAT()  { wake(&r.nat) }
func (r *rounds) wakePods() { wake(&r.pods) }

// wakeBook wakes those who follow assignments.
func (r *rounds) wakeBook() {
	r.wakeNode()
	r.wakePods()
	if s := r.daemon.service; s != nil {
		s.write.Trigger()
	}
}

// wakeRules wakes those who keep rules.
func (r *rounds) wakeRules() {
	r.wakeNAT()
	if s := r.daemon.service; s != nil {
		s.write.Trigger()
	}
}

func wake(l *atomic.Pointer[loop.Loop]) {
	if made := l.Load(); made != nil {
		made.Trigger()
	}
}

func (r *rounds) make(book *allocator.Allocator, path *datapath.Datapath, vpc *vpc, nat *nat) {
	server := r.daemon.server
	written := sync.OnceFunc(func() { close(r.natWritten) })
	r.pool.Store(r.add(loop.Settings{Name: "pool", Coalesce: 10 * time.Millisecond, Resync: time.Minute,
		Pause: 500 * time.Millisecond, LongestPause: 15 * time.Second},
		func(ctx context.Context) (time.Duration, error) {
			again, err := book.Step(ctx)
			server.SetReady(book.Ready() == nil)
			return again, err
		}))
	r.node.Store(r.add(loop.Settings{Name: "node network", Coalesce: 50 * time.Millisecond, Resync: 5 * time.Second,
		Pause: 100 * time.Millisecond, LongestPause: 5 * time.Second},
		func(ctx context.Context) (time.Duration, error) {
			server.SetReady(book.Ready() == nil) // the first pool round may last
			return 0, r.report(&r.nodePart, path.Step(ctx))
		}))
	// The rules are looked at often: a look costs next to nothing, and legacy
	// iptables tells nobody when they change.
	r.nat.Store(r.add(loop.Settings{Name: "NAT", Coalesce: 50 * time.Millisecond, Resync: 500 * time.Millisecond,
		Pause: 200 * time.Millisecond, LongestPause: 5 * time.Second},
		func(ctx context.Context) (time.Duration, error) {
			err := nat.Step(ctx)
			if err == nil {
				written()
			}
			return 0, r.report(&r.natPart, err)
		}))
	r.add(loop.Settings{Name: "VPC blocks", Resync: 5 * time.Second, Pause: time.Second, LongestPause: 10 * time.Second},
		func(ctx context.Context) (time.Duration, error) { return 0, vpc.Step(ctx, time.Now()) })
	groups := &groups{cloud: r.daemon.cloud.Load(), book: book, log: r.daemon.log}
	r.add(loop.Settings{Name: "security groups", Resync: 5 * time.Second, Pause: time.Second, LongestPause: 10 * time.Second},
		func(ctx context.Context) (time.Duration, error) { groups.Step(ctx, time.Now()); return 0, nil })
	r.add(loop.Settings{Name: "release notes", Resync: 5 * time.Second, Pause: time.Second, LongestPause: 10 * time.Second},
		func(ctx context.Context) (time.Duration, error) { return 0, readNotes(ctx, config.NotesDir, server) })
	if dir := r.daemon.config.Host.ConfDir; dir != "" {
		r.conf.Store(r.add(loop.Settings{Name: "CNI configuration", Resync: 5 * time.Second, Pause: time.Second, LongestPause: 10 * time.Second},
			func(context.Context) (time.Duration, error) { return 0, r.offer(dir, book) }))
	}
}

// offer writes the CNI configuration as soon as STATUS would say that pods may
// come, and again if somebody removes it.
func (r *rounds) offer(dir string, book *allocator.Allocator) error {
	ready := book.Ready() == nil
	r.daemon.server.SetReady(ready) // STATUS must not say less than the file
	if !ready || !r.inPlace() {
		return nil
	}
	written, err := offer(dir)
	if written {
		r.daemon.log.Info("CNI configuration written: this node serves pods", "dir", dir, "file", config.ConflistName)
	}
	r.offered.Store(err == nil)
	return err
}

func (r *rounds) inPlace() bool { return r.nodePart.inPlace.Load() && r.natPart.inPlace.Load() }

func (r *rounds) add(s loop.Settings, step loop.Step) *loop.Loop {
	l := loop.New(s, step, r.daemon.log, r.daemon.metrics.StepFailed)
	r.all = append(r.all, l)
	return l
}

// tolerance is how long a part may fail before STATUS says that connectivity is
// limited: a busy lock or a link that has just gone takes no node out of
// service.
const tolerance = 5 * time.Second

// part is one half of what pods depend on, beside addresses.
type part struct {
	inPlace   atomic.Bool
	failsFrom atomic.Int64 // nanoseconds; 0 while it does not fail
}

func (p *part) report(err error, now time.Time) {
	switch {
	case err == nil:
		p.failsFrom.Store(0)
		p.inPlace.Store(true)
	case p.failsFrom.CompareAndSwap(0, now.UnixNano()):
	case now.Sub(time.Unix(0, p.failsFrom.Load())) > tolerance:
		p.inPlace.Store(false)
	}
}

// report tells the plugin's STATUS whether all that pods depend on is in place.
func (r *rounds) report(p *part, err error) error {
	p.report(err, time.Now())
	r.daemon.server.SetDatapath(r.inPlace())
	if r.inPlace() && !r.offered.Load() {
		wake(&r.conf)
	}
	return err
}

// natGrace is how long the first EC2 calls wait for the first NAT rules. With
// them the kernel begins to track connections, and takes those that exist for
// new ones, which breaks them: better none that carries a change to EC2.
const natGrace = 2 * time.Second

func (r *rounds) start(ctx context.Context, tasks *errgroup.Group) {
	for _, each := range r.all {
		tasks.Go(func() error {
			if each == r.pool.Load() {
				r.awaitNAT(ctx)
			}
			return each.Run(ctx)
		})
	}
	tasks.Go(func() error { return kernel.Watch(ctx, r.wakeNode) })
	// In nftables mode a look is as cheap as a notification of our own change.
	if r.daemon.config.Proxy.Mode != config.ProxyNFTables {
		tasks.Go(func() error { return kernel.WatchNetfilter(ctx, r.wakeRules) })
	}
}

func (r *rounds) awaitNAT(ctx context.Context) {
	grace := time.NewTimer(natGrace)
	defer grace.Stop()
	select {
	case <-r.natWritten:
	case <-grace.C:
	case <-ctx.Done():
	}
}
