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
	past []past
	lag  time.Duration // of describes; without, nothing may ever be asked that is refused
	max  Limits
}

// refuse is EC2's refusal of what the plan could not know.
func (c *cloud) refuse(class Class, what string) (Result, *Failure) {
	if c.lag == 0 {
		c.t.Fatalf("refused though describes are up to date: %s", what)
	}
	return Result{}, &Failure{Class: class, Err: fmt.Errorf("%s", what)}
}

// past is what describes may still show.
type past struct {
	at   time.Time
	enis []ENI
}

func (c *cloud) prefix() netip.Prefix {
	c.next++
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(2 + c.next/4096), byte(c.next / 16), byte(c.next % 16 * 16)}), 28)
}

func (c *cloud) prefix6() netip.Prefix {
	c.next++
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 8: byte(c.next / 256), 9: byte(c.next)}), 80)
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
		e := ENI{ID: ENIID(fmt.Sprintf("eni-c%d", c.next)), Subnet: a.Subnet, SecurityGroups: a.SecurityGroups, Address: c.address(), Tags: map[string]string{TagInstance: "i-1"}}
		for range a.Addresses {
			e.Addresses = append(e.Addresses, c.address())
		}
		for range a.Prefixes {
			e.Prefixes = append(e.Prefixes, c.prefix())
		}
		for range a.Prefixes6 {
			e.Prefixes6 = append(e.Prefixes6, c.prefix6())
		}
		c.enis[e.ID] = &e
		copied := e
		return Result{Created: &copied}, nil
	case AttachENI:
		e := c.enis[a.ENI]
		for _, other := range c.enis {
			if other.Status == Attached && (other.Device == a.Device || other == e) {
				return c.refuse(InUse, fmt.Sprintf("device %d is taken, or %s attached", a.Device, a.ENI))
			}
		}
		if c.attached() >= c.max.ENIs {
			return c.refuse(ENILimit, a.String())
		}
		e.Status, e.Device, e.AttachmentID = Attached, a.Device, "eni-attach-"+string(a.ENI)
		return Result{AttachmentID: e.AttachmentID}, nil
	case ProtectENI:
		c.enis[a.ENI].DeleteOnTermination = true
	case SetSecurityGroups:
		c.enis[a.ENI].SecurityGroups = a.SecurityGroups
	case AssignAddresses:
		var out []netip.Addr
		for range a.Count {
			out = append(out, c.address())
		}
		e := c.enis[a.ENI]
		if len(e.Addresses)+len(e.Prefixes)+a.Count+a.Prefixes >= c.max.AddressesPerENI {
			return c.refuse(AddressLimit, a.String())
		}
		e.Addresses = append(e.Addresses, out...)
		var prefixes []netip.Prefix
		for range a.Prefixes {
			prefixes = append(prefixes, c.prefix())
		}
		e.Prefixes = append(e.Prefixes, prefixes...)
		var prefixes6 []netip.Prefix
		for range a.Prefixes6 {
			prefixes6 = append(prefixes6, c.prefix6())
		}
		e.Prefixes6 = append(e.Prefixes6, prefixes6...)
		return Result{Assigned: out, AssignedPrefixes: prefixes, AssignedPrefixes6: prefixes6}, nil
	case UnassignAddresses:
		return c.unassign(a)
	case DetachENI:
		e := c.enis[a.ENI]
		if e.Primary || e.AttachmentID != a.AttachmentID {
			c.t.Fatalf("%s: %+v", a, e)
		}
		e.Status, e.AttachmentID = Available, ""
	case DeleteENI:
		if c.enis[a.ENI].Status != Available {
			return Result{}, &Failure{Class: InUse, Err: fmt.Errorf("%s is in use", a.ENI)}
		}
		delete(c.enis, a.ENI)
	}
	return Result{}, nil
}

func (c *cloud) unassign(a UnassignAddresses) (Result, *Failure) {
	e := c.enis[a.ENI]
	all := true
	for _, x := range a.Addresses {
		all = all && slices.Contains(e.Addresses, x)
	}
	for _, x := range a.Prefixes {
		all = all && slices.Contains(e.Prefixes, x)
	}
	if !all {
		return Result{}, &Failure{Class: Refused, Err: fmt.Errorf("some are not assigned: %s", a)}
	}
	e.Addresses = slices.DeleteFunc(e.Addresses, func(x netip.Addr) bool { return slices.Contains(a.Addresses, x) })
	e.Prefixes = slices.DeleteFunc(e.Prefixes, func(x netip.Prefix) bool { return slices.Contains(a.Prefixes, x) })
	return Result{}, nil
}

// lagging is what a describe shows that is up to so far behind.
func (c *cloud) lagging(now time.Time, lag time.Duration) []ENI {
	c.past = append(c.past, past{now, c.describe()})
	for now.Sub(c.past[0].at) > lag {
		c.past = c.past[1:]
	}
	return c.past[0].enis
}

func (c *cloud) describe() []ENI {
	var out []ENI
	for _, e := range c.enis {
		copied := *e
		copied.Addresses, copied.Prefixes, copied.Prefixes6 = slices.Clone(e.Addresses), slices.Clone(e.Prefixes), slices.Clone(e.Prefixes6)
		out = append(out, copied)
	}
	return out
}

func (c *cloud) attached() int {
	n := 0
	for _, e := range c.enis {
		if e.Status != Available {
			n++
		}
	}
	return n
}

func (c *cloud) check(s Settings) {
	for _, e := range c.enis {
		if n := len(e.Addresses) + len(e.Prefixes) + 1; n > s.Limits.AddressesPerENI {
			c.t.Fatalf("%s has %d addresses and prefixes, over the limit", e.ID, n)
		}
		if s.Families == IPv4 && len(e.Prefixes6) > 0 || c.lag == 0 && len(e.Prefixes6) > 1 {
			c.t.Fatalf("%s has IPv6 prefixes %v with %s", e.ID, e.Prefixes6, s.Families)
		}
	}
	if n := c.attached(); n > s.Limits.ENIs {
		c.t.Fatalf("%d ENIs attached, over the limit", n)
	}
}

// A random walk over everything that can happen. The invariants of the package
// hold at each step, and at the end the plan comes to rest with demand met.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(80) {
		r := rand.New(rand.NewPCG(seed, 1))
		settings := settings
		settings.Prefixes, settings.ReleaseAfter = seed%2 == 1, time.Duration(seed/2%2)*20*time.Second
		settings.Families = Families(seed / 8 % 3)
		settings.Targets = [...]Targets{{}, {WarmAddresses: 2}, {WarmENIs: Target{1, true}, WarmPrefixes: Target{1, true}}}[seed%3]
		c := &cloud{t: t, enis: map[ENIID]*ENI{}, max: settings.Limits, lag: time.Duration(seed/4%2) * 20 * time.Second}
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
				p.Observe(c.lagging(now, c.lag), true, now)
			case 1:
				for _, a := range p.Plan(r.IntN(4), now) {
					p.Start(a)
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
					for _, address := range a.Addresses() {
						if since := now.Sub(released[address]); since < settings.CoolDown && !released[address].IsZero() {
							t.Fatalf("seed %d step %d: %s handed out %s after its release", seed, step, address, since)
						}
					}
					if a.Address.Is4() == (settings.Families == IPv6) || a.Second.IsValid() != (settings.Families == DualStack) {
						t.Fatalf("seed %d step %d: %s got %s", seed, step, settings.Families, a.Text())
					}
				}
			case 4:
				if a, held := p.Release(request(name).Key, "", nil, now); held {
					for _, address := range a.Addresses() {
						released[address] = now
					}
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
		for _, address := range a.Addresses() {
			if other, twice := seen[address]; twice {
				t.Fatalf("%s is held by %v and %v", address, other, a.Key)
			}
			seen[address] = a.Key
			e := c.enis[a.ENI]
			if e == nil || !e.Has(address) {
				t.Fatalf("%s was assigned, but is not an address of %s", address, a.ENI)
			}
			if e.Address == address {
				t.Fatalf("%s is the ENI's own address", address)
			}
		}
	}
}

// Applied until it is empty, a plan ends, and demand is met up to the limit.
func TestPlanComesToRest(t *testing.T) {
	for waiting := range 15 {
		c := &cloud{t: t, enis: map[ENIID]*ENI{}, max: settings.Limits}
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
