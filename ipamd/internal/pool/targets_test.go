package pool

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// with returns the settings of the tests, changed.
func with(change func(*Settings)) Settings {
	s := settings
	s.Limits = Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true} // m5.large
	s.Headroom, s.ReleaseAfter = 2, time.Minute
	change(&s)
	return s
}

// delegated makes an attached ENI with prefixes 10.0.<device>.0/28 and on.
func delegated(device, prefixes int) ENI {
	e := eni(device, 0)
	e.Address = netip.AddrFrom4([4]byte{10, 9, byte(device), 5})
	for i := range prefixes {
		e.Prefixes = append(e.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(device), byte(16 * i)}), 28))
	}
	return e
}

// TestTargets has what aws-node's documentation says its targets lead to.
func TestTargets(t *testing.T) {
	set := func(n int) Target { return Target{n, true} }
	for _, c := range []struct {
		name    string
		targets Targets
		enis    []ENI
		pods    int
		prefix  bool
		want    []string
	}{
		{"WARM_IP_TARGET 5", Targets{WarmAddresses: 5}, []ENI{eni(0, 3)}, 2, false, []string{"assign 4 addresses to eni-0 (0 waiting, WARM_IP_TARGET 5, MINIMUM_IP_TARGET 0)"}},
		{"MINIMUM_IP_TARGET 8", Targets{MinimumAddresses: 8}, []ENI{eni(0, 3)}, 2, false, []string{"assign 5 addresses to eni-0 (0 waiting, WARM_IP_TARGET 0, MINIMUM_IP_TARGET 8)"}},
		{"the larger of the two", Targets{WarmAddresses: 2, MinimumAddresses: 8}, []ENI{eni(0, 8)}, 7, false, []string{"assign 1 addresses to eni-0 (0 waiting, WARM_IP_TARGET 2, MINIMUM_IP_TARGET 8)"}},
		{"WARM_ENI_TARGET 1: a whole ENI", Targets{WarmENIs: set(1)}, []ENI{eni(0, 9)}, 1, false, []string{"create an ENI with 9 addresses in subnet-1 (0 waiting, WARM_ENI_TARGET 1)"}},
		{"WARM_ENI_TARGET 1: the room of one", Targets{WarmENIs: set(1)}, []ENI{eni(0, 3)}, 0, false, []string{"assign 6 addresses to eni-0 (0 waiting, WARM_ENI_TARGET 1)"}},
		{"WARM_ENI_TARGET 0", Targets{WarmENIs: set(0)}, []ENI{eni(0, 9)}, 8, false, nil},
		{"addresses before ENIs", Targets{WarmAddresses: 1, WarmENIs: set(2)}, []ENI{eni(0, 9)}, 8, false, nil},
		{"WARM_PREFIX_TARGET 1", Targets{WarmPrefixes: set(1), WarmENIs: set(1)}, []ENI{delegated(0, 1)}, 1, true, []string{"assign 1 prefixes to eni-0 (0 waiting, WARM_PREFIX_TARGET 1)"}},
		{"WARM_IP_TARGET 20 of prefixes", Targets{WarmAddresses: 20, WarmPrefixes: set(1)}, []ENI{delegated(0, 1)}, 1, true, []string{"assign 1 prefixes to eni-0 (0 waiting, WARM_IP_TARGET 20, MINIMUM_IP_TARGET 0)"}},
		{"WARM_PREFIX_TARGET means nothing to single addresses", Targets{WarmPrefixes: set(1)}, []ENI{eni(0, 4)}, 2, false, nil},
		{"demand, of prefixes", Targets{}, []ENI{delegated(0, 1)}, 15, true, []string{"assign 1 prefixes to eni-0 (0 waiting, 3 headroom)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(with(func(s *Settings) { s.Targets, s.Prefixes = c.targets, c.prefix }))
			p.Observe(c.enis, true, t0)
			ready(p, 0)
			for i := range c.pods {
				if _, _, ok := p.Assign(request(fmt.Sprint(i)), t0); !ok {
					t.Fatalf("no address for pod %d", i)
				}
			}
			want(t, plan(p, 0, t0), c.want...)
		})
	}
}

func TestScheduledPodsAreExpected(t *testing.T) {
	p := New(with(func(*Settings) {}))
	p.Observe([]ENI{eni(0, 2)}, true, t0)
	p.Expect(10)
	want(t, plan(p, 1, t0),
		"assign 7 addresses to eni-0 (1 waiting, 10 scheduled, 3 headroom)", "create an ENI with 4 addresses in subnet-1 (1 waiting, 10 scheduled, 3 headroom)")
}

// A prefix serves its 16 addresses, and is filled before the next one.
func TestPrefixesAreFilledInTurn(t *testing.T) {
	p := New(with(func(s *Settings) { s.Prefixes = true }))
	p.Observe([]ENI{delegated(0, 3)}, true, t0)
	ready(p, 0)
	for i := range 40 {
		a, _, ok := p.Assign(request(fmt.Sprint(i)), t0)
		if want := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}); !ok || a.Address != want {
			t.Fatalf("pod %d got %v, want %v", i, a.Address, want)
		}
	}
	if c := p.Count(t0); c.Total != 48 || c.Free != 8 || c.MaxAddresses != 3*9*16 || c.Prefixes != 3 {
		t.Errorf("counted %+v", c)
	}
	for i := range 30 { // of the first two, all but the last two
		p.Release(request(fmt.Sprint(i)).Key, "", nil, t0)
	}
	later := t0.Add(time.Hour)
	if a, _, _ := p.Assign(request("next"), later); a.Address != addr("10.0.0.40") {
		t.Errorf("got %v, want one of the fullest prefix", a.Address)
	}
}

// A subnet without a free /28 gives single addresses, and is asked for prefixes
// again after a while.
func TestFragmentedSubnet(t *testing.T) {
	p := New(with(func(s *Settings) { s.Prefixes = true }))
	p.Observe([]ENI{delegated(0, 0)}, true, t0)
	ready(p, 0)
	first := p.Plan(4, t0)[0]
	if got := first.String(); got != "assign 1 prefixes to eni-0 (4 waiting, 2 headroom)" {
		t.Fatalf("planned %s", got)
	}
	p.Start(first)
	p.Failed(first, &Failure{Class: SubnetFull, Err: fmt.Errorf("InsufficientCidrBlocks")}, t0)
	want(t, plan(p, 4, t0), "assign 6 addresses to eni-0 (4 waiting, 2 headroom)")
	want(t, plan(p, 4, t0.Add(fragmentedFor)), "assign 1 prefixes to eni-0 (4 waiting, 2 headroom)")
}

// What is too much for a minute is given back, once, and nothing that is held
// or cools down.
func TestGivingBack(t *testing.T) {
	soon, later := t0.Add(30*time.Second), t0.Add(2*time.Minute)
	for _, c := range []struct {
		name   string
		change func(*Settings)
		enis   []ENI
		pods   int
		want   []string
	}{
		{"single addresses, down to the headroom", func(*Settings) {}, []ENI{eni(0, 9)}, 3,
			[]string{"unassign [10.0.0.18 10.0.0.17 10.0.0.16 10.0.0.15] from eni-0 (too many for a while, 2 headroom)"}},
		{"a little too much stays", func(*Settings) {}, []ENI{eni(0, 7)}, 3, nil},
		{"an ENI that is not needed", func(*Settings) {}, []ENI{eni(0, 5), eni(1, 9)}, 3,
			[]string{"detach eni-1 (no pod has an address of it, 2 headroom)"}},
		{"one without addresses", func(*Settings) {}, []ENI{eni(0, 5), eni(1, 0)}, 3,
			[]string{"detach eni-1 (no pod has an address of it, 2 headroom)"}},
		{"whole prefixes only", func(s *Settings) { s.Prefixes = true }, []ENI{delegated(0, 3)}, 3,
			[]string{"unassign [10.0.0.32/28 10.0.0.16/28] from eni-0 (too many for a while, 2 headroom)"}},
		{"with WARM_IP_TARGET", func(s *Settings) { s.Targets.WarmAddresses = 5 }, []ENI{eni(0, 9)}, 3,
			[]string{"unassign [10.0.0.18] from eni-0 (too many for a while, WARM_IP_TARGET 5, MINIMUM_IP_TARGET 0)"}},
		{"with WARM_ENI_TARGET, ENIs only", func(s *Settings) { s.Targets.WarmENIs = Target{1, true} }, []ENI{eni(0, 9), eni(1, 9)}, 3, nil},
		{"and of these one at a time", func(s *Settings) { s.Targets.WarmENIs = Target{0, true} }, []ENI{eni(0, 9), eni(1, 9), eni(2, 9)}, 3,
			[]string{"detach eni-2 (no pod has an address of it, WARM_ENI_TARGET 0)"}},
		{"never, if not told when", func(s *Settings) { s.ReleaseAfter = 0 }, []ENI{eni(0, 9), eni(1, 9)}, 3, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(with(c.change))
			p.Observe(c.enis, true, t0)
			ready(p, 0, 1, 2)
			for i := range c.pods {
				p.Assign(request(fmt.Sprint(i)), t0)
			}
			want(t, plan(p, 0, t0))
			want(t, plan(p, 0, soon))
			actions := p.Plan(0, later)
			got := []string{}
			for _, a := range actions {
				got = append(got, a.String())
				p.Start(a)
			}
			want(t, got, c.want...)
			if again := plan(p, 0, later); len(again) > 0 {
				t.Errorf("and at once: %v", again)
			}
		})
	}
}

// While all is kept, nothing goes back that would otherwise, be it attached or
// not.
func TestKeepAll(t *testing.T) {
	leftover := eni(1, 2)
	leftover.Status, leftover.AttachmentID = Available, ""
	later := t0.Add(time.Minute)
	for _, c := range []struct {
		name string
		enis []ENI
		want string
	}{
		{"addresses", []ENI{eni(0, 9)}, "unassign [10.0.0.18 10.0.0.17 10.0.0.16 10.0.0.15 10.0.0.14 10.0.0.13 10.0.0.12] from eni-0 (too many for a while, 2 headroom)"},
		{"an ENI", []ENI{eni(0, 2), eni(1, 2)}, "detach eni-1 (no pod has an address of it, 2 headroom)"},
		{"one that is attached to nothing", []ENI{eni(0, 2), leftover}, "delete eni-1 (attached to nothing and not needed)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(with(func(*Settings) {}))
			p.Observe(c.enis, true, t0)
			ready(p, 0, 1)
			p.KeepAll(true)
			want(t, plan(p, 0, t0))
			want(t, plan(p, 0, later))
			p.KeepAll(false)
			p.Plan(0, later)
			want(t, plan(p, 0, later.Add(time.Minute)), c.want)
		})
	}
}

// What is on its way back is handed out to nobody; what was not given back is
// ours again, and what was stays away though a describe is behind.
func TestWhatIsGivenBackIsNotHandedOut(t *testing.T) {
	p := New(with(func(s *Settings) { s.Limits.ENIs = 1 }))
	p.Observe([]ENI{eni(0, 9)}, true, t0)
	ready(p, 0)
	p.Plan(0, t0)
	later := t0.Add(2 * time.Minute)
	a := p.Plan(0, later)[0].(UnassignAddresses)
	p.Start(a)
	if n := p.Count(later).Free; n != 2 {
		t.Fatalf("%d are free while %d leave", n, len(a.Addresses))
	}
	p.Failed(a, &Failure{Class: Throttled, Err: fmt.Errorf("no")}, later)
	if n := p.Count(later).Free; n != 9 {
		t.Errorf("%d are free after the call failed, want 9", n)
	}
	for _, lost := range []bool{false, true} {
		p.Start(a)
		if lost {
			p.Failed(a, &Failure{Class: Ambiguous, Err: fmt.Errorf("lost")}, later)
		} else {
			p.Applied(a, Result{}, later)
		}
		p.Observe([]ENI{eni(0, 9)}, true, later.Add(time.Second)) // a stale describe
		if n := p.Count(later.Add(time.Second)).Free; n != 2 {
			t.Errorf("%d are free, want 2 (answer lost: %v)", n, lost)
		}
		p.Observe([]ENI{eni(0, 9)}, true, later.Add(time.Minute)) // it was not carried out
		if n := p.Count(later.Add(time.Minute)).Free; n != 9 {
			t.Errorf("%d are free, want 9: EC2 is the truth", n)
		}
	}
}

// An ENI that nobody needs is detached, then deleted, and not attached again.
func TestAnENIGoes(t *testing.T) {
	p := New(with(func(*Settings) {}))
	one, two := eni(0, 5), eni(1, 9)
	p.Observe([]ENI{one, two}, true, t0)
	ready(p, 0, 1)
	p.Plan(0, t0)
	later := t0.Add(2 * time.Minute)
	a := p.Plan(0, later)[0]
	p.Start(a)
	if got, _, _ := p.Assign(request("a"), later); got.ENI != "eni-0" {
		t.Errorf("an address of %s was handed out", got.ENI)
	}
	p.Applied(a, Result{}, later)
	if !p.Detaching() {
		t.Error("it is not detaching")
	}
	two.Status, two.AttachmentID = Available, ""
	p.Observe([]ENI{one, two}, true, later.Add(time.Second))
	want(t, plan(p, 0, later.Add(time.Second)), "delete eni-1 (attached to nothing and not needed)")
	want(t, plan(p, 8, later.Add(time.Second)), "delete eni-1 (attached to nothing and not needed)",
		"assign 4 addresses to eni-0 (8 waiting, 2 headroom)", "create an ENI with 2 addresses in subnet-1 (8 waiting, 2 headroom)")
}

// BenchmarkPlan5000 is a node with 5,000 addresses.
func BenchmarkPlan5000(b *testing.B) {
	s := with(func(s *Settings) { s.Prefixes, s.Limits = true, Limits{ENIs: 15, AddressesPerENI: 50, Prefixes: true} })
	p := New(s)
	var enis []ENI
	for d := range 15 {
		e := delegated(d, 0)
		for i := range 21 {
			e.Prefixes = append(e.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(1 + d), byte(i / 16), byte(i % 16 * 16)}), 28))
		}
		enis = append(enis, e)
	}
	p.Observe(enis, true, t0)
	ready(p, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
	for i := range 700 {
		p.Assign(request(fmt.Sprint(i)), t0)
	}
	for b.Loop() {
		p.Plan(0, t0)
	}
}

// With custom networking no pod gets an address of the primary ENI, and others
// are made where it says.
func TestPlace(t *testing.T) {
	p := New(with(func(*Settings) {}))
	p.Observe([]ENI{eni(0, 9)}, true, t0)
	ready(p, 0)
	before, _, _ := p.Assign(request("before"), t0)
	p.SetPlace(&Place{Missing: "no ENIConfig"})
	want(t, plan(p, 1, t0))
	if _, _, ok := p.Assign(request("a"), t0); ok {
		t.Error("a pod got an address of the primary ENI")
	}
	if why := p.Why(t0); why.Cause != NoPlace || why.Message != "no ENIConfig" {
		t.Errorf("refused: %+v", why)
	}
	p.SetPlace(&Place{Subnet: "subnet-9", SecurityGroups: []string{"sg-9"}})
	got := p.Plan(1, t0)[0].(CreateENI)
	if got.Subnet != "subnet-9" || got.Addresses != 3 || got.SecurityGroups[0] != "sg-9" {
		t.Errorf("planned %+v", got)
	}
	p.SetPlace(&Place{Subnet: "subnet-9"})
	if got := p.Plan(1, t0)[0].(CreateENI); got.SecurityGroups[0] != "sg-1" {
		t.Errorf("planned %+v, want the primary ENI's groups", got)
	}
	if c := p.Count(t0); c.MaxAddresses != 18 || p.Assignments()[0].Address != before.Address {
		t.Errorf("counted %+v, held %v", c, p.Assignments())
	}
}
