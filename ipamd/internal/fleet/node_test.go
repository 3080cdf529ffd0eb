package fleet

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/sweep"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// As the daemon and its packages allocator, loop and ec2 have them.
const (
	calm        = 30 * time.Minute
	resync      = 5 * time.Minute
	following   = 2 * time.Second
	callTimeout = 30 * time.Second
	lag         = 2 * time.Second
	redescribe  = 500 * time.Millisecond
	attempts    = 3
	backoff     = 100 * time.Millisecond
	firstPause  = 500 * time.Millisecond
	lastPause   = 15 * time.Second
	truthEvery  = time.Hour
	sweepEvery  = time.Hour
)

// node is one of ours: the planner and the budget, and around them a Step as
// package allocator has it.
type node struct {
	*instance
	pool   *pool.Pool
	budget *budget.Budget
	rng    *rand.Rand

	waiting, pods  int // that have no address, and all that ever were
	eldest         int // pod of those that hold one
	served         func()
	ready          map[pool.ENIID]bool
	described      time.Time
	doubt          bool
	settled        time.Time
	looking        bool
	suspect        bool
	running        bool // a Step is under way
	flying, failed int
	woken          int // which of the wake-ups that were asked for counts
	subnetKnown    bool
}

func newNode(a *account, number int, s pool.Settings, pods int, served func()) *node {
	s.InstanceID = "i-" + strconv.Itoa(number)
	rng := rand.New(rand.NewPCG(uint64(number), a.random.Uint64()))
	n := &node{instance: newInstance(a, s.InstanceID, s.Limits), pool: pool.New(s), budget: budget.New(budget.Settings{}, rng),
		rng: rng, waiting: pods, pods: pods, served: served, ready: map[pool.ENIID]bool{}, doubt: true, settled: a.now.Add(lag)}
	for id := range n.enis {
		n.ready[id] = true
	}
	return n
}

func key(pod int) pool.Key {
	return pool.Key{Network: "aws-cni", ContainerID: strconv.Itoa(pod), Interface: "eth0"}
}

// serve hands out what is free.
func (n *node) serve() {
	n.pool.SetReady(n.ready, n.now)
	n.pool.Expire(n.now)
	for n.waiting > 0 {
		if _, _, ok := n.pool.Assign(pool.Request{Key: key(n.pods - n.waiting)}, n.now); !ok {
			return
		}
		if n.waiting--; n.waiting == 0 {
			n.served()
		}
	}
}

// replace ends the oldest pod, and adds one.
func (n *node) replace() {
	n.pool.Release(key(n.eldest), "", nil, n.now)
	n.eldest++
	n.pods++
	n.waiting++
	n.serve()
	n.wake(0)
}

// wake goes on with the Step under way, or begins one, after a while; another
// wake before then is in its stead.
func (n *node) wake(d time.Duration) {
	n.woken++
	this := n.woken
	n.after(d, func() {
		if this == n.woken {
			n.step()
		}
	})
}

// step begins a Step if none is under way, and plans.
func (n *node) step() {
	if !n.running {
		n.running, n.suspect = true, false
		if n.lookDue() {
			n.looking = true
			n.look()
		}
	}
	n.serve()
	if !n.looking && !n.suspect {
		for _, action := range n.pool.Plan(n.waiting, n.now) {
			n.pool.Start(action)
			n.flying++
			n.carryOut(action)
		}
	}
	switch next := n.pool.NextChange(n.now); {
	case n.flying == 0 && !n.looking:
		n.end()
	case !next.IsZero():
		n.wake(next.Sub(n.now))
	}
}

func (n *node) end() {
	n.running = false
	if n.suspect {
		n.doubt, n.settled = true, n.now.Add(lag)
	}
	wait := n.oldest() - n.now.Sub(n.described)
	if n.pool.Transitional() {
		wait = min(wait, following)
	}
	if n.doubt {
		wait = min(wait, redescribe)
	}
	if next := n.pool.NextChange(n.now); !next.IsZero() {
		wait = min(wait, next.Sub(n.now))
	}
	n.wake(max(wait, time.Millisecond))
}

func (n *node) lookDue() bool {
	age := n.now.Sub(n.described)
	return (n.doubt && age >= redescribe) || age >= n.oldest() || (n.pool.Transitional() && age >= following)
}

// oldest is how old the description may get.
func (n *node) oldest() time.Duration {
	if n.described.Before(n.settled.Add(resync)) {
		return resync
	}
	return calm
}

// lookAtVPC asks for the blocks of the VPC, as the daemon does beside the pool.
func (n *node) lookAtVPC() {
	n.request("DescribeVpcs", paged, attempts, n.now.Add(patience), func() {}, func(ok bool) {
		if !ok {
			n.after(time.Second, n.lookAtVPC)
			return
		}
		n.after(truthEvery, n.lookAtVPC)
	})
}

// sweepInTurn looks for what others left, hourly, if it is this node's turn.
func (n *node) sweepInTurn() {
	if sweep.Mine(*nodes, n.rng.Float64()) {
		n.request("DescribeNetworkInterfaces", paged, attempts, n.now.Add(callTimeout), func() {}, func(bool) {})
	}
	n.after(sweepEvery, n.sweepInTurn)
}

// look describes what is attached, then what is attached to nothing if that is
// in doubt, and the subnet once.
func (n *node) look() {
	began, end := n.now, n.now.Add(callTimeout)
	leftovers := n.doubt || n.pool.Detaching() || began.Sub(n.described) >= n.oldest()
	calls := []string{"DescribeNetworkInterfaces"}
	if leftovers {
		calls = append(calls, "DescribeNetworkInterfaces")
	}
	if !n.subnetKnown {
		calls = append(calls, "DescribeSubnets")
	}
	var shown []pool.ENI
	var next func()
	next = func() {
		if len(calls) == 0 {
			n.looked(shown, leftovers, began)
			return
		}
		action := calls[0]
		calls = calls[1:]
		n.request(action, paged, attempts, end, func() { shown = n.describe(leftovers) }, func(ok bool) {
			if !ok {
				n.blind()
				return
			}
			next()
		})
	}
	next()
}

func (n *node) looked(shown []pool.ENI, leftovers bool, began time.Time) {
	n.looking, n.subnetKnown, n.failed = false, true, 0
	n.described, n.doubt = began, began.Before(n.settled)
	n.pool.Observe(shown, leftovers, began)
	n.step()
}

// blind ends the Step: what EC2 has could not be seen.
func (n *node) blind() {
	n.looking, n.running = false, false
	n.failed++
	pause := min(firstPause<<min(n.failed-1, 10), lastPause)
	n.wake(pause*3/4 + time.Duration(n.rng.Int64N(int64(pause/2))))
}

// carryOut makes the call of an action. One that acts twice when sent twice is
// sent once.
func (n *node) carryOut(action pool.Action) {
	tries := attempts
	switch action.(type) {
	case pool.AttachENI, pool.AssignAddresses:
		tries = 1
	}
	var result pool.Result
	var failure *pool.Failure
	do := func() { result, failure = n.apply(action) }
	n.request(actionOf(action), sim.Kind{}, tries, n.now.Add(callTimeout), do, func(ok bool) {
		n.flying--
		if !ok {
			failure = &pool.Failure{Class: pool.Throttled, Err: errors.New("RequestLimitExceeded")}
		}
		if failure != nil {
			n.pool.Failed(action, failure, n.now)
			n.suspect = n.suspect || failure.Class != pool.Throttled
			n.step()
			return
		}
		n.pool.Applied(action, result, n.now)
		if a, ok := action.(pool.AttachENI); ok {
			n.appear(a.ENI)
		}
		n.step()
	})
}

// appear lets the device of an ENI appear on the node.
func (n *node) appear(id pool.ENIID) {
	n.after(n.spread([2]time.Duration{1300 * time.Millisecond, 6 * time.Second}), func() {
		n.ready[id] = true
		n.serve()
		n.wake(0)
	})
}

// request makes a call as package ec2 does: each attempt waits for its token,
// unless that leaves too little of the call's time.
func (n *node) request(action string, kind sim.Kind, tries int, end time.Time, do func(), done func(ok bool)) {
	if wait := n.budget.Take(action, n.now); wait > end.Sub(n.now)/2 {
		n.after(0, func() { done(false) })
		return
	} else if wait > 0 {
		n.after(wait, func() { n.request(action, kind, tries, end, do, done) })
		return
	}
	n.call(action, kind, do, func(throttled bool) {
		if !throttled {
			n.budget.Succeeded(action, n.now)
			done(true)
			return
		}
		if n.budget.Throttled(action, n.now); tries == 1 {
			done(false)
			return
		}
		pause := time.Duration(n.rng.Int64N(int64(backoff << (attempts - tries + 1))))
		n.after(pause, func() { n.request(action, kind, tries-1, end, do, done) })
	})
}
