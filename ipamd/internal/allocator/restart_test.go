package allocator

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

var lives = flag.Int("lives", 48, "random lives of a node, of each test that has some")

// A random life of a node that crashes after any step, also with calls on
// their way: what pods hold, and what cools down, is the same after each start.
// Single addresses and prefixes take turns, and so do families, and lives in
// which things are given back.
func TestRestartAnywhere(t *testing.T) {
	for seed := range uint64(*lives) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := settingsFor(large)
			s.Pool.Prefixes, s.Pool.ReleaseAfter = seed%2 == 1, time.Duration(seed/2%3)*3*time.Second
			s.Pool.Families = pool.Families(seed / 2 % 4 % 3)
			s.Pool.Targets = [...]pool.Targets{{}, {WarmAddresses: 3, MinimumAddresses: 6},
				{WarmENIs: pool.Target{Number: 1, Set: true}, WarmPrefixes: pool.Target{Number: 1, Set: true}}}[seed/6%3]
			synctest.Test(t, func(t *testing.T) { live(t, s, rand.New(rand.NewPCG(seed, 7))) })
		})
	}
}

func live(t *testing.T, s Settings, r *rand.Rand) {
	ec2, dir := newEC2(large, 0), t.TempDir()
	ec2.latency, ec2.device, ec2.lag = 300*time.Millisecond, time.Second, 2*time.Second
	chance := rand.New(rand.NewPCG(r.Uint64(), 7)) // used under the lock of EC2
	ec2.fault = func(c call, _ int) fault {
		if c != describe && chance.IntN(8) == 0 {
			return lost
		}
		return none
	}
	n := boot(t, s, ec2, dir)
	held, cooled := map[string]pool.Assignment{}, map[netip.Addr]time.Time{}
	for range 120 {
		name := fmt.Sprint("p", r.IntN(24))
		switch r.IntN(5) {
		case 0, 1:
			if got := n.add(name); got.err == nil {
				if was, again := held[name]; again && was.Text() != got.Text() {
					t.Fatalf("%s had %s and got %s", name, was.Text(), got.Text())
				}
				for _, address := range got.Addresses() {
					if rest := time.Since(cooled[address]); rest < s.Pool.CoolDown {
						t.Fatalf("%s handed out %s after its release", address, rest)
					}
				}
				held[name] = got.Assignment
			}
		case 2:
			if had, ok := held[name]; ok {
				n.release(name)
				delete(held, name)
				for _, address := range had.Addresses() {
					cooled[address] = time.Now()
				}
			}
		case 3:
			time.Sleep(time.Duration(r.IntN(4000)) * time.Millisecond)
		case 4:
			n = crash(t, n, s, dir)
		}
		want, got := map[string]string{}, map[string]string{}
		for name, a := range held {
			want[name] = a.Text()
		}
		for _, a := range n.Assignments() {
			got[a.Key.ContainerID] = a.Text()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("held (-want +got):\n%s", diff)
		}
		n.check()
	}
	// Past a describe that is not older than the last crash, and past what goes
	// back when addresses that a crash left in doubt have rested.
	n.settle(givenBackRest + 2*time.Minute)
	if s.Pool.ReleaseAfter == 0 && !s.Pool.Prefixes {
		n.noneLeaked(27) // what lost answers brought waits for the next pods
	} else {
		n.noneLeaked(27 * 16)
	}
}

// crash ends a node in the middle of whatever it does, and boots it again.
func crash(t *testing.T, n *node, s Settings, dir string) *node {
	t.Helper()
	n.stop()
	before := n.Snapshot()
	n = boot(t, s, n.ec2, dir)
	after := n.Snapshot()
	if diff := cmp.Diff(before.Assignments, after.Assignments, cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(pool.Assignment{}, "ENI", "Device")); diff != "" {
		t.Fatalf("assignments after a restart (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(before.Cooling, after.Cooling, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Fatalf("cool-downs after a restart (-before +after):\n%s", diff)
	}
	return n
}

// An ENI that was created just before a crash is found, though the first
// describe does not show it yet.
func TestWhatACrashLeftIsFound(t *testing.T) {
	for _, visible := range []time.Duration{lag - 100*time.Millisecond, 20 * time.Second} {
		t.Run(visible.String(), func(t *testing.T) {
			inTime(t, settingsFor(large), func() *fakeEC2 {
				f := newEC2(large, 9)
				time.Sleep(time.Minute)
				f.lag = visible
				if _, err := f.Apply(context.Background(), pool.CreateENI{Subnet: subnet, Addresses: 3, Token: "of the life before"}); err != nil {
					t.Fatal(err)
				}
				return f
			}, func(t *testing.T, n *node) {
				n.settle(resync + 30*time.Second)
				n.noneLeaked(9)
				if visible < lag && n.ec2.count(describe) > 6 {
					t.Errorf("%d describes after a start", n.ec2.count(describe))
				}
			})
		})
	}
}

// What another agent recorded is held before EC2 is known, finds its ENI later,
// and stays also where no ENI has it. Its container releases it; what the book
// has itself is not overwritten.
func TestImport(t *testing.T) {
	ec2 := newEC2(large, 3)
	ec2.latency = time.Second
	var owned []netip.Addr
	inTime(t, settingsFor(large), func() *fakeEC2 { return ec2 }, func(t *testing.T, n *node) {
		_, _, owned = ec2.has()
		known := recorded("known", owned[0])
		unknown := recorded("unknown", netip.MustParseAddr("10.0.99.99"))
		for _, a := range []pool.Assignment{known, unknown} {
			for i, want := range []bool{true, false} {
				if fresh, err := n.Import(a); fresh != want || err != nil {
					t.Errorf("import %d of %s: fresh %t, error %v", i, a.Address, fresh, err)
				}
			}
		}
		n.settle(time.Minute)
		for _, a := range n.Assignments() {
			if want := ec2.owner(a.Address); a.ENI != want {
				t.Errorf("%s: ENI %q, want %q", a.Address, a.ENI, want)
			}
		}
		if got := len(n.Assignments()); got != 2 {
			t.Errorf("%d assignments, want 2", got)
		}
		for _, a := range n.addAll("p", 5) {
			if a.err != nil || a.Address == known.Address {
				t.Errorf("got %s, error %v", a.Address, a.err)
			}
		}
		for _, a := range []pool.Assignment{known, unknown} {
			if got, held, err := n.Release(t.Context(), a.Key, "", nil, "DEL"); !held || err != nil || got.Address != a.Address {
				t.Errorf("release of %s: %+v, held %t, error %v", a.Address, got, held, err)
			}
			if fresh, err := n.Import(a); fresh || err != nil {
				t.Errorf("import of %s while it cools: fresh %t, error %v", a.Address, fresh, err)
			}
		}
	})
}

func recorded(name string, address netip.Addr) pool.Assignment {
	r := request(name)
	return pool.Assignment{Key: r.Key, Pod: r.Pod, Link: "eni" + name, Address: address, Since: time.Now(), Adopted: true}
}
