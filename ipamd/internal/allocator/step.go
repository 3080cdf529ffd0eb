package allocator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

const (
	// calm is how old a description of EC2 may get. Nothing but us changes a
	// node's ENIs as a rule, and describes count against the account.
	calm = 30 * time.Minute
	// resync is how old it may get after a start, and after a call in doubt:
	// what these left may show late.
	resync = 5 * time.Minute
	// following is how often EC2 is asked while an ENI is on its way.
	following = 2 * time.Second
	// callTimeout bounds one EC2 call, with the retries that the SDK makes.
	callTimeout = 30 * time.Second
	// lag is how far EC2's describes may be behind its answers.
	lag = 2 * time.Second
	// redescribe is the shortest time between two describes.
	redescribe = 500 * time.Millisecond
)

// Step looks at EC2 if need be, and carries out the plan: calls that do not
// depend on each other at the same time, and more as soon as one of them, or a
// new request, makes a difference. It returns when no call is on its way and
// there is nothing to do, or EC2 is to be looked at first. again is when the
// next Step is due. What is free is handed out all the while, also if EC2 does
// not answer; nothing is planned before it did, nor while it is looked at because
// what is known is in doubt.
func (a *Allocator) Step(ctx context.Context) (again time.Duration, err error) {
	err = a.expire()
	landed, looked := make(chan *pool.Failure), make(chan error)
	flying, looking, suspect := 0, a.lookDue(), false
	blind := looking && a.doubt
	var unseen error
	if looking {
		go func() { looked <- a.describe(ctx) }()
	}
	var failed []error
	for {
		if !blind && !suspect && unseen == nil {
			for _, action := range a.plan() {
				flying++
				go func() { landed <- a.call(ctx, action) }()
			}
			if a.askSubnets() {
				flying++
				go func() { landed <- a.describeSubnets(ctx) }()
			}
		}
		if flying == 0 && !looking {
			break
		}
		select {
		case unseen = <-looked:
			looking, blind = false, false
		case failure := <-landed:
			flying--
			if failure == nil {
				a.said = ""
				break
			}
			failed = append(failed, failure)
			suspect = suspect || inDoubt(failure.Class)
		case <-a.poke:
		case <-a.timePasses():
			err = errors.Join(err, a.expire())
		}
	}
	a.sayFailed(ctx, failed)
	if suspect {
		a.doubt = true
		a.settled = time.Now().Add(lag)
	}
	return a.again(time.Now()), errors.Join(unseen, err, a.expire())
}

// sayFailed logs what failed: at debug level, if it is what failed last. What
// failed pauses, each kind by itself, in the pool; the loop goes on.
func (a *Allocator) sayFailed(ctx context.Context, failed []error) {
	if len(failed) == 0 || ctx.Err() != nil {
		return
	}
	text, level := errors.Join(failed...).Error(), slog.LevelWarn
	if text == a.said {
		level = slog.LevelDebug
	}
	a.said = text
	a.log.Log(ctx, level, "EC2 calls failed", "error", text)
}

// timePasses tells when a cool-down or a pause ends: neither waits for a call
// that is long on its way.
func (a *Allocator) timePasses() <-chan time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	next := a.pool.NextChange(now)
	if next.IsZero() {
		return nil
	}
	return time.After(next.Sub(now))
}

// inDoubt says whether a failure means that EC2 may not be as we know it, so
// that it is looked at before more is planned. One that refuses for other
// reasons, as when it throttles, is spared the describes.
func inDoubt(c pool.Class) bool {
	switch c {
	case pool.Ambiguous, pool.AddressLimit, pool.ENILimit, pool.NotFound, pool.InUse:
		return true
	}
	return false
}

// lookDue says whether what is known of EC2 is in doubt or old.
func (a *Allocator) lookDue() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	age := time.Since(a.described)
	return ((a.doubt || a.hinted) && age >= redescribe) || age >= a.oldest() || (a.pool.Transitional() && age >= following)
}

// oldest is how old the description may get.
func (a *Allocator) oldest() time.Duration {
	if a.described.Before(a.settled.Add(resync)) {
		return resync
	}
	return calm
}

// describe looks at EC2.
func (a *Allocator) describe(ctx context.Context) error {
	now := time.Now()
	leftovers := a.doubt || now.Sub(a.described) >= a.oldest() || a.detaching()
	if a.askSubnets() { // at the start: it brings the blocks of the ENIs' subnets as well
		if failure := a.describeSubnets(ctx); failure != nil {
			a.log.Warn("the subnets of the zone are not known", "error", failure)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	enis, err := a.cloud.Describe(ctx, leftovers)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.blind = failureOf(err)
		return fmt.Errorf("describing this node's ENIs: %w", err)
	}
	a.blind, a.hinted = nil, false
	a.described, a.doubt = now, now.Before(a.settled)
	a.pool.Observe(enis, leftovers, now)
	a.keep()
	a.serve(time.Now())
	a.changed()
	return nil
}

func (a *Allocator) detaching() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.Detaching()
}

// plan returns the calls to make now, and books them as on their way.
func (a *Allocator) plan() []pool.Action {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.restOn(now)
	actions := slices.DeleteFunc(a.pool.Plan(len(a.waiters), now), func(action pool.Action) bool {
		if err := a.giveBack(action, now); err != nil {
			a.log.Error("EC2: not called, for the book could not be written", "action", action.String(), "error", err)
			return true
		}
		a.pool.Start(action)
		return false
	})
	if len(actions) > 0 {
		a.keep() // should we crash, what was asked for is no stranger's
	}
	return actions
}

// givenBackRest is for how long an address that was to be given back is not
// handed out again, whatever describes show: past those that follow a restart.
const givenBackRest = resync + time.Minute

// giveBack notes on disk what an action gives back before EC2 is called: should
// we crash, nobody would know whether it was, and a pod could be given an
// address that is another node's by then. The lock is held.
func (a *Allocator) giveBack(action pool.Action, now time.Time) error {
	for address := range a.pool.GivenBack(action) {
		until := now.Add(givenBackRest)
		if err := a.store.Cool(address, until); err != nil {
			return err
		}
		a.pool.Cool(address, until)
	}
	return nil
}

// keptAfterAll notes that EC2 refused to take back what an action gives back.
// The lock is held.
func (a *Allocator) keptAfterAll(action pool.Action) {
	for address := range a.pool.GivenBack(action) {
		a.warm(address)
	}
}

// warm ends a cool-down. The lock is held.
func (a *Allocator) warm(address netip.Addr) {
	a.pool.Warm(address)
	if err := a.store.Forget(address); err != nil {
		a.log.Error("the book could not be written", "error", err)
	}
}

// call carries out one action; its failure, if any, is booked already.
func (a *Allocator) call(ctx context.Context, action pool.Action) *pool.Failure {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	began := time.Now()
	result, err := a.cloud.Apply(ctx, action)
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		failure := failureOf(err)
		a.pool.Failed(action, failure, now)
		if failure.Class != pool.Ambiguous {
			a.keptAfterAll(action)
		}
		a.serve(now)
		return failure
	}
	a.log.Info("EC2: "+action.String(), "took", now.Sub(began).Round(time.Millisecond))
	for address := range result.Brought() {
		if a.pool.Parted(address) { // and came again
			a.warm(address)
		}
	}
	a.pool.Applied(action, result, now)
	a.keep()
	a.serve(now)
	a.changed()
	return nil
}

// failureOf is the class that the doorway gave; without one, all is possible.
func failureOf(err error) *pool.Failure {
	var failure *pool.Failure
	if !errors.As(err, &failure) {
		failure = &pool.Failure{Class: pool.Ambiguous, Err: err}
	}
	return failure
}

// again is when the plan may change with time alone.
func (a *Allocator) again(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	wait := a.oldest() - now.Sub(a.described)
	if a.pool.Transitional() {
		wait = min(wait, following)
	}
	if a.doubt || a.hinted {
		wait = min(wait, redescribe)
	}
	if next := a.pool.NextChange(now); !next.IsZero() {
		wait = min(wait, next.Sub(now))
	}
	return max(wait, time.Millisecond)
}

// expire forgets cool-downs that are over, also on disk, and hands out what
// they kept.
func (a *Allocator) expire() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.restOn(now)
	var failed []error
	for _, address := range a.pool.Expire(now) {
		failed = append(failed, a.store.Forget(address))
	}
	a.serve(now)
	return errors.Join(failed...)
}
