// Package allocator joins the pool, EC2 and the book on disk. It is the one
// lock over the pool and the one writer of the book.
//
// Assign answers from the pool without any network call. When the pool is
// empty the call waits, in turn, while Step fetches addresses, and is served
// the moment an EC2 call brings one. Every assignment and release is on disk
// before it is answered. Step is called by one loop and by nobody else.
package allocator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Request asks for an address.
type Request = pool.Request

// Cloud is EC2 as the allocator needs it. Errors are *pool.Failure.
type Cloud interface {
	// Describe returns the ENIs of this instance and, with leftovers, those
	// that this node created and that are attached to nothing.
	Describe(ctx context.Context, leftovers bool) ([]pool.ENI, error)
	// Apply carries out one action.
	Apply(context.Context, pool.Action) (pool.Result, error)
}

// Settings of the allocator.
type Settings struct {
	Pool pool.Settings
	Wait time.Duration // longest wait of an Assign for an address
	// Empty, if set, is told of each request that finds no free address.
	Empty func()
}

// Allocator hands out addresses. See New.
type Allocator struct {
	settings Settings
	cloud    Cloud
	store    *checkpoint.Store
	log      *slog.Logger
	wakeLoop func()        // asks for a Step soon
	poke     chan struct{} // tells a Step that runs that there is more to plan
	changed  func()        // tells that ENIs or assignments changed

	mu      sync.Mutex
	pool    *pool.Pool
	waiters []*waiter
	kept    []pool.ENI    // as they are on disk
	blind   *pool.Failure // why the last describe failed; nil if it did not

	// Only Step touches these.
	described time.Time
	doubt     bool      // a call failed: what EC2 has is to be looked at
	settled   time.Time // when a describe shows what an unanswered call did
}

// New returns an allocator with the book that is on disk. wake and changed
// must not block and must not call back.
func New(s Settings, cloud Cloud, store *checkpoint.Store, now time.Time, log *slog.Logger, wake, changed func()) (*Allocator, error) {
	a := &Allocator{
		settings: s, cloud: cloud, store: store, log: log, wakeLoop: wake, poke: make(chan struct{}, 1), changed: changed, pool: pool.New(s.Pool),
		doubt: true, settled: now.Add(lag), // who ran before us may have made a call a moment ago
	}
	records, unreadable, err := store.Load()
	if err != nil {
		return nil, err
	}
	for _, err := range unreadable {
		log.Error("set aside a damaged entry of the book; its address cools down", "error", err)
	}
	for _, r := range records {
		if r.Assignment == nil {
			a.pool.Cool(r.Address, later(r.Until, now, s.Pool.CoolDown))
		} else if old := a.pool.Hold(*r.Assignment); old != nil {
			log.Error("two addresses were recorded for one container; keeping the younger one", "container", old.Key.ContainerID, "address", old.Address)
			a.pool.Cool(old.Address, now.Add(s.Pool.CoolDown))
			if err := store.Cool(old.Address, now.Add(s.Pool.CoolDown)); err != nil {
				return nil, err
			}
		}
	}
	// What EC2 said last serves until it is asked again, which is at once.
	if a.kept, err = store.ENIs(); err != nil {
		log.Warn("waiting for EC2 to describe the ENIs", "error", err)
	} else if len(a.kept) > 0 {
		a.pool.Observe(a.kept, false, now)
	}
	log.Info("read the book", "addresses", len(records), "assigned", len(a.pool.Assignments()), "enis", len(a.kept))
	return a, nil
}

// keep records the ENIs if they changed. A failure is logged and tried again
// with the next change: it costs no more than a slower start. The lock is held.
func (a *Allocator) keep() {
	enis := a.pool.ENIs()
	if reflect.DeepEqual(enis, a.kept) {
		return
	}
	if err := a.store.KeepENIs(enis); err != nil {
		a.log.Error("the ENIs are not on disk", "error", err)
		return
	}
	a.kept = enis
}

// later bounds a cool-down that was recorded: a record without a time, or from
// before the clock was set, cools from now on.
func later(until, now time.Time, coolDown time.Duration) time.Time {
	if limit := now.Add(coolDown); until.IsZero() || until.After(limit) {
		return limit
	}
	return until
}

// wake asks for a plan: of the Step that runs, or else of the next one.
func (a *Allocator) wake() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
	a.wakeLoop()
}

// Assign gives the key its address. Errors are *pool.Refusal if there is none,
// and others if the book could not be written.
func (a *Allocator) Assign(ctx context.Context, r Request) (pool.Assignment, error) {
	ctx, cancel := context.WithTimeout(ctx, a.settings.Wait)
	defer cancel()
	w, done, err := a.begin(r)
	if w == nil {
		return done, err
	}
	a.wake()
	for {
		select {
		case outcome := <-w.served:
			return outcome.assignment, outcome.err
		case <-ctx.Done():
			return a.giveUp(w)
		case <-a.timePasses():
			a.serveNow() // a Step may be far: the loop pauses when EC2 fails
		}
	}
}

// begin serves those in line, and then assigns at once or puts the request in
// line.
func (a *Allocator) begin(r Request) (*waiter, pool.Assignment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.serve(now)
	if len(a.waiters) == 0 || a.pool.Holds(r.Key) {
		if got, ok, err := a.try(r, now); ok || err != nil {
			return nil, got, err
		}
	}
	if why := a.why(now); why.Hopeless {
		return nil, pool.Assignment{}, why
	}
	if a.settings.Empty != nil {
		a.settings.Empty()
	}
	w := &waiter{request: r, served: make(chan outcome, 1)}
	a.waiters = append(a.waiters, w)
	return w, pool.Assignment{}, nil
}

// waiter is a request in line. It is served at most once.
type waiter struct {
	request Request
	served  chan outcome
}

type outcome struct {
	assignment pool.Assignment
	err        error
}

// try assigns and records, or does neither.
func (a *Allocator) try(r Request, now time.Time) (pool.Assignment, bool, error) {
	got, fresh, ok := a.pool.Assign(r, now)
	if !ok || !fresh {
		return got, ok, nil
	}
	if err := a.store.Assign(got); err != nil {
		a.pool.Unassign(got)
		return pool.Assignment{}, false, err
	}
	a.log.Info("assigned", "address", got.Address, "pod", got.Pod.Namespace+"/"+got.Pod.Name, "container", got.Key.ContainerID, "eni", got.ENI)
	a.wake() // the headroom may be used up
	return got, true, nil
}

// serve gives addresses to those who wait, in their turn. The lock is held.
func (a *Allocator) serve(now time.Time) {
	for len(a.waiters) > 0 {
		w := a.waiters[0]
		got, ok, err := a.try(w.request, now)
		if !ok && err == nil {
			break
		}
		a.waiters = a.waiters[1:]
		w.served <- outcome{got, err}
	}
	if len(a.waiters) == 0 {
		return
	}
	if why := a.why(now); why.Hopeless {
		for _, w := range a.waiters {
			w.served <- outcome{err: why}
		}
		a.waiters = nil
	}
}

func (a *Allocator) serveNow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serve(time.Now())
}

// giveUp leaves the line, with the reason. What was served meanwhile counts.
func (a *Allocator) giveUp(w *waiter) (pool.Assignment, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case o := <-w.served:
		return o.assignment, o.err
	default:
	}
	a.waiters = slices.DeleteFunc(a.waiters, func(x *waiter) bool { return x == w })
	return pool.Assignment{}, a.why(time.Now())
}

// why says why there is no address now. An EC2 that cannot be looked at is the
// reason for what the pool only sees as a wait.
func (a *Allocator) why(now time.Time) *pool.Refusal {
	why := a.pool.Why(now)
	if a.blind != nil && (why.Cause == pool.Starting || why.Cause == pool.Coming) {
		return &pool.Refusal{Cause: pool.CallFailed, Class: a.blind.Class, Message: a.blind.Error()}
	}
	return why
}

// Release takes an address back. link is the pod's, and addresses are those that
// the caller was given, as far as it knows: an address that was adopted is
// released only by both. held is false if nothing was.
func (a *Allocator) Release(_ context.Context, key pool.Key, link string, addresses []netip.Addr, reason string) (released pool.Assignment, held bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(key)
	released, held, err = a.release(key, link, addresses)
	if held {
		a.log.Info("released", "address", released.Address, "pod", released.Pod.Namespace+"/"+released.Pod.Name, "container", key.ContainerID, "reason", reason)
		a.changed()
		a.wake()
	}
	return released, held, err
}

// leave takes the requests of a key out of the line: its container is gone, and
// nobody would release what they got. The lock is held.
func (a *Allocator) leave(key pool.Key) {
	a.waiters = slices.DeleteFunc(a.waiters, func(w *waiter) bool {
		if w.request.Key != key {
			return false
		}
		w.served <- outcome{err: fmt.Errorf("waiting for an address: container %s was deleted meanwhile: %w", key.ContainerID, context.Canceled)}
		return true
	})
}

func (a *Allocator) release(key pool.Key, link string, addresses []netip.Addr) (pool.Assignment, bool, error) {
	now := time.Now()
	was, held := a.pool.Release(key, link, addresses, now)
	if !held {
		return was, false, nil
	}
	if err := a.store.Cool(was.Address, now.Add(a.settings.Pool.CoolDown)); err != nil {
		a.pool.Restore(was)
		return pool.Assignment{}, false, err
	}
	return was, true, nil
}

// Adopt holds the address of a running pod that has no record.
func (a *Allocator) Adopt(address netip.Addr, link string, device int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := a.pool.Adopt(address, link, device, time.Now())
	if err := a.store.Assign(held); err != nil {
		a.pool.Unassign(held)
		return err
	}
	return nil
}

// ReleaseAdopted takes back adopted addresses whose link is gone.
func (a *Allocator) ReleaseAdopted(exists func(link string) bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var failed []error
	for _, h := range a.pool.Assignments() {
		if !h.Adopted || exists(h.Link) {
			continue
		}
		if _, _, err := a.release(h.Key, "", nil); err != nil {
			failed = append(failed, fmt.Errorf("releasing adopted address %s: %w", h.Address, err))
			continue
		}
		a.log.Info("released an adopted address: its link is gone", "address", h.Address, "link", h.Link)
	}
	return errors.Join(failed...)
}

// SetReady says which ENIs' devices are there and configured.
func (a *Allocator) SetReady(ready map[pool.ENIID]bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := time.Now(); a.pool.SetReady(ready, now) {
		a.serve(now)
		a.wake()
	}
}

// ENIs returns what is known of the instance's ENIs.
func (a *Allocator) ENIs() []pool.ENI {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.ENIs()
}

// Assignments returns what is held now.
func (a *Allocator) Assignments() []pool.Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.Assignments()
}

// Snapshot is the state for metrics and for the state dump.
type Snapshot struct {
	Count       pool.Count
	Waiting     int
	ENIs        []pool.ENI
	Assignments []pool.Assignment
	Cooling     map[netip.Addr]time.Time
}

// Snapshot returns a copy.
func (a *Allocator) Snapshot() Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Snapshot{
		Count: a.pool.Count(time.Now()), Waiting: len(a.waiters), ENIs: a.pool.ENIs(),
		Assignments: a.pool.Assignments(), Cooling: a.pool.Cooling(),
	}
}

// Ready says why no address can be assigned yet, or nil once EC2 has described
// this node.
func (a *Allocator) Ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.pool.Observed() {
		return a.why(time.Now())
	}
	return nil
}
