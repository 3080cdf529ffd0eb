package pool

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func of(f Families) Settings {
	s := settings
	s.Families = f
	return s
}

// block6 is the /80 of a device.
func block6(device int) netip.Prefix {
	return netip.MustParsePrefix(fmt.Sprintf("2001:db8:0:1:%x::/80", device+1))
}

// six gives an ENI its /80.
func six(e ENI) ENI {
	e.Prefixes6 = []netip.Prefix{block6(e.Device)}
	return e
}

func TestPlanOfFamilies(t *testing.T) {
	for _, c := range []struct {
		name     string
		families Families
		enis     []ENI
		waiting  int
		want     []string
	}{
		{"IPv6: one /80 on the primary ENI is all", IPv6, []ENI{eni(0, 0), eni(1, 0)}, 7,
			[]string{"assign 1 IPv6 prefixes to eni-0 (pods get IPv6)"}},
		{"IPv6: it is there", IPv6, []ENI{six(eni(0, 0))}, 7, nil},
		{"dual stack: a /80 for each ENI", DualStack, []ENI{six(eni(0, 3)), eni(1, 2)}, 0,
			[]string{"assign 1 IPv6 prefixes to eni-1 (pods get dual stack)"}},
		{"dual stack: who waits for a /80 needs no more addresses", DualStack, []ENI{eni(0, 3)}, 2,
			[]string{"assign 1 IPv6 prefixes to eni-0 (pods get dual stack)"}},
		{"dual stack: an ENI comes with both", DualStack, []ENI{six(eni(0, 3))}, 4,
			[]string{"create an ENI with 2 addresses and 1 IPv6 prefixes in subnet-1 (4 waiting, 1 headroom)"}},
		{"dual stack: both are asked for at once", DualStack, []ENI{eni(0, 0)}, 1,
			[]string{"assign 2 addresses to eni-0 (1 waiting, 1 headroom)", "assign 1 IPv6 prefixes to eni-0 (pods get dual stack)"}},
		{"IPv4: no ENI loses or gets a /80", IPv4, []ENI{six(eni(0, 2)), eni(1, 1)}, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(of(c.families))
			p.Observe(c.enis, true, t0)
			ready(p, 0, 1)
			actions := p.Plan(c.waiting, t0)
			want(t, plan(p, c.waiting, t0), c.want...)
			for _, a := range actions {
				p.Start(a)
			}
			want(t, plan(p, c.waiting, t0)) // what is on its way is not asked for twice
		})
	}
}

// IPv6 alone gives back what was held of IPv4, and keeps what pods have.
func TestFromIPv4ToIPv6(t *testing.T) {
	s := of(IPv6)
	s.ReleaseAfter = time.Minute
	p := New(s)
	p.Observe([]ENI{six(eni(0, 3))}, true, t0)
	ready(p, 0)
	p.Hold(Assignment{Key: request("old").Key, Address: addr("10.0.0.11"), ENI: "eni-0", Since: t0})
	want(t, plan(p, 0, t0))
	want(t, plan(p, 0, t0.Add(time.Minute)), "unassign [10.0.0.12 10.0.0.10] from eni-0 (too many for a while, pods get IPv6)")
}

func TestAssignIPv6(t *testing.T) {
	p := New(of(IPv6))
	p.Observe([]ENI{six(eni(0, 3))}, true, t0)
	ready(p, 0)
	var got []string
	for i := range 3 {
		a, _, ok := p.Assign(request(fmt.Sprint(i)), t0)
		if !ok || a.Second.IsValid() || a.ENI != "eni-0" {
			t.Fatalf("%+v", a)
		}
		got = append(got, a.Text())
	}
	p.Release(request("1").Key, "", nil, t0)
	later := t0.Add(time.Hour) // its cool-down is long over, but it was used last of all
	a, _, _ := p.Assign(request("3"), later)
	want(t, append(got, a.Text()), "2001:db8:0:1:1::1", "2001:db8:0:1:1::2", "2001:db8:0:1:1::3", "2001:db8:0:1:1::4")
	c := p.Count(later)
	if c.Total != 1<<48 || c.Assigned != 3 || c.Free != 1<<48-3 || c.MaxAddresses != 1<<48 || c.TotalByENI["eni-0"] != 1<<48 {
		t.Errorf("count %+v", c)
	}
}

// A book that starts again passes over what is held and what cools down; so does
// one that has come to the end of its prefix.
func TestNextIPv6Address(t *testing.T) {
	end := netip.MustParseAddr("2001:db8:0:1:1:ffff:ffff:ffff")
	for _, c := range []struct {
		name          string
		last          netip.Addr
		held, cooling []string
		want          string
	}{
		{"the first", netip.Addr{}, nil, nil, "2001:db8:0:1:1::1"},
		{"after a restart", netip.Addr{}, []string{"2001:db8:0:1:1::1"}, []string{"2001:db8:0:1:1::2"}, "2001:db8:0:1:1::3"},
		{"at the end", end, []string{"2001:db8:0:1:1::1"}, nil, "2001:db8:0:1:1::3"},
	} {
		p := New(of(IPv6))
		p.Observe([]ENI{six(eni(0, 0))}, true, t0)
		ready(p, 0)
		if c.last.IsValid() {
			p.last[block6(0)] = c.last
		}
		for _, text := range c.held {
			p.Hold(Assignment{Key: request(text).Key, Address: addr(text), ENI: "eni-0", Since: t0})
		}
		for _, text := range c.cooling {
			p.Cool(addr(text), t0.Add(time.Second))
		}
		p.SetInUse([]netip.Addr{addr("2001:db8:0:1:1::2")}) // by somebody of whom the book knows nothing
		if a, _, _ := p.Assign(request("a"), t0); a.Text() != c.want {
			t.Errorf("%s: %s, want %s", c.name, a.Text(), c.want)
		}
	}
}

func TestAssignDualStack(t *testing.T) {
	p := New(of(DualStack))
	p.Observe([]ENI{eni(0, 3), six(eni(1, 1))}, true, t0)
	ready(p, 0, 1)
	p.Hold(Assignment{Key: request("old").Key, Address: addr("10.0.0.11"), ENI: "eni-0", Since: t0}) // from before
	a, fresh, ok := p.Assign(request("a"), t0)
	wanted := Assignment{Key: request("a").Key, Pod: request("a").Pod, Link: "enia", ENI: "eni-1", Device: 1, Since: t0,
		Address: addr("10.0.1.10"), Second: addr("2001:db8:0:1:2::1")}
	if diff := cmp.Diff(wanted, a, cmpopts.EquateComparable(netip.Addr{})); !ok || !fresh || diff != "" {
		t.Errorf("both are of one ENI (-want +got):\n%s", diff)
	}
	if b, _, ok := p.Assign(request("b"), t0); ok {
		t.Errorf("%s: of an ENI without a /80, or without an address", b.Text())
	}
	p.Applied(AssignAddresses{ENI: "eni-0", Prefixes6: 1}, Result{AssignedPrefixes6: []netip.Prefix{block6(0)}}, t0)
	p.Observe([]ENI{eni(0, 3), six(eni(1, 1))}, true, t0.Add(time.Second)) // which does not show it yet
	b, _, _ := p.Assign(request("b"), t0.Add(time.Second))
	want(t, []string{b.Text()}, "10.0.0.10 2001:db8:0:1:1::1")

	p.Release(a.Key, "", nil, t0)
	if c := p.Count(t0); c.Assigned != 2 || c.Cooling != 1 || len(p.Cooling()) != 2 {
		t.Errorf("both addresses cool down, and one counts: %+v, %v", c, p.Cooling())
	}
}

// What two claim in part goes to the younger as a whole.
func TestClaimsToTwoAddresses(t *testing.T) {
	claim := func(name string, after time.Duration, first, second string) Assignment {
		a := Assignment{Key: request(name).Key, Address: addr(first), Since: t0.Add(after)}
		if second != "" {
			a.Second = addr(second)
		}
		return a
	}
	a, b := claim("a", 0, "10.0.0.10", "2001:db8::1"), claim("b", 0, "10.0.0.11", "2001:db8::2")
	for _, c := range []struct {
		name string
		more Assignment
		lost []Assignment
		left int
	}{
		{"again", a, nil, 2},
		{"another's second", claim("c", 1, "10.0.0.12", "2001:db8::2"), []Assignment{b}, 2},
		{"one of each", claim("c", 1, "10.0.0.10", "2001:db8::2"), []Assignment{a, b}, 1},
		{"older", claim("c", -1, "10.0.0.12", "2001:db8::2"), []Assignment{claim("c", -1, "10.0.0.12", "2001:db8::2")}, 2},
		{"its own first and another's second", claim("a", 1, "10.0.0.10", "2001:db8::2"), []Assignment{a, b}, 1},
	} {
		p := New(of(DualStack))
		p.Hold(a)
		p.Hold(b)
		lost := p.Hold(c.more)
		if diff := cmp.Diff(c.lost, lost, cmpopts.EquateComparable(netip.Addr{})); diff != "" || len(p.Assignments()) != c.left || len(p.owner) != 2*c.left {
			t.Errorf("%s: held %v (-want +got displaced):\n%s", c.name, p.Assignments(), diff)
		}
	}
}

// A /80 that is refused keeps no IPv4 address from being asked for, and is told.
func TestA80IsRefused(t *testing.T) {
	p := New(of(DualStack))
	p.Observe([]ENI{eni(0, 0)}, true, t0)
	ready(p, 0)
	for _, a := range p.Plan(1, t0) {
		p.Start(a)
		if ask := a.(AssignAddresses); ask.Prefixes6 > 0 {
			p.Failed(a, &Failure{Class: SubnetFull, Err: fmt.Errorf("no /80 left")}, t0)
		} else {
			p.Applied(a, Result{Assigned: []netip.Addr{addr("10.0.0.10"), addr("10.0.0.11")}}, t0)
		}
	}
	want(t, plan(p, 4, t0), "assign 1 addresses to eni-0 (4 waiting, 1 headroom)", "create an ENI with 2 addresses and 1 IPv6 prefixes in subnet-1 (4 waiting, 1 headroom)")
	if why := p.Why(t0); why.Cause != CallFailed || why.Class != SubnetFull || why.Message != "no /80 left; tried 1 times, next at 2026-01-01T00:00:05Z" {
		t.Errorf("why: %+v", why)
	}
	want(t, plan(p, 1, t0.Add(5*time.Second)), "assign 1 IPv6 prefixes to eni-0 (pods get dual stack)")
}

// An ENI whose IPv6 address was just released is not taken away.
func TestAnENIWithACoolingIPv6AddressStays(t *testing.T) {
	s := of(DualStack)
	s.ReleaseAfter = time.Minute
	p := New(s)
	p.Observe([]ENI{six(eni(0, 2)), six(eni(1, 0))}, true, t0.Add(-time.Hour))
	ready(p, 0, 1)
	p.Cool(addr("2001:db8:0:1:2::7"), t0.Add(2*time.Minute))
	plan(p, 0, t0)
	want(t, plan(p, 0, t0.Add(time.Minute)))
	want(t, plan(p, 0, t0.Add(2*time.Minute)))
	want(t, plan(p, 0, t0.Add(3*time.Minute)), "detach eni-1 (no pod has an address of it, 1 headroom)")
}

func TestAdoptedPairs(t *testing.T) {
	p := New(of(DualStack))
	p.Adopt(addr("10.0.1.10"), addr("2001:db8:0:1:2::1"), "eniabc", 1, t0)
	p.Observe([]ENI{six(eni(0, 0)), six(eni(1, 2))}, true, t0)
	ready(p, 0, 1)
	a, _, _ := p.Assign(request("a"), t0)
	want(t, []string{a.Text()}, "10.0.1.11 2001:db8:0:1:2::2")
	if got, held := p.Release(request("x").Key, "eniabc", []netip.Addr{addr("2001:db8:0:1:2::1")}, t0); !held || got.ENI != "eni-1" {
		t.Errorf("released %v %+v", held, got)
	}
}
