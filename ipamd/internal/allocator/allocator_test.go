package allocator

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func TestFreeAddressNeedsNoCall(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 { return newEC2(large, 5) }, func(t *testing.T, n *node) {
		n.settle(time.Second)
		n.ec2.set(func(f *fakeEC2) { f.latency = time.Second })
		before := n.ec2.mutating()
		first := n.mustAdd("a")
		if first.took != 0 || n.ec2.mutating() != before {
			t.Errorf("took %s and %d calls", first.took, n.ec2.mutating()-before)
		}
		if again := n.mustAdd("a"); !reflect.DeepEqual(again.Assignment, first.Assignment) {
			t.Errorf("the same key got %v, then %v", first.Address, again.Address)
		}
		if other := n.mustAdd("b"); other.Address == first.Address {
			t.Errorf("two keys got %s", other.Address)
		}
	})
}

// An ADD that comes to an empty pool is served the moment that a call returns,
// and those who wait in the order in which they came.
func TestWaitersAreServedInTurn(t *testing.T) {
	s := settingsFor(large)
	s.Pool.Headroom = 0
	inTime(t, s, func() *fakeEC2 { return newEC2(large, 0) }, func(t *testing.T, n *node) {
		n.settle(time.Second)
		n.ec2.set(func(f *fakeEC2) { f.latency = time.Second })
		var all sync.WaitGroup
		var order []int
		var mu sync.Mutex
		for i := range 5 {
			all.Go(func() {
				got := n.mustAdd(fmt.Sprint(i))
				mu.Lock()
				defer mu.Unlock()
				order = append(order, int(got.Address.As4()[3]))
			})
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		all.Wait()
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("the last was served after %s", took)
		}
		for i, a := range n.Assignments() {
			if a.Key.ContainerID != fmt.Sprint(i) {
				t.Errorf("the address with number %d went to ADD %s", i, a.Key.ContainerID)
			}
		}
		t.Log("addresses in the order of the answers:", order)
	})
}

func TestHopelessIsRefusedAtOnce(t *testing.T) {
	inTime(t, settingsFor(pool.Limits{ENIs: 1, AddressesPerENI: 4}), func() *fakeEC2 { return newEC2(pool.Limits{ENIs: 1, AddressesPerENI: 4}, 3) }, func(t *testing.T, n *node) {
		n.settle(time.Second)
		allServed(t, n.addAll("p", 3))
		got := n.add("fourth")
		var why *pool.Refusal
		if !errors.As(got.err, &why) || why.Cause != pool.TooManyPods || !why.Hopeless || got.took != 0 {
			t.Errorf("got %+v after %s", got.err, got.took)
		}
		n.release("p0")
		got = n.add("fifth")
		if !errors.As(got.err, &why) || why.Cause != pool.CoolingDown || got.took != 10*time.Second {
			t.Errorf("while one cools down: %v after %s", got.err, got.took)
		}
		n.settle(15 * time.Second)
		if got := n.mustAdd("sixth"); got.took > 5*time.Second+20*time.Millisecond {
			t.Errorf("served %s after the cool-down", got.took-5*time.Second)
		}
	})
}

// 29 pods at once, as many as kubelet gives an m5.large, on a node that has just
// started and whose EC2 takes a second for each call: all are served within
// three round trips and half a second, with six calls that change something,
// if there are addresses for 29. Without prefixes there are for 27: the other
// two need not wait to the end to be told so. A device comes a second after it was
// attached; one that is later makes its pods wait for as much longer.
func TestBurstOnAFreshNode(t *testing.T) {
	for _, c := range []struct {
		name         string
		prefixes     bool
		served       int
		trips, calls int
	}{
		{"addresses", false, 27, 3, 6},
		{"prefixes", true, 29, 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := settingsFor(large)
			s.Pool.Prefixes = c.prefixes
			inTime(t, s, func() *fakeEC2 {
				f := newEC2(large, 0)
				f.latency, f.device = time.Second, time.Second
				return f
			}, func(t *testing.T, n *node) {
				n.settle(5 * time.Second) // its first describes and its headroom
				began := time.Now()
				answers := n.addAll("p", 29)
				calls := n.ec2.mutatingBefore(began.Add(last(answers)))
				var served []answer
				for _, a := range answers {
					var why *pool.Refusal
					if a.err == nil {
						served = append(served, a)
					} else if !errors.As(a.err, &why) || why.Cause != pool.TooManyPods {
						t.Errorf("refused: %v", a.err)
					}
				}
				allServed(t, served)
				if limit := time.Duration(c.trips)*time.Second + 500*time.Millisecond; len(served) != c.served || last(answers) > limit {
					t.Errorf("%d were served, want %d; the last answer came after %s, want %s", len(served), c.served, last(answers), limit)
				}
				if calls > c.calls {
					t.Errorf("%d calls that change something, want at most %d", calls, c.calls)
				}
				t.Logf("29 ADDs at once: the last answer after %s, with %d calls that change something since the start", last(answers), calls)
				n.settle(time.Minute)
				n.allProtected()
			})
		})
	}
}

// The subnet cannot give what is asked: the refusal names it.
func TestFullSubnet(t *testing.T) {
	for _, c := range []struct{ left, served int }{{0, 0}, {1, 1}, {2, 2}} {
		t.Run(fmt.Sprint(c.left), func(t *testing.T) {
			inTime(t, settingsFor(large), func() *fakeEC2 {
				f := newEC2(large, 0)
				f.left = c.left
				f.latency = 100 * time.Millisecond
				return f
			}, func(t *testing.T, n *node) {
				served := 0
				for _, a := range n.addAll("p", c.served+1) {
					var why *pool.Refusal
					switch {
					case a.err == nil:
						served++
					case !errors.As(a.err, &why) || why.Cause != pool.CallFailed || why.Class != pool.SubnetFull || !strings.Contains(why.Message, string(subnet)):
						t.Errorf("refused: %+v", a.err)
					case a.took != 10*time.Second:
						t.Errorf("refused after %s", a.took)
					}
				}
				if served != c.served {
					t.Errorf("%d were served, want %d", served, c.served)
				}
				t.Logf("%d calls", n.ec2.mutating())
			})
		})
	}
}

// A pod whose turn comes before the headroom's gets the last address.
func TestTheLastAddressGoesToThePod(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 {
		f := newEC2(large, 0)
		f.left, f.latency = 1, 500*time.Millisecond
		return f
	}, func(t *testing.T, n *node) {
		got := n.mustAdd("a")
		t.Logf("the last address of the subnet came after %s and %d calls", got.took, n.ec2.mutating())
		if got.took > 3*time.Second {
			t.Errorf("took %s", got.took)
		}
	})
}

func TestWaitEndsWithItsContext(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 {
		f := newEC2(large, 0)
		f.latency = time.Minute
		return f
	}, func(t *testing.T, n *node) {
		got := n.add("a")
		var why *pool.Refusal
		if !errors.As(got.err, &why) || why.Cause != pool.Starting || got.took != 10*time.Second {
			t.Errorf("got %v after %s", got.err, got.took)
		}
		if waiting := n.Snapshot().Waiting; waiting != 0 {
			t.Errorf("%d are still in line", waiting)
		}
		if n.Ready() == nil {
			t.Error("ready before EC2 was described")
		}
		synctest.Wait()
	})
}
