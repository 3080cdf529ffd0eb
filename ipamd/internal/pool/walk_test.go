package pool

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// cloud is EC2 as the plan knows it: it keeps the limits.
type cloud struct {
	t    *testing.T
	enis map[ENIID]*ENI
	next int
}

func (c *cloud) address() netip.Addr {
	c.next++
	return netip.AddrFrom4([4]byte{10, 1, byte(c.next / 250), byte(c.next%250 + 1)})
}

// apply refuses like EC2 what is not there.
func (c *cloud) apply(a Action) (Result, *Failure) {
	if id := eniOf(a); id != "" && c.enis[id] == nil {
		return Result{}, &Failure{Class: NotFound, Err: fmt.Errorf("the networkInterface ID '%s' does not exist", id)}
	}
	switch a := a.(type) {
	case CreateENI:
		e := ENI{ID: ENIID(fmt.Sprintf("eni-c%d", c.next)), Subnet: a.Subnet, Address: c.address(), Tags: map[string]string{TagInstance: "i-1"}}
		for range a.Addresses {
			e.Addresses = append(e.Addresses, c.address())
		}
		c.enis[e.ID] = &e
		copied := e
		return Result{Created: &copied}, nil
	case AttachENI:
		e := c.enis[a.ENI]
		for _, other := range c.enis {
			if other.Status == Attached && other.Device == a.Device {
				c.t.Fatalf("device %d is taken", a.Device)
			}
		}
		e.Status, e.Device, e.AttachmentID = Attached, a.Device, "eni-attach-"+string(a.ENI)
		return Result{AttachmentID: e.AttachmentID}, nil
	case ProtectENI:
		c.enis[a.ENI].DeleteOnTermination = true
	case AssignAddresses:
		var out []netip.Addr
		for range a.Count {
			out = append(out, c.address())
		}
		e := c.enis[a.ENI]
		e.Addresses = append(e.Addresses, out...)
		return Result{Assigned: out}, nil
	case DeleteENI:
		delete(c.enis, a.ENI)
	}
	return Result{}, nil
}

func (c *cloud) describe() []ENI {
	var out []ENI
	for _, e := range c.enis {
		copied := *e
		copied.Addresses = slices.Clone(e.Addresses)
		out = append(out, copied)
	}
	return out
}

func (c *cloud) check(s Settings) {
	attached := 0
	for _, e := range c.enis {
		if len(e.Addresses)+1 > s.Limits.AddressesPerENI {
			c.t.Fatalf("%s has %d addresses, over the limit", e.ID, len(e.Addresses)+1)
		}
		if e.Status != Available {
			attached++
		}
	}
	if attached > s.Limits.ENIs {
		c.t.Fatalf("%d ENIs attached, over the limit", attached)
	}
}

// A random walk over everything that can happen. The invariants of the package
// hold at each step, and at the end the plan comes to rest with demand met.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := &cloud{t: t, enis: map[ENIID]*ENI{}}
		primary := eni(0, 0)
		c.enis[primary.ID] = &primary
		p := New(settings)
		now := t0
		released := map[netip.Addr]time.Time{}
		for step := range 400 {
			now = now.Add(time.Duration(r.IntN(8000)) * time.Millisecond)
			name := fmt.Sprint(r.IntN(12))
			switch r.IntN(6) {
			case 0:
				p.Observe(c.describe(), true, now)
			case 1:
				for _, a := range p.Plan(r.IntN(4), now) {
					switch r.IntN(5) {
					case 0:
						p.Failed(a, &Failure{Class: Class(r.IntN(10)), Err: fmt.Errorf("no")}, now)
					case 1: // applied, and the answer was lost
						c.apply(a)
						p.Failed(a, &Failure{Class: Ambiguous, Err: fmt.Errorf("lost")}, now)
						p.Observe(c.describe(), true, now)
					default:
						if result, failure := c.apply(a); failure != nil {
							p.Failed(a, failure, now)
						} else {
							p.Applied(a, result, now)
						}
					}
				}
			case 2, 3:
				readyENIs := map[ENIID]bool{}
				for _, e := range p.ENIs() {
					readyENIs[e.ID] = e.Status == Attached && r.IntN(10) > 0
				}
				p.SetReady(readyENIs, now)
				if a, fresh, ok := p.Assign(request(name), now); ok && fresh {
					if since := now.Sub(released[a.Address]); since < settings.CoolDown && !released[a.Address].IsZero() {
						t.Fatalf("seed %d step %d: %s handed out %s after its release", seed, step, a.Address, since)
					}
				}
			case 4:
				if a, held := p.Release(request(name).Key, "", nil, now); held {
					released[a.Address] = now
				}
			case 5:
				p.Expire(now)
			}
			c.check(settings)
			invariants(t, p, c)
		}
	}
}

func invariants(t *testing.T, p *Pool, c *cloud) {
	t.Helper()
	seen := map[netip.Addr]Key{}
	for _, a := range p.Assignments() {
		if other, twice := seen[a.Address]; twice {
			t.Fatalf("%s is held by %v and %v", a.Address, other, a.Key)
		}
		seen[a.Address] = a.Key
		e := c.enis[a.ENI]
		if e == nil || !slices.Contains(e.Addresses, a.Address) {
			t.Fatalf("%s was assigned, but is not an address of %s", a.Address, a.ENI)
		}
		if e.Address == a.Address {
			t.Fatalf("%s is the ENI's own address", a.Address)
		}
	}
}

// Applied until it is empty, a plan ends, and demand is met up to the limit.
func TestPlanComesToRest(t *testing.T) {
	for waiting := range 15 {
		c := &cloud{t: t, enis: map[ENIID]*ENI{}}
		primary := eni(0, 0)
		c.enis[primary.ID] = &primary
		p := New(settings)
		p.Observe(c.describe(), true, t0)
		rounds := 0
		for actions := p.Plan(waiting, t0); len(actions) > 0; actions = p.Plan(waiting, t0) {
			if rounds++; rounds > 10 {
				t.Fatalf("%d waiting: still planning %v", waiting, actions)
			}
			for _, a := range actions {
				result, failure := c.apply(a)
				if failure != nil {
					t.Fatal(failure)
				}
				p.Applied(a, result, t0)
			}
		}
		wantFree := min(waiting+settings.Headroom, settings.Limits.ENIs*(settings.Limits.AddressesPerENI-1))
		if free := p.Count(t0).Free; free != wantFree {
			t.Errorf("%d waiting: %d free, want %d", waiting, free, wantFree)
		}
		c.check(settings)
	}
}

func BenchmarkPlan(b *testing.B) {
	s := settings
	s.Limits = Limits{ENIs: 100, AddressesPerENI: 51}
	p := New(s)
	var enis []ENI
	for d := range 100 {
		enis = append(enis, eni(d, 50))
	}
	p.Observe(enis, true, t0)
	for d := range 100 {
		p.SetReady(map[ENIID]bool{ENIID(fmt.Sprintf("eni-%d", d)): true}, t0)
		for i := range 40 {
			p.Assign(request(fmt.Sprint(d, i)), t0)
		}
	}
	for b.Loop() {
		p.Plan(10, t0)
	}
}
