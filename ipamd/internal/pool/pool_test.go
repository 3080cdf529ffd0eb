package pool

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	t0       = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	settings = Settings{Limits: Limits{ENIs: 3, AddressesPerENI: 4}, CoolDown: 30 * time.Second, Headroom: 1, InstanceID: "i-1", ManageUntagged: true}
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// eni makes an attached ENI with secondary addresses 10.0.<device>.10 and on.
func eni(device, addresses int) ENI {
	e := ENI{
		ID: ENIID(fmt.Sprintf("eni-%d", device)), Device: device, Primary: device == 0, Status: Attached, AttachmentID: fmt.Sprintf("eni-attach-%d", device),
		MAC: fmt.Sprintf("02:00:00:00:00:%02x", device), DeleteOnTermination: true, Subnet: "subnet-1", SecurityGroups: []string{"sg-1"},
		Address: netip.AddrFrom4([4]byte{10, 0, byte(device), 5}), Tags: map[string]string{TagInstance: "i-1"},
	}
	for i := range addresses {
		e.Addresses = append(e.Addresses, netip.AddrFrom4([4]byte{10, 0, byte(device), byte(10 + i)}))
	}
	return e
}

func ready(p *Pool, devices ...int) {
	r := map[ENIID]bool{}
	for _, d := range devices {
		r[ENIID(fmt.Sprintf("eni-%d", d))] = true
	}
	p.SetReady(r, t0)
}

func request(name string) Request {
	return Request{Key: Key{"net", name, "eth0"}, Pod: Pod{Namespace: "default", Name: name}, Link: "eni" + name}
}

func plan(p *Pool, waiting int, now time.Time) []string {
	out := []string{}
	for _, a := range p.Plan(waiting, now) {
		out = append(out, a.String())
	}
	return out
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAssignFillsTheFullestENI(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 3), eni(1, 3)}, true, t0)
	if _, _, ok := p.Assign(request("a"), t0); ok {
		t.Error("assigned from an ENI whose device is not there")
	}
	ready(p, 0, 1)
	p.Hold(Assignment{Key: request("old").Key, Address: addr("10.0.1.11"), ENI: "eni-1", Device: 1, Since: t0})
	a, fresh, ok := p.Assign(request("a"), t0)
	if !ok || !fresh || a.Address != addr("10.0.1.10") || a.Device != 1 {
		t.Errorf("got %+v, want the lowest address of the fuller ENI", a)
	}
	again, fresh, ok := p.Assign(request("a"), t0)
	if !ok || fresh || !reflect.DeepEqual(again, a) {
		t.Errorf("asked again: %+v, want %+v", again, a)
	}
}

func TestCoolDown(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 2)}, true, t0)
	ready(p, 0)
	first, _, _ := p.Assign(request("a"), t0)
	p.Assign(request("b"), t0)
	p.Release(request("a").Key, "", nil, t0)
	if got, _, ok := p.Assign(request("c"), t0.Add(29*time.Second)); ok {
		t.Errorf("%s was handed out in its cool-down", got.Address)
	}
	if got, _, ok := p.Assign(request("c"), t0.Add(30*time.Second)); !ok || got.Address != first.Address {
		t.Errorf("after the cool-down: %+v, %v", got, ok)
	}
	if _, held := p.Release(request("a").Key, "", nil, t0); held {
		t.Error("a second release found something")
	}
}

// An address that a service still names rests on, for 5 minutes at most.
func TestWhatIsNamedRestsOn(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 1)}, true, t0)
	ready(p, 0)
	a, _, _ := p.Assign(request("a"), t0)
	p.Release(a.Key, "", nil, t0)
	named := func(got netip.Addr) bool { return got == a.Address }
	last := t0
	for now := t0; now.Before(t0.Add(time.Hour)); now = now.Add(time.Second) {
		if now.Equal(t0.Add(time.Minute)) {
			p.Hold(Assignment{Key: request("b").Key, Address: a.Address, ENI: "eni-0", Since: now}) // found in use
			p.Release(request("b").Key, "", nil, now)
		}
		p.Prolong(named, now)
		if p.Count(now).Free > 0 {
			last = now
			break
		}
	}
	if rest := last.Sub(t0.Add(time.Minute)); rest != longestRest {
		t.Errorf("it rested for %s, want %s", rest, longestRest)
	}
	p.Release(a.Key, "", nil, last)
	if over := p.Expire(last); len(over) != 1 || over[0] != a.Address {
		t.Errorf("expired: %v", over)
	}
}

func TestTheAddressThatCooledLongestComesFirst(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 3)}, true, t0)
	ready(p, 0)
	for _, n := range []string{"a", "b", "c"} {
		p.Assign(request(n), t0)
	}
	for i, n := range []string{"c", "a", "b"} {
		p.Release(request(n).Key, "", nil, t0.Add(time.Duration(i)*time.Second))
	}
	later := t0.Add(time.Hour)
	var got []string
	for _, n := range []string{"x", "y", "z"} {
		a, _, _ := p.Assign(request(n), later)
		got = append(got, a.Address.String())
	}
	want(t, got, "10.0.0.12", "10.0.0.10", "10.0.0.11")
}

func TestWhatPodsHoldStays(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 1), eni(1, 1)}, true, t0)
	ready(p, 0, 1)
	p.Assign(request("a"), t0)
	b, _, _ := p.Assign(request("b"), t0)
	later := t0.Add(time.Hour)
	p.Observe([]ENI{eni(0, 0)}, true, later) // a stale describe, without eni-1 and without addresses
	if got := p.Assignments(); len(got) != 2 {
		t.Fatalf("held: %v", got)
	}
	if got := p.ENIs(); len(got) != 2 {
		t.Errorf("the ENI of a held address was dropped: %v", got)
	}
	if _, _, ok := p.Assign(request("c"), later); ok {
		t.Error("assigned from what EC2 does not show")
	}
	p.Release(b.Key, "", nil, later)
	p.Observe([]ENI{eni(0, 0)}, true, later)
	if got := p.ENIs(); len(got) != 1 {
		t.Errorf("an ENI that is gone and empty stays: %v", got)
	}
}

func TestAnswersOutliveStaleDescribes(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 0)}, true, t0)
	ready(p, 0)
	p.Applied(AssignAddresses{ENI: "eni-0", Count: 1}, Result{Assigned: []netip.Addr{addr("10.0.0.10")}}, t0)
	created := eni(1, 2)
	created.Status, created.AttachmentID = Available, ""
	p.Applied(CreateENI{Subnet: "subnet-1"}, Result{Created: &created}, t0)
	p.Applied(AttachENI{ENI: "eni-1", Device: 1}, Result{AttachmentID: "eni-attach-1"}, t0)
	p.Observe([]ENI{eni(0, 0)}, true, t0.Add(time.Second))
	if a, _, ok := p.Assign(request("a"), t0.Add(time.Second)); !ok || a.Address != addr("10.0.0.10") {
		t.Errorf("got %+v, %v", a, ok)
	}
	stale := created
	p.Observe([]ENI{eni(0, 1), stale}, true, t0.Add(2*time.Second))
	if got := p.ENIs()[1]; got.Status != Attaching || got.AttachmentID != "eni-attach-1" {
		t.Errorf("a stale describe undid an attachment: %+v", got)
	}
	p.Observe([]ENI{eni(0, 1), stale}, true, t0.Add(time.Hour))
	if got := p.ENIs()[1]; got.Status != Available {
		t.Errorf("an old answer is believed for ever: %+v", got)
	}
}

func TestPlan(t *testing.T) {
	left := eni(2, 3) // created by us, attached to nothing
	left.Status, left.AttachmentID, left.DeleteOnTermination, left.Device = Available, "", false, 0
	unprotected := eni(1, 3)
	unprotected.DeleteOnTermination = false
	foreign := eni(1, 3)
	foreign.Tags = map[string]string{TagNoManage: "true"}
	for _, c := range []struct {
		name    string
		enis    []ENI
		waiting int
		want    []string
	}{
		{"headroom there", []ENI{eni(0, 1)}, 0, nil},
		{"fill the ENI that has room", []ENI{eni(0, 1)}, 2, []string{"assign 2 addresses to eni-0 (2 waiting, 1 headroom)"}},
		{"fill, then create, in one step", []ENI{eni(0, 0)}, 6, []string{
			"assign 3 addresses to eni-0 (6 waiting, 1 headroom)", "create an ENI with 3 addresses in subnet-1 (6 waiting, 1 headroom)",
			"create an ENI with 1 addresses in subnet-1 (6 waiting, 1 headroom)"}},
		{"never over the limit", []ENI{eni(0, 3), eni(1, 3)}, 50, []string{"create an ENI with 3 addresses in subnet-1 (50 waiting, 3 headroom)"}},
		{"a leftover is used", []ENI{eni(0, 3), left}, 4, []string{"attach eni-2 as device 1 (4 waiting, 1 headroom)"}},
		{"or removed", []ENI{eni(0, 3), left}, 0, []string{"delete eni-2 (attached to nothing and not needed)"}},
		{"an unprotected ENI", []ENI{eni(0, 3), unprotected}, 0, []string{"set DeleteOnTermination on eni-1 (must not outlive the instance)"}},
		{"an ENI of others gives no address, but takes a slot", []ENI{eni(0, 0), foreign}, 30, []string{
			"assign 3 addresses to eni-0 (30 waiting, 2 headroom)", "create an ENI with 3 addresses in subnet-1 (30 waiting, 2 headroom)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(settings)
			p.Observe(c.enis, true, t0)
			want(t, plan(p, c.waiting, t0), c.want...)
		})
	}
	if got := plan(New(settings), 5, t0); len(got) > 0 {
		t.Errorf("planned before EC2 was seen: %v", got)
	}
}

// Someone detached an ENI under the feet of its pods.
func TestAnENIWithPodsIsAttachedAgain(t *testing.T) {
	detached := eni(2, 3)
	detached.Status, detached.AttachmentID, detached.Device = Available, "", 0
	taken := eni(3, 0)
	taken.Device = 2
	fresh := eni(1, 3)
	fresh.ID, fresh.Status, fresh.AttachmentID, fresh.Device = "eni-0-fresh", Available, "", 0
	again := "attach eni-2 as device 2 (0 waiting, 1 headroom)"
	hold := func(p *Pool) {
		p.Hold(Assignment{Key: request("a").Key, Address: addr("10.0.2.10"), ENI: "eni-2", Device: 2, Since: t0})
	}
	later := t0.Add(time.Hour)
	for _, c := range []struct {
		name    string
		before  []ENI
		use     func(*Pool)
		enis    []ENI
		waiting int
		want    []string
	}{
		{"one is held", nil, hold, []ENI{eni(0, 3), detached}, 0, []string{again}},
		{"one cools down", []ENI{eni(2, 3)}, func(p *Pool) { p.Cool(addr("10.0.2.10"), later.Add(time.Second)) }, []ENI{eni(0, 3), detached}, 0, nil},
		{"it was being given back", []ENI{eni(2, 3)}, func(p *Pool) { p.Cool(addr("10.0.2.10"), later.Add(5*time.Minute)) }, []ENI{eni(0, 3), detached}, 0,
			[]string{"delete eni-2 (attached to nothing and not needed)"}},
		{"its place is taken", nil, hold, []ENI{eni(0, 3), taken, detached}, 0, []string{"attach eni-2 as device 1 (0 waiting, 1 headroom)"}},
		{"no place is free", nil, hold, []ENI{eni(0, 3), eni(1, 3), taken, detached}, 0, nil},
		{"it was refused often", nil, func(p *Pool) {
			hold(p)
			for i := range hopeless + 1 {
				p.Failed(AttachENI{ENI: "eni-2"}, &Failure{Class: Refused, Err: fmt.Errorf("no")}, t0.Add(time.Duration(i)*time.Minute))
			}
		}, []ENI{eni(0, 3), detached}, 0, []string{again}},
		{"another would take its place", nil, hold, []ENI{eni(0, 0), eni(1, 0), fresh, detached}, 9, []string{
			"attach eni-2 as device 2 (9 waiting, 1 headroom)", "delete eni-0-fresh (attached to nothing and not needed)",
			"assign 3 addresses to eni-0 (9 waiting, 1 headroom)", "assign 3 addresses to eni-1 (9 waiting, 1 headroom)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(settings)
			if c.before != nil {
				p.Observe(c.before, true, t0)
			}
			c.use(p)
			p.Observe(c.enis, true, later)
			want(t, plan(p, c.waiting, later), c.want...)
		})
	}
}

// An ENI that cannot be attached is given up, but not for EC2's being busy.
func TestHopelessENIsAreGivenUp(t *testing.T) {
	for class, want := range map[Class]string{
		Refused:   "delete eni-1 (attached to nothing and not needed)",
		Throttled: "attach eni-1 as device 1 (3 waiting, 1 headroom)",
	} {
		p := New(settings)
		fresh := eni(1, 3)
		fresh.Status, fresh.AttachmentID, fresh.Device = Available, "", 0
		p.Observe([]ENI{eni(0, 0), fresh}, true, t0)
		now := t0
		for range hopeless + 1 {
			p.Failed(AttachENI{ENI: "eni-1", Device: 1}, &Failure{Class: class, Err: fmt.Errorf("no")}, now)
			now = now.Add(2 * time.Minute)
		}
		var got []string
		for _, action := range p.Plan(3, now) {
			got = append(got, action.String())
		}
		if !slices.Contains(got, want) {
			t.Errorf("%s: %q, want %q", class, got, want)
		}
	}
}

// The routes of pods are where their ENI is.
func TestAssignmentsFollowTheirENI(t *testing.T) {
	p := New(settings)
	p.Hold(Assignment{Key: request("a").Key, Address: addr("10.0.2.10"), ENI: "eni-2", Device: 2, Since: t0})
	detached := eni(2, 1)
	detached.Status, detached.AttachmentID, detached.Device = Available, "", 0
	p.Observe([]ENI{eni(0, 0), detached}, true, t0)
	if got := p.Assignments()[0].Device; got != 2 {
		t.Errorf("while its ENI is detached, device %d", got)
	}
	p.Applied(AttachENI{ENI: "eni-2", Device: 1}, Result{AttachmentID: "eni-attach-9"}, t0)
	if got := p.Assignments()[0].Device; got != 1 {
		t.Errorf("after its ENI was attached as device 1, device %d", got)
	}
}

// With the same token, EC2 refuses a call that differs in anything.
func TestARepeatedCreationIsTheSame(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 3)}, true, t0)
	first := p.Plan(4, t0)[0]
	p.Start(first)
	p.Failed(first, &Failure{Class: Ambiguous, Err: fmt.Errorf("lost")}, t0)
	again := p.Plan(4, t0.Add(time.Minute))[0]
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("(-first +again):\n%s", diff)
	}
	if c, ok := again.(CreateENI); !ok || !c.Created.Equal(t0) {
		t.Errorf("%+v, want the time of its plan", again)
	}
	p.Start(again)
	p.Failed(again, &Failure{Class: InUse, Err: fmt.Errorf("IdempotentParameterMismatch")}, t0.Add(time.Minute))
	for _, a := range p.Plan(4, t0.Add(2*time.Minute)) {
		if c, ok := a.(CreateENI); ok && c.Token == first.(CreateENI).Token {
			t.Error("a creation that EC2 refused to repeat is repeated")
		}
	}
}

func TestENIsSayWhoseTheyAre(t *testing.T) {
	special, other, untagged, card := eni(1, 0), eni(2, 0), eni(3, 0), eni(4, 0)
	special.Type, other.Tags, untagged.Tags, card.Card = "trunk", map[string]string{TagNoManage: "true"}, nil, 1
	card.Managed = true // what EC2's side says of it does not count
	for _, manageUntagged := range []bool{true, false} {
		s := settings
		s.ManageUntagged = manageUntagged
		p := New(s)
		p.Observe([]ENI{eni(0, 0), special, other, untagged, card}, true, t0)
		got := map[ENIID]bool{}
		for _, e := range p.ENIs() {
			got[e.ID] = e.Managed
		}
		want := map[ENIID]bool{"eni-0": true, "eni-1": false, "eni-2": false, "eni-3": manageUntagged, "eni-4": false}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("untagged ones managed: %v (-want +got):\n%s", manageUntagged, diff)
		}
	}
}

func TestFailuresPauseAndAreTold(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 0)}, true, t0)
	ready(p, 0)
	full := &Failure{Class: SubnetFull, Err: fmt.Errorf("not enough")}
	p.Failed(p.Plan(1, t0)[0], full, t0)
	action := p.Plan(1, t0)[0] // EC2 gives all or nothing: there may be one left
	want(t, []string{action.String()}, "assign 1 addresses to eni-0 (1 waiting, 1 headroom)")
	if got := plan(p, 0, t0); len(got) > 0 {
		t.Errorf("headroom is asked of a subnet that is nearly full: %v", got)
	}
	p.Failed(action, full, t0)
	if got := plan(p, 1, t0.Add(time.Second)); len(got) > 0 {
		t.Errorf("tried again at once: %v", got)
	}
	if why := p.Why(t0); why.Cause != CallFailed || why.Class != SubnetFull || why.Hopeless || !strings.Contains(why.Message, "subnet subnet-1 has no free address left") {
		t.Errorf("why: %+v", why)
	}
	if next := p.NextChange(t0); next != t0.Add(5*time.Second) {
		t.Errorf("next change at %s", next)
	}
	if got := plan(p, 1, t0.Add(6*time.Second)); len(got) != 1 {
		t.Errorf("not tried again: %v", got)
	}
	p.Applied(action, Result{Assigned: []netip.Addr{addr("10.0.0.10")}}, t0)
	p.Observe([]ENI{eni(0, 3), eni(1, 3), eni(2, 3)}, true, t0)
	ready(p, 0, 1)
	if why := p.Why(t0); why.Cause != DeviceLate {
		t.Errorf("a device that is late: %+v", why)
	}
	ready(p, 0, 1, 2)
	for i := range 9 {
		p.Assign(request(fmt.Sprint(i)), t0)
	}
	if why := p.Why(t0); why.Cause != TooManyPods || !why.Hopeless {
		t.Errorf("all assigned: %+v", why)
	}
	p.Release(request("3").Key, "", nil, t0)
	if why := p.Why(t0); why.Cause != CoolingDown || why.Hopeless {
		t.Errorf("one cools down: %+v", why)
	}
}

func TestAdoptedAddressesAreHeld(t *testing.T) {
	p := New(settings)
	p.Adopt(addr("10.0.1.10"), netip.Addr{}, "eniabc", 1, t0)
	p.Observe([]ENI{eni(0, 0), eni(1, 1)}, true, t0)
	ready(p, 0, 1)
	if got := p.Assignments()[0]; got.ENI != "eni-1" || got.Device != 1 {
		t.Errorf("the ENI of an adopted address was not found: %+v", got)
	}
	if a, _, ok := p.Assign(request("a"), t0); ok {
		t.Errorf("%s is in use and was handed out", a.Address)
	}
	for _, c := range []struct {
		what      string
		link      string
		addresses []netip.Addr
		held      bool
	}{
		{"of a sandbox of the pod that had another address", "eniabc", []netip.Addr{addr("10.0.1.11")}, false},
		{"of a sandbox of the pod that says no address", "eniabc", nil, false},
		{"of another pod", "enixyz", []netip.Addr{addr("10.0.1.10")}, false},
		{"of the pod itself", "eniabc", []netip.Addr{addr("10.0.1.11"), addr("10.0.1.10")}, true},
		{"of the pod again", "eniabc", []netip.Addr{addr("10.0.1.10")}, false},
	} {
		a, held := p.Release(request("x").Key, c.link, c.addresses, t0)
		if held != c.held || held && a.Address != addr("10.0.1.10") {
			t.Errorf("DEL %s: released %v, %+v", c.what, held, a)
		}
	}
}

func TestTwoClaimsToOneAddress(t *testing.T) {
	p := New(settings)
	older := Assignment{Key: request("a").Key, Address: addr("10.0.0.10"), Since: t0}
	younger := Assignment{Key: request("b").Key, Address: addr("10.0.0.10"), Since: t0.Add(time.Second)}
	p.Hold(younger)
	if d := p.Hold(older); len(d) != 1 || d[0].Key != older.Key {
		t.Errorf("displaced %+v", d)
	}
	if got := p.Assignments(); len(got) != 1 || got[0].Key != younger.Key {
		t.Errorf("held: %v", got)
	}
}

// An ENI on its way is asked for more when it is there; no other is created
// beside it while it has room.
func TestRoomOnItsWayIsWaitedFor(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 3)}, true, t0)
	ready(p, 0)
	for _, n := range []string{"a", "b", "c"} {
		p.Assign(request(n), t0)
	}
	first := p.Plan(0, t0)
	want(t, []string{first[0].String()}, "create an ENI with 1 addresses in subnet-1 (0 waiting, 1 headroom)")
	p.Start(first[0])
	want(t, plan(p, 2, t0)) // 2 more wait, and the ENI has room for 2 more
	want(t, plan(p, 3, t0), "create an ENI with 1 addresses in subnet-1 (3 waiting, 1 headroom)")
	created := eni(1, 1)
	created.Status, created.AttachmentID = Available, ""
	p.Applied(first[0], Result{Created: &created}, t0)
	both := p.Plan(2, t0)
	want(t, texts(both), "attach eni-1 as device 1 (2 waiting, 1 headroom)", "assign 2 addresses to eni-1 (2 waiting, 1 headroom)")
	p.Start(both[0])
	p.Start(both[1])
	want(t, plan(p, 2, t0))
	p.Applied(both[0], Result{AttachmentID: "eni-attach-1"}, t0)
	want(t, plan(p, 2, t0))
}

// Two calls on one ENI are two calls: the end of one leaves the other on its way.
func TestCallsOnOneENIAreToldApart(t *testing.T) {
	unprotected := eni(1, 0)
	unprotected.DeleteOnTermination = false
	p := New(settings)
	p.Observe([]ENI{eni(0, 3), unprotected}, true, t0)
	ready(p, 0, 1)
	for _, n := range []string{"a", "b", "c"} {
		p.Assign(request(n), t0)
	}
	actions := p.Plan(1, t0)
	for _, a := range actions {
		p.Start(a)
	}
	want(t, plan(p, 1, t0))
	p.Applied(actions[0], Result{}, t0) // DeleteOnTermination is set
	want(t, plan(p, 1, t0))
}

// A CreateNetworkInterface that is throttled does not keep ENIs with room from
// being asked; a subnet without an address does.
func TestOnlyAFullSubnetStopsAllCalls(t *testing.T) {
	for class, asked := range map[Class][]string{
		Throttled:  {"assign 2 addresses to eni-0 (1 waiting, 1 headroom)"},
		SubnetFull: nil,
	} {
		p := New(settings)
		p.Observe([]ENI{eni(0, 0)}, true, t0)
		p.Failed(CreateENI{Subnet: "subnet-1", Addresses: 1}, &Failure{Class: class, Err: fmt.Errorf("no")}, t0)
		want(t, plan(p, 1, t0), asked...)
	}
}

func TestOneKeyClaimsTwoAddresses(t *testing.T) {
	older := Assignment{Key: request("a").Key, Address: addr("10.0.0.10"), Since: t0}
	younger := Assignment{Key: request("a").Key, Address: addr("10.0.0.11"), Since: t0.Add(time.Second)}
	for _, order := range [][]Assignment{{older, younger}, {younger, older}} {
		p := New(settings)
		p.Hold(order[0])
		if d := p.Hold(order[1]); len(d) != 1 || d[0].Address != older.Address {
			t.Errorf("displaced %+v", d)
		}
		if got := p.Assignments(); len(got) != 1 || got[0].Address != younger.Address {
			t.Errorf("held: %v", got)
		}
	}
}
