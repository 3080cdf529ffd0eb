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
	"log/slog"
	"net/netip"
	"reflect"
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
	// Subnets returns all subnets of the node's VPC and zone.
	Subnets(context.Context) ([]pool.Subnet, error)
	// Apply carries out one action.
	Apply(context.Context, pool.Action) (pool.Result, error)
}

// Settings of the allocator.
type Settings struct {
	Pool pool.Settings
	Wait time.Duration // longest wait of an Assign for an address
	// Named, if set, says whether a service still sends to an address; it must
	// not block and must not call back.
	Named func(netip.Addr) bool
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
	changed  func()        // tells that ENIs, assignments or host ports changed

	mu      sync.Mutex
	pool    *pool.Pool
	waiters []*waiter
	kept    []pool.ENI    // as they are on disk
	hinted  bool          // see Refresh
	blind   *pool.Failure // why the last describe failed; nil if it did not

	// Only Step touches these.
	described time.Time
	doubt     bool      // a call failed: what EC2 has is to be looked at
	settled   time.Time // when a describe shows what an unanswered call did
	said      string    // of calls that failed, in the log
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
			continue
		}
		for _, old := range a.pool.Hold(*r.Assignment) {
			log.Error("two addresses were recorded for one container, or one for two; keeping the younger record", "container", old.Key.ContainerID, "address", old.Text())
			if err := a.coolDown(old, now); err != nil {
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

// coolDown takes the addresses of an assignment out of use, but for those that
// another one holds.
func (a *Allocator) coolDown(old pool.Assignment, now time.Time) error {
	for _, address := range old.Addresses() {
		if a.pool.Taken(address) {
			continue
		}
		until := now.Add(a.settings.Pool.CoolDown)
		a.pool.Cool(address, until)
		if err := a.store.Cool(address, until); err != nil {
			return err
		}
	}
	return nil
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
	if until.IsZero() || until.After(now.Add(max(coolDown, givenBackRest))) {
		return now.Add(coolDown)
	}
	return until
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

// Refresh tells that EC2 may not be as it was described: it is asked again soon.
func (a *Allocator) Refresh() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hinted = true
	a.wakeLoop()
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

// HostPorts returns the assignments whose pods have host ports, by address: of
// the sandboxes of one pod the youngest. Each change of it is told by changed.
func (a *Allocator) HostPorts() []pool.Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.Forwarded()
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

// Fragmented are the subnets that had no prefix for us a while ago.
func (a *Allocator) Fragmented() []pool.SubnetID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.Fragmented(time.Now())
}

// SubnetsUnknown is why the subnets of the node's zone are not known; nil if they
// are, or need not be.
func (a *Allocator) SubnetsUnknown() *pool.Failure {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.SubnetsUnknown()
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
