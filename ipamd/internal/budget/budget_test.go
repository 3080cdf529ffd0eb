package budget

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	create = "CreateNetworkInterface"
	attach = "AttachNetworkInterface"
	read   = "DescribeNetworkInterfaces"
)

var start = time.Unix(1000, 0)

func seeded(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// drain takes tokens until one has to be waited for.
func drain(b *Budget, action string, now time.Time) (taken int, wait time.Duration) {
	for {
		if wait = b.Take(action, now); wait > 0 {
			return taken, wait
		}
		taken++
	}
}

func TestClassOf(t *testing.T) {
	got := map[string]string{}
	for _, action := range []string{
		read, "GetSubnetCidrReservations", attach, "DetachNetworkInterface", "UnassignIpv6Addresses", create,
		"DeleteNetworkInterface", "ModifyNetworkInterfaceAttribute", "AssignPrivateIpAddresses",
		"UnassignPrivateIpAddresses", "AssignIpv6Addresses", "CreateTags", "DeleteTags",
	} {
		got[action] = ClassOf(action).String()
	}
	want := map[string]string{
		read: "describe", "GetSubnetCidrReservations": "describe",
		attach: "mutating", "DetachNetworkInterface": "mutating", "UnassignIpv6Addresses": "mutating",
		create: "interface", "DeleteNetworkInterface": "interface", "ModifyNetworkInterfaceAttribute": "interface",
		"AssignPrivateIpAddresses": "interface", "UnassignPrivateIpAddresses": "interface", "AssignIpv6Addresses": "interface",
		"CreateTags": "tags", "DeleteTags": "tags",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestRested takes as much as a node may that knows of nothing wrong.
func TestRested(t *testing.T) {
	for action, want := range map[string]struct {
		burst int
		wait  time.Duration
	}{
		create:       {10, time.Second},
		attach:       {5, time.Second},
		read:         {10, 250 * time.Millisecond},
		"CreateTags": {10, 500 * time.Millisecond},
	} {
		b := New(Settings{}, seeded(1))
		if taken, wait := drain(b, action, start); taken != want.burst || wait != want.wait {
			t.Errorf("%s: %d at once, then one in %s; want %d and %s", action, taken, wait, want.burst, want.wait)
		}
		if taken, _ := drain(b, action, start.Add(time.Hour)); taken != want.burst {
			t.Errorf("%s: %d at once after an hour, want %d", action, taken, want.burst)
		}
	}
}

// TestThrottled cuts the rate and empties the bucket, of one action alone.
func TestThrottled(t *testing.T) {
	b := New(Settings{}, seeded(1))
	now := start
	var pauses []float64 // longest possible, seconds
	for range 8 {
		b.Take(create, now)
		b.Throttled(create, now)
		b.Throttled(create, now) // was on its way together with the first
		wait, rate := b.Take(create, now), b.State()[0].Rate
		if longest := time.Duration(2 / rate * float64(time.Second)); wait < 0 || wait > longest {
			t.Errorf("pause of %s at %v/s, want at most %s", wait, rate, longest)
		}
		pauses = append(pauses, 2/rate)
		now = now.Add(wait)
		if wait := b.Take(create, now); wait != 0 {
			t.Errorf("still %s to wait after the pause", wait)
		}
		if taken, _ := drain(b, create, now); taken != 0 {
			t.Errorf("%d more at once after a pause, want none", taken)
		}
	}
	if diff := cmp.Diff([]float64{10, 20, 40, 80, 160, 200, 200, 200}, pauses); diff != "" {
		t.Errorf("longest pauses (-want +got)\n%s", diff)
	}
	if got := b.State()[0].Throttled; got != 16 {
		t.Errorf("%d throttled answers, want 16", got)
	}
	if wait := b.Take(attach, start); wait != 0 {
		t.Errorf("another action waits %s", wait)
	}
}

// TestRecovery lets the rate grow with time, as far as answers confirm it.
func TestRecovery(t *testing.T) {
	b := New(Settings{}, seeded(1))
	for range 3 {
		b.Throttled(create, start)
		start := b.State()[0].Next
		b.Take(create, start)
	}
	rate := func() float64 { return b.State()[0].Rate }
	low := rate()
	b.Take(create, start.Add(time.Hour))
	if rate() != low {
		t.Errorf("the rate grew from %v to %v without an answer", low, rate())
	}
	now := b.buckets[create].heard
	var rates []float64
	for _, later := range []time.Duration{0, 30 * time.Second, 0, 90 * time.Second, time.Hour} {
		now = now.Add(later)
		b.Succeeded(create, now)
		rates = append(rates, float64(int((rate()-low)*1000+0.5))/1000)
	}
	if diff := cmp.Diff([]float64{0, 0.1, 0.1, 0.4, 1 - low}, rates); diff != "" {
		t.Errorf("growth (-want +got)\n%s", diff)
	}
}

// TestJoin spreads those that start together, and delays nobody whom EC2's
// buckets have enough for.
func TestJoin(t *testing.T) {
	for _, tt := range []struct {
		nodes                    int
		creates, attaches, reads time.Duration // when the last one calls
	}{
		{1, 0, 0, 0},
		{18, 0, 0, 0},
		{25, 0, 0, 1320 * time.Millisecond},
		{50, 0, 2640 * time.Millisecond, 6600 * time.Millisecond},
		{1000, 195 * time.Second, 203 * time.Second, 207 * time.Second},
	} {
		var last [3]time.Duration
		for i := range tt.nodes {
			b := New(Settings{}, seeded(uint64(i)))
			b.Join(tt.nodes, start)
			for j, action := range []string{create, attach, read} {
				last[j] = max(last[j], b.Take(action, start))
			}
			if b.Take(create, start) > 0 && b.Take(attach, start) < b.Take(create, start) {
				t.Errorf("node %d of %d attaches before it creates", i, tt.nodes)
			}
		}
		for j, want := range []time.Duration{tt.creates, tt.attaches, tt.reads} {
			if last[j] > want || last[j] < want*9/10 {
				t.Errorf("%d nodes: the last %s is after %s, want about %s", tt.nodes, []string{create, attach, read}[j], last[j], want)
			}
		}
	}
}

// TestJoinedShare has a node that joined call for more than the others do: until
// all were served, it gets no more than its share. What was throttled is tried
// again soon, for the others keep to their turns, and later if that did not help.
func TestJoinedShare(t *testing.T) {
	b := New(Settings{}, seeded(1))
	b.Join(4750, start)
	turn := start.Add(b.Take(create, start))
	if taken, wait := drain(b, create, turn); taken != 1 || wait != 1000*time.Second {
		t.Errorf("%d at once, then one in %s; want 1 and 1000 s", taken, wait)
	}
	b.Succeeded(create, turn)
	for _, longest := range []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second} {
		b.Throttled(create, turn)
		if s := b.State()[0]; s.Rate != 0.001 || s.Next.After(turn.Add(longest)) || s.Next.Before(turn.Add(longest/100)) {
			t.Errorf("throttled at %s: %+v, want the rate to stay and a pause of up to %s", turn, s, longest)
		}
		turn = b.State()[0].Next
		b.Take(create, turn)
	}
	b.Succeeded(create, start.Add(time.Hour))
	if s := b.State()[0]; s.Rate != s.Ceiling {
		t.Errorf("after an hour: %+v, want it to be recovered", s)
	}
}

// TestJoinedOnce leaves alone what was called for before.
func TestJoinedOnce(t *testing.T) {
	b := New(Settings{}, seeded(1))
	b.Take(create, start)
	b.Join(10000, start)
	if wait := b.Take(create, start); wait != 0 {
		t.Errorf("an action that was called for waits %s", wait)
	}
	if wait := b.Take(attach, start); wait == 0 {
		t.Error("one that was not does not wait")
	}
}

func TestSwitches(t *testing.T) {
	for _, tt := range []struct {
		switches Switches
		want     map[string]string
	}{
		{Switches{}, map[string]string{create: "", read: "", "DetachNetworkInterface": ""}},
		{Switches{StopReleasing: true}, map[string]string{create: "", read: "", attach: "",
			"DetachNetworkInterface": "stop-releasing", "DeleteNetworkInterface": "stop-releasing",
			"UnassignPrivateIpAddresses": "stop-releasing", "UnassignIpv6Addresses": "stop-releasing"}},
		{Switches{StopReleasing: true, StopCalling: true}, map[string]string{create: "stop-calling-ec2",
			read: "stop-calling-ec2", "DetachNetworkInterface": "stop-calling-ec2"}},
	} {
		got := map[string]string{}
		for action := range tt.want {
			got[action] = tt.switches.Off(action)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", tt.switches, diff)
		}
	}
}
