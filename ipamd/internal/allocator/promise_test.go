package allocator

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Random nodes, settings and demand: an ADD for which an attached ENI has room
// is answered within one round trip to EC2 and half a second, one that needs a
// further ENI within two and the time that its device takes. When the demand no
// longer changes the pool comes to rest, and stays so.
func TestPromise(t *testing.T) {
	for seed := range uint64(*lives) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 11))
			s := settingsFor(pool.Limits{ENIs: 1 + r.IntN(4), AddressesPerENI: 2 + r.IntN(14)})
			s.Pool.Prefixes, s.Pool.ReleaseAfter = r.IntN(2) == 1, time.Duration(r.IntN(3))*20*time.Second
			s.Pool.CoolDown = time.Duration(r.IntN(31)) * time.Second
			s.Pool.Targets = [...]pool.Targets{{}, {WarmAddresses: 1 + r.IntN(3)}, {MinimumAddresses: 1 + r.IntN(12)}, {WarmENIs: pool.Target{Number: r.IntN(2), Set: true}},
				{WarmPrefixes: pool.Target{Number: r.IntN(2), Set: true}}}[r.IntN(5)]
			synctest.Test(t, func(t *testing.T) { demand(t, s, r) })
		})
	}
}

func demand(t *testing.T, s Settings, r *rand.Rand) {
	ec2 := newEC2(s.Pool.Limits, 0)
	ec2.left = 10000
	ec2.latency, ec2.device, ec2.lag = time.Duration(100+r.IntN(2000))*time.Millisecond, time.Duration(r.IntN(5000))*time.Millisecond, time.Duration(r.IntN(3))*time.Second
	n := boot(t, s, ec2, t.TempDir())
	n.settle(3*ec2.latency + 5*time.Second)
	held, next := map[string]bool{}, 0
	for range 30 {
		switch r.IntN(3) {
		case 0, 1:
			var all sync.WaitGroup
			var mu sync.Mutex
			for range 1 + r.IntN(8) {
				name := fmt.Sprint("p", next)
				next++
				if r.IntN(3) == 0 {
					n.settle(time.Duration(r.IntN(700)) * time.Millisecond)
				}
				limit := n.promised()
				all.Go(func() {
					got := n.add(name)
					mu.Lock()
					defer mu.Unlock()
					held[name] = got.err == nil
					if limit > 0 && (got.err != nil || got.took > limit) {
						t.Errorf("%s got %v after %s, promised within %s", name, got.err, got.took, limit)
					}
				})
				synctest.Wait() // it is in line
			}
			all.Wait()
		case 2:
			for name, has := range held {
				if has && r.IntN(2) == 0 {
					n.release(name)
					held[name] = false
				}
			}
		}
		n.settle(time.Duration(r.IntN(20000)) * time.Millisecond)
		n.check()
	}
	n.settle(10 * time.Minute)
	before := n.ec2.mutating()
	n.settle(calm + 10*time.Minute)
	if more := n.ec2.mutating() - before; more > 0 {
		t.Errorf("%d calls that change something while nothing happened", more)
	}
}

// promised is within what time a request is answered that comes now; 0 if EC2
// has nothing for it.
func (n *node) promised() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	limits, now := n.settings.Pool.Limits, time.Now()
	unit := 1
	if n.settings.Pool.Prefixes {
		unit = 16
	}
	ready := 0
	for _, e := range n.pool.ENIs() {
		if n.pool.Count(now).ReadyENIs[e.ID] {
			ready += (limits.AddressesPerENI - 1 - len(e.Addresses) - len(e.Prefixes)) * unit
		}
	}
	for _, made := range n.ec2.history() {
		if made.call == detach && now.Sub(made.at) < 15*time.Second {
			return 0 // what is on its way out cannot be called back, and takes a place until it is gone
		}
	}
	count := n.pool.Count(now)
	line := len(n.waiters) + 1
	switch trip, device := n.ec2.latency, n.ec2.device+50*time.Millisecond; {
	case line <= ready: // also while other calls are on their way
		return trip + 500*time.Millisecond
	case line <= count.MaxAddresses-count.Assigned-count.Cooling:
		return 2*trip + device + 500*time.Millisecond
	}
	return 0
}
