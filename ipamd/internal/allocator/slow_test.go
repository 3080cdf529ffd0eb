package allocator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// slowCreate is an EC2 that takes long to create an ENI, and nothing else.
func slowCreate(limits pool.Limits, addresses int) func() *fakeEC2 {
	return func() *fakeEC2 {
		f := newEC2(limits, addresses)
		f.latency, f.slow = time.Second, map[call]time.Duration{create: 8 * time.Second}
		return f
	}
}

// What one call brings does not wait for another that is slower.
func TestSlowCallKeepsNobodyWaiting(t *testing.T) {
	s := settingsFor(large)
	s.Pool.Headroom, s.Wait = 0, 30*time.Second
	inTime(t, s, slowCreate(large, 0), func(t *testing.T, n *node) {
		n.settle(2 * time.Second)
		soon := 0
		for _, a := range n.addAll("p", 12) {
			if a.err != nil {
				t.Error(a.err)
			} else if a.took <= 1100*time.Millisecond {
				soon++
			}
		}
		if soon != 9 {
			t.Errorf("%d were served after the quick call, want 9", soon)
		}
	})
}

// New demand is planned for at once, also while a call is on its way.
func TestMoreIsAskedWhileACallIsOnItsWay(t *testing.T) {
	s := settingsFor(large)
	s.Pool.Headroom, s.Wait = 0, 30*time.Second
	inTime(t, s, slowCreate(large, 9), func(t *testing.T, n *node) {
		n.settle(2 * time.Second)
		allServed(t, n.addAll("p", 9))
		var all sync.WaitGroup
		all.Go(func() { n.mustAdd("first") })
		n.settle(2 * time.Second)
		all.Go(func() { allServed(t, n.addAll("more", 12)) })
		n.settle(100 * time.Millisecond)
		if creates := n.ec2.count(create); creates != 2 {
			t.Errorf("%d creations are on their way, want 2", creates)
		}
		all.Wait()
		n.noneLeaked(0)
	})
}

// An address whose cool-down ends goes to who waits for longest, also while a
// call is on its way; one who comes later does not go before.
func TestCoolDownEndsWhileACallIsOnItsWay(t *testing.T) {
	s := settingsFor(large)
	s.Pool.Headroom, s.Wait = 0, 5*time.Second
	inTime(t, s, slowCreate(large, 9), func(t *testing.T, n *node) {
		n.settle(2 * time.Second)
		allServed(t, n.addAll("p", 9))
		n.release("p0")
		n.settle(s.Pool.CoolDown - 2*time.Second)
		answers := make([]answer, 2)
		var all sync.WaitGroup
		for i := range answers {
			all.Go(func() { answers[i] = n.add(fmt.Sprint("new", i)) })
			n.settle(2 * time.Second) // the second comes in the moment in which the cool-down ends
		}
		all.Wait()
		if answers[0].err != nil || answers[0].took != 2*time.Second {
			t.Errorf("the first got %v after %s", answers[0].err, answers[0].took)
		}
		if answers[1].err == nil {
			t.Errorf("the second got %s before EC2 brought more", answers[1].Address)
		}
	})
}

// Who comes later does not go before one in line, also if an address is free
// by now and nobody has looked.
func TestNobodyGoesBeforeTheLine(t *testing.T) {
	s := settingsFor(pool.Limits{ENIs: 1, AddressesPerENI: 2})
	inTime(t, s, func() *fakeEC2 { return newEC2(s.Pool.Limits, 1) }, func(t *testing.T, n *node) {
		n.settle(time.Second)
		n.mustAdd("old")
		n.release("old")
		n.settle(s.Pool.CoolDown - time.Second)
		n.stop() // no rounds from here on
		answers := make([]answer, 2)
		var all sync.WaitGroup
		all.Go(func() { answers[0] = n.add("first") })
		n.settle(2 * time.Second)
		all.Go(func() { answers[1] = n.add("second") })
		n.settle(time.Second)
		if _, err := n.Step(t.Context()); err != nil {
			t.Error(err)
		}
		all.Wait()
		if answers[0].err != nil || answers[1].err == nil {
			t.Errorf("the first got %v, the second %v", answers[0].err, answers[1].err)
		}
	})
}

// A describe that is slow, or fails, keeps nobody from what is free: an address
// whose cool-down ends meanwhile goes to who waits.
func TestDescribesKeepNobodyWaiting(t *testing.T) {
	one := pool.Limits{ENIs: 1, AddressesPerENI: 2}
	for name, worsen := range map[string]func(*fakeEC2){
		"slow": func(f *fakeEC2) { f.slow = map[call]time.Duration{describe: 29 * time.Second} },
		"failing": func(f *fakeEC2) {
			f.fault = func(c call, _ int) fault { return map[call]fault{describe: throttle}[c] }
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := settingsFor(one)
			inTime(t, s, func() *fakeEC2 { return newEC2(one, 1) }, func(t *testing.T, n *node) {
				n.settle(3 * time.Second)
				n.mustAdd("old")
				n.settle(resync - 20*time.Second)
				n.ec2.set(worsen)
				n.release("old")
				n.settle(s.Pool.CoolDown - 2*time.Second)
				if got := n.add("new"); got.err != nil || got.took != 2*time.Second {
					t.Errorf("got %v after %s, want to wait for the 2 s that are left of the cool-down", got.err, got.took)
				}
			})
		})
	}
}

// An address that is free by now is for who comes, when nobody is in line.
func TestTheLineIsServedBeforeWhoComes(t *testing.T) {
	two := pool.Limits{ENIs: 1, AddressesPerENI: 3}
	s := settingsFor(two)
	inTime(t, s, func() *fakeEC2 { return newEC2(two, 2) }, func(t *testing.T, n *node) {
		n.settle(time.Second)
		n.stop()
		n.mu.Lock() // a request in line that nobody has looked at since there are addresses
		first := &waiter{request: request("first"), served: make(chan outcome, 1)}
		n.waiters = append(n.waiters, first)
		n.mu.Unlock()
		second := n.add("second")
		if second.err != nil || second.took != 0 {
			t.Errorf("the second got %v after %s", second.err, second.took)
		}
		select {
		case got := <-first.served:
			if got.err != nil || !got.assignment.Address.Less(second.Address) {
				t.Errorf("the first got %v, %v, the second %s", got.assignment.Address, got.err, second.Address)
			}
		default:
			t.Error("the first still waits")
		}
	})
}

// The DEL of a container ends the ADD of it that still waits.
func TestDELEndsTheADDThatWaits(t *testing.T) {
	s := settingsFor(large)
	inTime(t, s, func() *fakeEC2 {
		f := newEC2(large, 0)
		f.latency = 3 * time.Second
		return f
	}, func(t *testing.T, n *node) {
		var all sync.WaitGroup
		var got answer
		all.Go(func() { got = n.add("a") })
		n.settle(time.Second)
		if _, held, err := n.Release(t.Context(), request("a").Key, "", nil, "DEL"); held || err != nil {
			t.Errorf("DEL: held %v, %v", held, err)
		}
		all.Wait()
		if !errors.Is(got.err, context.Canceled) || got.took != time.Second {
			t.Errorf("ADD got %v after %s", got.err, got.took)
		}
		n.settle(time.Minute)
		if held := n.Assignments(); len(held) != 0 {
			t.Errorf("held for a container that is gone: %v", held)
		}
	})
}
