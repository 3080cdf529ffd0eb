package allocator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// nth makes the given calls of one name go wrong.
func nth(name call, wrong fault, which ...int) func(call, int) fault {
	return func(c call, n int) fault {
		for _, w := range which {
			if c == name && n == w {
				return wrong
			}
		}
		return none
	}
}

// An answer that is lost costs time, and nothing else: no ENI and no address
// is left behind, and all pods are served.
func TestLostAnswers(t *testing.T) {
	for _, wrong := range []fault{lost, unsent, half} {
		for _, name := range []call{create, attach, assign, protect} {
			for _, which := range [][]int{{1}, {1, 2}, {2}} {
				t.Run(fmt.Sprint(name, wrong, which), func(t *testing.T) { lostAnswer(t, nth(name, wrong, which...)) })
			}
		}
	}
}

func lostAnswer(t *testing.T, wrong func(call, int) fault) {
	s := settingsFor(large)
	s.Wait = 30 * time.Second
	inTime(t, s, func() *fakeEC2 {
		f := newEC2(large, 0)
		f.latency, f.device, f.lag, f.fault = 300*time.Millisecond, time.Second, 2*time.Second, wrong
		return f
	}, func(t *testing.T, n *node) {
		answers := n.addAll("p", 15)
		allServed(t, answers)
		if last := last(answers); last > 20*time.Second {
			t.Errorf("the last was served after %s", last)
		}
		n.settle(2 * time.Minute)
		spare := s.Pool.Headroom + 15/10 // it grows with the pods
		n.noneLeaked(spare)
		before := n.ec2.mutating()
		_, _, addresses := n.ec2.has()
		free := len(addresses) - 15
		allServed(t, n.addAll("next", free-spare))
		if made := n.ec2.mutating() - before; made > 0 {
			t.Errorf("%d calls for pods that what was there could serve", made)
		}
	})
}

// A describe that is old, or lacks an ENI with pods, changes nothing for them.
func TestStaleDescribes(t *testing.T) {
	s := settingsFor(large)
	inTime(t, s, func() *fakeEC2 {
		f := newEC2(large, 2)
		f.latency, f.lag = 200*time.Millisecond, 2*time.Second
		return f
	}, func(t *testing.T, n *node) {
		n.settle(5 * time.Second)
		allServed(t, n.addAll("p", 14))
		before := n.Assignments()
		n.ec2.hide("eni-1", true)
		n.settle(20 * time.Minute) // describes come and go
		if n.ec2.count(describe) < 4 {
			t.Fatalf("only %d describes", n.ec2.count(describe))
		}
		if after := n.Assignments(); len(after) != len(before) {
			t.Errorf("held %d, then %d", len(before), len(after))
		}
		for i := range 3 {
			if got := n.add(fmt.Sprint("late", i)); got.err == nil && got.ENI == "eni-1" {
				t.Errorf("%s was handed out, of an ENI that EC2 does not show", got.Address)
			}
		}
		n.check()
		n.ec2.hide("eni-1", false)
		n.settle(6 * time.Minute)
		for i := range 6 {
			n.mustAdd(fmt.Sprint("again", i))
		}
	})
}

// EC2 refuses all calls that change something for ten seconds: pods that wait
// for longer are served, the others are told why, and EC2 is not pressed.
func TestThrottling(t *testing.T) {
	for _, c := range []struct {
		wait   time.Duration
		served bool
	}{{30 * time.Second, true}, {8 * time.Second, false}} {
		s := settingsFor(large)
		s.Wait = c.wait
		var until time.Time
		inTime(t, s, func() *fakeEC2 {
			f := newEC2(large, 0)
			until = time.Now().Add(10 * time.Second)
			f.latency = 100 * time.Millisecond
			f.fault = func(name call, _ int) fault {
				if name != describe && time.Now().Before(until) {
					return throttle
				}
				return none
			}
			return f
		}, func(t *testing.T, n *node) {
			var why *pool.Refusal
			for _, a := range n.addAll("p", 12) {
				switch {
				case c.served && a.err != nil:
					t.Errorf("refused after %s: %v", a.took, a.err)
				case !c.served && (!errors.As(a.err, &why) || why.Cause != pool.CallFailed || why.Class != pool.Throttled):
					t.Errorf("want class throttled, got %v after %s", a.err, a.took)
				case c.served && a.took > 20*time.Second:
					t.Errorf("served %s after the throttling", a.took-10*time.Second)
				}
			}
			refused, gaps := 0, map[call][]time.Duration{}
			last := map[call]time.Time{}
			for _, made := range n.ec2.history() {
				if made.at.Before(until) {
					refused++
					if !last[made.call].IsZero() {
						gaps[made.call] = append(gaps[made.call], made.at.Sub(last[made.call]))
					}
					last[made.call] = made.at
				}
			}
			t.Logf("%d calls in 10 s of throttling; gaps %v", refused, gaps)
			if refused > 20 {
				t.Errorf("%d calls while throttled", refused)
			}
			for i, g := range gaps[assign][1:] {
				if before := gaps[assign][i]; g < before {
					t.Errorf("pauses shrink: %v", gaps[assign])
				}
			}
		})
	}
}

// A describe that fails is told as well.
func TestThrottledFromTheStart(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 {
		f := newEC2(large, 3)
		until := time.Now().Add(10 * time.Second)
		f.fault = func(call, int) fault {
			if time.Now().Before(until) {
				return throttle
			}
			return none
		}
		return f
	}, func(t *testing.T, n *node) {
		var why *pool.Refusal
		if got := n.add("a"); !errors.As(got.err, &why) || why.Class != pool.Throttled || !strings.Contains(why.Message, "RequestLimitExceeded") {
			t.Errorf("before EC2 was described: %+v", got)
		}
		if err := n.Ready(); err == nil {
			t.Error("ready before EC2 was described")
		}
		if calls := n.ec2.count(describe); calls > 8 {
			t.Errorf("%d describes in ten seconds", calls)
		}
		n.settle(10 * time.Second)
		n.mustAdd("b")
	})
}

// An ENI is attached and its device never appears.
func TestDeviceNeverAppears(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 {
		f := newEC2(large, 9)
		f.latency, f.device, f.never = 200*time.Millisecond, time.Second, map[int]bool{1: true}
		return f
	}, func(t *testing.T, n *node) {
		n.settle(time.Second)
		allServed(t, n.addAll("p", 9))
		var why *pool.Refusal
		got := n.add("early")
		if !errors.As(got.err, &why) || why.Cause != pool.DeviceLate || why.Hopeless || !strings.Contains(why.Message, "02:00:00:00:00:") {
			t.Errorf("got %v after %s", got.err, got.took)
		}
		n.settle(10 * time.Second)
		late := n.mustAdd("late")
		if late.Device != 2 {
			t.Errorf("served from device %d", late.Device)
		}
		allServed(t, n.addAll("more", 8))
	})
}

// What cannot be written is not done, and said; once the book can be written
// again, so is everything else.
func TestBookCannotBeWritten(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 { return newEC2(large, 5) }, func(t *testing.T, n *node) {
		dir := filepath.Join(t.TempDir(), "book")
		n.stop()
		n = boot(t, settingsFor(large), n.ec2, dir)
		n.settle(time.Second)
		held := n.mustAdd("held")
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		got := n.add("a")
		if got.err == nil || !strings.Contains(got.err.Error(), "recording address 10.0.0.") {
			t.Errorf("ADD: %v", got.err)
		}
		if _, was, err := n.Release(t.Context(), held.Key, "", nil, "DEL"); was || err == nil || !strings.Contains(err.Error(), held.Address.String()) {
			t.Errorf("DEL: held %v, %v", was, err)
		}
		if now := n.Assignments(); len(now) != 1 || !reflect.DeepEqual(now[0], held.Assignment) {
			t.Errorf("held after what failed: %v", now)
		}
		if again := n.mustAdd("held"); !reflect.DeepEqual(again.Assignment, held.Assignment) {
			t.Errorf("the same key got %v, then %v", held, again)
		}
		// One who waits is told, too, and the next ones in line are served.
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		fresh := n.mustAdd("a")
		n.release("held")
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 2 {
			t.Errorf("the book has %v, %v; want %s and %s", entries, err, fresh.Address, held.Address)
		}
		n.check()
	})
}

func TestBookCannotBeWrittenForThoseWhoWait(t *testing.T) {
	s := settingsFor(large)
	inTime(t, s, func() *fakeEC2 {
		f := newEC2(large, 0)
		f.latency = time.Second
		return f
	}, func(t *testing.T, n *node) {
		n.stop()
		dir := filepath.Join(t.TempDir(), "book")
		n = boot(t, s, n.ec2, dir)
		var all sync.WaitGroup
		var got []answer
		all.Go(func() { got = n.addAll("p", 3) })
		n.settle(100 * time.Millisecond)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		all.Wait()
		for _, a := range got {
			if a.err == nil || !strings.Contains(a.err.Error(), "recording address") {
				t.Errorf("got %v", a.err)
			}
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		allServed(t, n.addAll("q", 3))
	})
}
