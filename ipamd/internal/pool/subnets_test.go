package pool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tagged is a subnet with tags, each with its value.
func tagged(id SubnetID, free int, tags ...string) Subnet {
	s := Subnet{ID: id, Free: free, Tags: map[string]string{}}
	for i := 0; i < len(tags); i += 2 {
		s.Tags[tags[i]] = tags[i+1]
	}
	return s
}

// discovering is a pool that was told of subnets and has the primary ENI, full.
func discovering(change func(*Settings), subnets ...Subnet) *Pool {
	p := New(with(func(s *Settings) {
		s.Discovery, s.ClusterName, s.Headroom = true, "prod", 0
		change(s)
	}))
	p.AskSubnets(t0)
	p.SetSubnets(subnets, t0)
	p.Observe([]ENI{eni(0, 9)}, true, t0)
	ready(p, 0)
	for i := range 9 {
		p.Assign(request(fmt.Sprint("first", i)), t0)
	}
	return p
}

func nothing(*Settings) {}

// creations are the subnets in which ENIs are to be created.
func creations(actions []Action) []string {
	out := []string{}
	for _, a := range actions {
		if c, ok := a.(CreateENI); ok {
			out = append(out, string(c.Subnet))
		}
	}
	return out
}

// TestTagsOfSubnets has aws-node's rules: the primary ENI's subnet needs no tag,
// others do, and a tag that names clusters must name ours.
func TestTagsOfSubnets(t *testing.T) {
	ours, theirs := TagSubnetCluster+"prod", TagSubnetCluster+"test"
	for _, c := range []struct {
		name    string
		subnets []Subnet
		cluster string
		want    []string
	}{
		{"nothing is known", nil, "prod", []string{"subnet-1"}},
		{"no tags", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99)}, "prod", []string{"subnet-1"}},
		{"a tagged one has more room", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "1")}, "prod", []string{"subnet-2"}},
		{"any value is good", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "")}, "prod", []string{"subnet-2"}},
		{"a tagged one has less room", []Subnet{tagged("subnet-1", 99), tagged("subnet-2", 50, TagRole, "1")}, "prod", []string{"subnet-1"}},
		{"excluded", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "0")}, "prod", []string{"subnet-1"}},
		{"excluded, and named", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "0", ours, "1")}, "prod", []string{"subnet-1"}},
		{"the primary one is excluded", []Subnet{tagged("subnet-1", 99, TagRole, "0"), tagged("subnet-2", 10, TagRole, "1")}, "prod", []string{"subnet-2"}},
		{"both are", []Subnet{tagged("subnet-1", 99, TagRole, "0"), tagged("subnet-2", 10)}, "prod", []string{}},
		{"for our cluster", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "1", ours, "", theirs, "")}, "prod", []string{"subnet-2"}},
		{"for another cluster", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "1", theirs, "")}, "prod", []string{"subnet-1"}},
		{"for a cluster, and ours has no name", []Subnet{tagged("subnet-1", 10), tagged("subnet-2", 99, TagRole, "1", TagSubnetCluster, "")}, "", []string{"subnet-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := discovering(func(s *Settings) { s.ClusterName = c.cluster }, c.subnets...)
			if diff := cmp.Diff(c.want, creations(p.Plan(1, t0))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A subnet that turns out to have no room is passed over at once.
func TestTheNextSubnetServes(t *testing.T) {
	a, b := tagged("subnet-1", 200), tagged("subnet-2", 100, TagRole, "1")
	full := &Failure{Class: SubnetFull, Err: fmt.Errorf("InsufficientFreeAddressesInSubnet")}
	refuse := func(p *Pool, class *Failure) {
		for _, action := range p.Plan(3, t0) {
			p.Start(action)
			p.Failed(action, class, t0)
		}
	}
	p := discovering(nothing, a, b)
	refuse(p, full)
	want(t, plan(p, 3, t0), "create an ENI with 3 addresses in subnet-2 (3 waiting, 0 headroom)")

	p = discovering(func(s *Settings) { s.Prefixes = true }, a, b)
	refuse(p, full)
	want(t, plan(p, 3, t0), "create an ENI with 1 prefixes in subnet-2 (3 waiting, 0 headroom)")

	p = discovering(nothing, a, b)
	refuse(p, &Failure{Class: Throttled, Err: fmt.Errorf("RequestLimitExceeded")})
	want(t, plan(p, 3, t0)) // it would be throttled there as well

	p = discovering(nothing, a, b) // an ENI of the full subnet has room: it is not waited for
	p.Observe([]ENI{eni(0, 9), eni(1, 0)}, true, t0)
	refuse(p, full)
	want(t, plan(p, 3, t0), "assign 1 addresses to eni-1 (3 waiting, 0 headroom)", "create an ENI with 2 addresses in subnet-2 (3 waiting, 0 headroom)")
}

// What is asked for in one plan is spread, as if each answer were there.
func TestRoomIsCountedDown(t *testing.T) {
	p := discovering(func(s *Settings) { s.Limits.ENIs = 5 }, tagged("subnet-1", 40), tagged("subnet-2", 60, TagRole, "1"))
	actions := p.Plan(36, t0)
	want(t, slices.Sorted(slices.Values(creations(actions))), "subnet-1", "subnet-2", "subnet-2", "subnet-2")
	for _, a := range actions {
		p.Start(a)
	}
	for i, a := range actions {
		e := eni(i+1, 9)
		e.Subnet = a.(CreateENI).Subnet
		p.Applied(a, Result{Created: &e}, t0)
	}
	left := 0
	for _, s := range p.zone.subnets {
		left += s.Free
	}
	if left != 100-4*10 {
		t.Errorf("%d addresses are left by our count, want 60: %+v", left, p.zone.subnets)
	}
}

// Nodes that start together do not all take the same subnet of several like it.
func TestNodesTakeDifferentSubnets(t *testing.T) {
	taken := map[string]int{}
	for i := range 300 {
		p := discovering(func(s *Settings) { s.InstanceID = fmt.Sprint("i-", i) },
			tagged("subnet-1", 1000), tagged("subnet-2", 990, TagRole, "1"), tagged("subnet-3", 995, TagRole, "1"), tagged("subnet-4", 500, TagRole, "1"))
		taken[creations(p.Plan(1, t0))[0]]++
	}
	for _, id := range []string{"subnet-1", "subnet-2", "subnet-3"} {
		if taken[id] < 60 {
			t.Errorf("%v, want about 100 each of the three with most room", taken)
		}
	}
	if taken["subnet-4"] > 0 {
		t.Errorf("%v, want none with half the room", taken)
	}
}

// No pod gets an address of an excluded subnet; what is free there goes back.
func TestExcludedSubnetIsDrained(t *testing.T) {
	p := New(with(func(s *Settings) { s.Discovery, s.Headroom = true, 0 }))
	p.Observe([]ENI{eni(0, 2), eni(1, 1), eni(2, 1)}, true, t0)
	ready(p, 0, 1, 2)
	old, _, _ := p.Assign(request("old"), t0)
	p.AskSubnets(t0)
	p.SetSubnets([]Subnet{tagged("subnet-1", 50, TagRole, "0"), tagged("subnet-2", 50, TagRole, "1")}, t0)
	if a, _, ok := p.Assign(request("new"), t0); ok {
		t.Errorf("assigned %s of an excluded subnet", a.Address)
	}
	want(t, plan(p, 0, t0.Add(time.Hour)), "unassign [10.0.0.11] from eni-0 (its subnet is kept from pods by a tag)",
		"detach eni-1 (its subnet is kept from pods by a tag)", "detach eni-2 (its subnet is kept from pods by a tag)")
	p.SetCordoned(true)
	want(t, plan(p, 0, t0.Add(time.Hour)), "unassign [10.0.0.11] from eni-0 (its subnet is kept from pods by a tag)",
		"unassign [10.0.1.10] from eni-1 (its subnet is kept from pods by a tag)", "unassign [10.0.2.10] from eni-2 (its subnet is kept from pods by a tag)")
	p.SetCordoned(false)
	p.KeepAll(true)
	want(t, plan(p, 0, t0.Add(time.Hour)))
	if got := p.Assignments(); len(got) != 1 || got[0].Address != old.Address {
		t.Errorf("held: %v", got)
	}
}

func TestNoSubnetIsForPods(t *testing.T) {
	p := discovering(nothing, tagged("subnet-1", 50, TagRole, "0"), tagged("subnet-2", 50))
	for _, a := range p.Plan(1, t0) {
		if _, ok := a.(UnassignAddresses); !ok {
			t.Errorf("%s, want only that what is free goes back", a)
		}
	}
	if why := p.Why(t0); why.Cause != NoSubnet || why.Hopeless {
		t.Errorf("%+v, want that no subnet is for pods", why)
	}
	p.SetSubnets([]Subnet{tagged("subnet-1", 50, TagRole, "0"), tagged("subnet-2", 50, TagRole, "1")}, t0)
	if why := p.Why(t0); why.Cause == NoSubnet {
		t.Errorf("%+v after the tag was set", why)
	}
}

// The subnets are described at the start, and then only if an ENI is to be
// created and what is known is old.
func TestWhenSubnetsAreDescribed(t *testing.T) {
	p := New(with(func(s *Settings) { s.Discovery = true }))
	if !p.AskSubnets(t0) || p.AskSubnets(t0) {
		t.Error("they are asked for once at the start")
	}
	p.SetSubnets([]Subnet{tagged("subnet-1", 50)}, t0)
	p.Observe([]ENI{eni(0, 9)}, true, t0)
	ready(p, 0)
	ask := func(waiting int, at time.Duration, want bool) {
		t.Helper()
		p.Plan(waiting, t0.Add(at))
		if got := p.AskSubnets(t0.Add(at)); got != want {
			t.Errorf("%d waiting after %s: asked %v, want %v", waiting, at, got, want)
		}
	}
	ask(0, 24*time.Hour, false) // nothing is to be created
	ask(10, 9*time.Minute, false)
	ask(10, 10*time.Minute, true)
	ask(10, 10*time.Minute, false) // it is on its way
	p.SubnetsFailed(&Failure{Class: Throttled}, t0.Add(10*time.Minute))
	ask(10, 11*time.Minute, true)
	p.SubnetsFailed(&Failure{Class: Unauthorized}, t0.Add(11*time.Minute))
	ask(10, 20*time.Minute, false)
	ask(10, 21*time.Minute, true)
	p.SetSubnets([]Subnet{tagged("subnet-1", 50, TagRole, "0")}, t0.Add(21*time.Minute))
	ask(10, 22*time.Minute, false)
	ask(10, 23*time.Minute, true) // one may have been tagged meanwhile
	if p.SubnetsUnknown() != nil {
		t.Error("they are known")
	}
	p.SetPlace(&Place{Subnet: "subnet-9"})
	ask(10, time.Hour, false)
	if p := New(settings); p.AskSubnets(t0) {
		t.Error("they are asked for though discovery is off")
	}
}

func TestSubnetsThatMayNotBeDescribed(t *testing.T) {
	p := discovering(nothing)
	p.SubnetsFailed(&Failure{Class: Unauthorized, Err: fmt.Errorf("no")}, t0)
	if why := p.SubnetsUnknown(); why == nil || why.Class != Unauthorized {
		t.Errorf("%v, want unauthorized", why)
	}
	want(t, creations(p.Plan(1, t0)), "subnet-1")
}

// While any subnet has room, a pod waits for one answer more than there were
// refusals, at most one for each subnet, and single addresses last.
func TestAnySubnetServes(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		var known []Subnet
		room := map[SubnetID]int{}
		for i := range 1 + r.IntN(5) {
			id := SubnetID(fmt.Sprint("subnet-", i+1))
			known = append(known, tagged(id, r.IntN(200), TagRole, "1")) // what is known is wrong
			room[id] = r.IntN(3) * r.IntN(20)
		}
		p := discovering(func(s *Settings) { s.Limits.ENIs, s.Prefixes = 20, false }, known...)
		total := 0
		for _, n := range room {
			total += max(0, n-1)
		}
		if total == 0 {
			continue
		}
		rounds, served := 0, false
		for ; !served && rounds < 3*len(known)+3; rounds++ {
			for _, action := range p.Plan(1, t0) {
				c, ok := action.(CreateENI)
				if !ok {
					t.Fatalf("seed %d: %s", seed, action)
				}
				p.Start(action)
				if takes(c) > room[c.Subnet] {
					p.Failed(action, &Failure{Class: SubnetFull, Err: fmt.Errorf("full")}, t0)
				} else {
					served = true
				}
			}
		}
		if !served {
			t.Errorf("seed %d: not served after %d rounds, %v", seed, rounds, room)
		}
		if rounds > 1+len(known) {
			t.Errorf("seed %d: served after %d answers of %d subnets", seed, rounds, len(known))
		}
	}
}

// ENIs of further cards and of special types are neither counted against the
// default card nor touched.
func TestNetworkCards(t *testing.T) {
	other := func(device, card int, kind string) ENI {
		e := eni(device, 3)
		e.ID, e.Card, e.Type, e.Primary, e.DeleteOnTermination = ENIID(fmt.Sprintf("eni-%d-%d%s", card, device, kind)), card, kind, false, false
		return e
	}
	p := New(with(func(s *Settings) { s.Limits.ENIs, s.Headroom = 2, 0 })) // p5.48xlarge has 2 on each of its cards
	cards := []ENI{eni(0, 9), other(1, 1, "interface"), other(1, 2, "efa-only"), other(0, 3, "efa"), other(1, 4, "trunk")}
	p.Observe(cards, true, t0)
	ready(p, 0)
	want(t, plan(p, 10, t0), "create an ENI with 1 addresses in subnet-1 (10 waiting, 0 headroom)")
	created := eni(9, 1)
	created.Status, created.AttachmentID, created.Device = Available, "", 0
	left := other(0, 0, "trunk") // of another agent, with our tag, attached to nothing
	left.Status, left.AttachmentID = Available, ""
	p.Observe(append(slices.Clone(cards), created, left), true, t0)
	want(t, plan(p, 10, t0), "attach eni-9 as device 1 (10 waiting, 0 headroom)")
	p.Observe(append(slices.Clone(cards), eni(1, 9)), true, t0.Add(time.Hour))
	ready(p, 0, 1)
	want(t, plan(p, 19, t0.Add(time.Hour))) // the card is full
	want(t, plan(p, 0, t0.Add(time.Hour)))
	want(t, plan(p, 0, t0.Add(2*time.Hour)), "detach eni-1 (no pod has an address of it, 0 headroom)")
}
