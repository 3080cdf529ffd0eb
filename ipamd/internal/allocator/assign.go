package allocator

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// wake asks for a plan: of the Step that runs, or else of the next one.
func (a *Allocator) wake() {
	select {
	case a.poke <- struct{}{}:
	default:
	}
	a.wakeLoop()
}

// Assign gives the key its address. Errors are *pool.Refusal if there is none,
// *pool.PortTaken if another pod has a host port that it asks for, and others if the book could not be written.
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
	if err := a.pool.PortsFree(r); err != nil {
		return pool.Assignment{}, false, err
	}
	a.restOn(now)
	got, fresh, ok := a.pool.Assign(r, now)
	if !ok || !fresh {
		return got, ok, nil
	}
	if err := a.store.Assign(got); err != nil {
		a.pool.Unassign(got)
		return pool.Assignment{}, false, err
	}
	a.log.Info("assigned", "address", got.Text(), "pod", got.Pod.Namespace+"/"+got.Pod.Name, "container", got.Key.ContainerID, "eni", got.ENI)
	if len(got.Ports) > 0 {
		a.changed()
	}
	a.wake() // the headroom may be used up
	return got, true, nil
}

// restOn prolongs the cool-down of addresses that services still send to. The
// lock is held.
func (a *Allocator) restOn(now time.Time) {
	if a.settings.Named != nil {
		a.pool.Prolong(a.settings.Named, now)
	}
}

// Expect says how many pods were scheduled to this node that have no address.
func (a *Allocator) Expect(pods int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pool.Expect(pods)
	a.wake()
}

// SetPlace says where new ENIs are made; nil: as the primary one.
func (a *Allocator) SetPlace(place *pool.Place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pool.SetPlace(place)
	a.wake()
}

// SetInUse says which addresses are in use, though nobody was assigned them.
func (a *Allocator) SetInUse(addresses []netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pool.SetInUse(addresses)
}

// KeepAll says that nothing is to be given back to EC2, or that it may again.
func (a *Allocator) KeepAll(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pool.KeepAll(on)
	a.wake()
}

// SetCordoned says whether the node is kept from new pods.
func (a *Allocator) SetCordoned(cordoned bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pool.SetCordoned(cordoned)
	a.wake()
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
