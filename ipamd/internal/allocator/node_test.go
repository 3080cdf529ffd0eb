package allocator

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

var large = pool.Limits{ENIs: 3, AddressesPerENI: 10} // m5.large

func settingsFor(limits pool.Limits) Settings {
	return Settings{Wait: 10 * time.Second, Pool: pool.Settings{
		Limits: limits, CoolDown: 30 * time.Second, Headroom: 2, ManageUntagged: true, InstanceID: instance,
	}}
}

// node is an allocator in its loop, with a datapath that configures devices as
// soon as they appear.
type node struct {
	*Allocator
	t    *testing.T
	ec2  *fakeEC2
	stop func()
}

// boot starts a node on a book. It stops with the test.
func boot(t *testing.T, s Settings, ec2 *fakeEC2, dir string) *node {
	t.Helper()
	store, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	var round *loop.Loop
	changed := make(chan struct{}, 1)
	a, err := New(s, ec2, store, time.Now(), log, func() { round.Trigger() }, func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	round = loop.New(loop.Settings{Name: "pool", Coalesce: 10 * time.Millisecond, Resync: time.Minute,
		Pause: 500 * time.Millisecond, LongestPause: 15 * time.Second}, a.Step, log, func(string) {})
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = round.Run(ctx) })
	tasks.Go(func() { configureDevices(ctx, a, ec2, changed) })
	n := &node{Allocator: a, t: t, ec2: ec2, stop: sync.OnceFunc(func() { cancel(); tasks.Wait() })}
	t.Cleanup(n.stop)
	return n
}

func configureDevices(ctx context.Context, a *Allocator, ec2 *fakeEC2, changed <-chan struct{}) {
	for ctx.Err() == nil {
		there, ready := ec2.devices(), map[pool.ENIID]bool{}
		var look <-chan time.Time
		for _, e := range a.ENIs() {
			attached := e.Status == pool.Attached || e.Status == pool.Attaching
			if ready[e.ID] = there[e.ID] && attached; attached && !there[e.ID] {
				look = time.After(50 * time.Millisecond)
			}
		}
		a.SetReady(ready)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-look:
		}
	}
}

// inTime runs a story in a bubble of time, on a node with a book of its own.
func inTime(t *testing.T, s Settings, prepare func() *fakeEC2, story func(t *testing.T, n *node)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := boot(t, s, prepare(), t.TempDir())
		story(t, n)
		n.check()
	})
}

// settle lets time go by until the loop has nothing more to do soon.
func (n *node) settle(d time.Duration) { time.Sleep(d); synctest.Wait() }

func request(name string) Request {
	return Request{Key: pool.Key{Network: "causeway", ContainerID: name, Interface: "eth0"}, Pod: pool.Pod{Namespace: "default", Name: name}, Link: "eni" + name}
}

// answer is what an ADD got, and after what time.
type answer struct {
	pool.Assignment
	err  error
	took time.Duration
}

func (n *node) add(name string) answer {
	began := time.Now()
	got, err := n.Assign(n.t.Context(), request(name))
	return answer{got, err, time.Since(began)}
}

// addAll makes that many ADDs at once.
func (n *node) addAll(prefix string, count int) []answer {
	answers := make([]answer, count)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = n.add(fmt.Sprint(prefix, i)) })
	}
	all.Wait()
	return answers
}

func (n *node) mustAdd(name string) answer {
	n.t.Helper()
	got := n.add(name)
	if got.err != nil {
		n.t.Fatalf("ADD of %s: %v", name, got.err)
	}
	return got
}

func (n *node) release(name string) {
	n.t.Helper()
	if _, held, err := n.Release(n.t.Context(), request(name).Key, "", nil, "DEL"); err != nil || !held {
		n.t.Fatalf("DEL of %s: held %v, %v", name, held, err)
	}
}

// last is when the last of them was answered.
func last(answers []answer) (took time.Duration) {
	for _, a := range answers {
		took = max(took, a.took)
	}
	return took
}

func allServed(t *testing.T, answers []answer) {
	t.Helper()
	seen := map[netip.Addr]bool{}
	for i, a := range answers {
		if a.err != nil {
			t.Errorf("ADD %d: %v", i, a.err)
		} else if seen[a.Address] {
			t.Errorf("%s was handed out twice", a.Address)
		}
		seen[a.Address] = true
	}
}

// check holds the node to what must be true at any time.
func (n *node) check() {
	n.t.Helper()
	seen := map[netip.Addr]pool.Key{}
	for _, a := range n.Assignments() {
		for _, address := range a.Addresses() {
			if other, twice := seen[address]; twice {
				n.t.Errorf("%s is held by %v and %v", address, other, a.Key)
			}
			seen[address] = a.Key
			if owner := n.ec2.owner(address); owner != a.ENI {
				n.t.Errorf("%s is held on %s, but EC2 has it on %q", address, a.ENI, owner)
			}
		}
	}
	for _, e := range n.ENIs() {
		for _, part := range e.Quarantined {
			if !n.ec2.isStrange(part.Addr()) {
				n.t.Errorf("%s of %s is in quarantine, but we asked for it", part, e.ID)
			}
		}
	}
}

// allProtected: no ENI outlives the instance.
func (n *node) allProtected() {
	n.t.Helper()
	n.ec2.set(func(f *fakeEC2) {
		for _, e := range f.enis {
			if e.Status != pool.Available && !e.DeleteOnTermination {
				n.t.Errorf("%s is not deleted with the instance", e.ID)
			}
		}
	})
}

// noneLeaked: what EC2 has is used, or is headroom.
func (n *node) noneLeaked(spare int) {
	n.t.Helper()
	enis, attached, addresses := n.ec2.has()
	if enis != attached {
		n.t.Errorf("EC2 has %d ENIs, and only %d are attached", enis, attached)
	}
	if free := len(addresses) - len(n.Assignments()); free > spare {
		n.t.Errorf("%d addresses are held by no pod, want at most %d", free, spare)
	}
	known := 0
	for _, e := range n.ENIs() {
		known += len(e.Addresses) + 16*len(e.Prefixes)
	}
	if known != len(addresses) || len(n.ENIs()) != enis {
		n.t.Errorf("the book has %d addresses on %d ENIs, EC2 has %d on %d", known, len(n.ENIs()), len(addresses), enis)
	}
}
