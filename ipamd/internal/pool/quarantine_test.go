package pool

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// quarantined are the parts of the primary ENI that are.
func quarantined(p *Pool) []string {
	var out []string
	for _, e := range p.ENIs() {
		for _, part := range e.Quarantined {
			out = append(out, part.String())
		}
	}
	return out
}

// What an ENI is shown to have is ours if anything says so, and a stranger's
// otherwise.
func TestQuarantine(t *testing.T) {
	assign := AssignAddresses{ENI: "eni-0", Count: 1}
	lost := &Failure{Class: Ambiguous, Err: errors.New("connection reset")}
	none := func(*Pool) {}
	shown := func(addresses int) func(*Pool) {
		return func(p *Pool) { p.Observe([]ENI{eni(0, addresses)}, true, t0.Add(time.Hour)) }
	}
	for _, c := range []struct {
		name   string
		before func(*Pool)
		want   []string
	}{
		{"nobody asked for it", none, []string{"10.0.0.12/32"}},
		{"asked for and not answered", func(p *Pool) { p.Start(assign) }, nil},
		{"asked for, the answer lost", func(p *Pool) { p.Failed(assign, lost, t0.Add(time.Hour)) }, nil},
		{"so long ago that it would have been seen", func(p *Pool) { p.Failed(assign, lost, t0.Add(50*time.Minute)) }, []string{"10.0.0.12/32"}},
		{"asked for by the daemon before us", func(p *Pool) {
			p.enis["eni-0"].doubted = t0.Add(time.Hour)
		}, nil},
		{"answered", func(p *Pool) { p.Applied(assign, Result{Assigned: []netip.Addr{addr("10.0.0.12")}}, t0) }, nil},
		{"answered with another", func(p *Pool) {
			p.Start(assign)
			p.Applied(assign, Result{Assigned: []netip.Addr{addr("10.0.0.99")}}, t0)
		}, []string{"10.0.0.12/32"}},
		{"there before, as a describe that was short", func(p *Pool) { shown(3)(p); p.enis["eni-0"].Quarantined = nil; shown(2)(p) }, nil},
		{"given back, which failed", func(p *Pool) {
			shown(3)(p)
			p.enis["eni-0"].Quarantined = nil
			p.Failed(UnassignAddresses{ENI: "eni-0", Addresses: []netip.Addr{addr("10.0.0.12")}}, lost, t0.Add(time.Hour))
		}, nil},
		{"a pod has it", func(p *Pool) { p.Adopt(addr("10.0.0.12"), netip.Addr{}, "eniabc", 0, t0) }, nil},
		{"it cools down", func(p *Pool) { p.Cool(addr("10.0.0.12"), t0.Add(2*time.Hour)) }, nil},
		{"a stranger's stays one", func(p *Pool) { shown(3)(p); p.Start(assign) }, []string{"10.0.0.12/32"}},
		{"a stranger's that went and came again", func(p *Pool) { shown(3)(p); shown(2)(p) }, []string{"10.0.0.12/32"}},
		{"its ENI was not shown for a while", func(p *Pool) {
			shown(3)(p)
			p.Observe(nil, true, t0.Add(time.Hour))
		}, []string{"10.0.0.12/32"}},
	} {
		p := New(settings)
		p.Observe([]ENI{eni(0, 2)}, true, t0)
		ready(p, 0)
		c.before(p)
		p.Observe([]ENI{eni(0, 3)}, true, t0.Add(time.Hour))
		if diff := cmp.Diff(c.want, quarantined(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// A stranger's prefix is in quarantine as a whole, and so is its ENI from being
// given back. An ENI of others has none.
func TestQuarantineOfPrefixes(t *testing.T) {
	p := New(with(func(s *Settings) { s.Prefixes = true }))
	p.Observe([]ENI{delegated(0, 1), delegated(1, 0)}, true, t0)
	p.Observe([]ENI{delegated(0, 1), delegated(1, 1)}, true, t0.Add(time.Hour))
	ready(p, 0, 1)
	if diff := cmp.Diff(delegated(1, 1).Prefixes, p.enis["eni-1"].Quarantined, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if c := p.Count(t0.Add(time.Hour)); c.Quarantined != 16 || c.Free != 16 || c.Total != 32 {
		t.Errorf("%+v, want 16 in quarantine, 16 free", c)
	}
	plan(p, 0, t0.Add(2*time.Hour))
	want(t, plan(p, 0, t0.Add(3*time.Hour)))

	theirs, more := eni(1, 1), eni(1, 2)
	theirs.Tags[TagNoManage], more.Tags[TagNoManage] = "true", "true"
	p = New(settings)
	p.Observe([]ENI{eni(0, 1), theirs}, true, t0)
	p.Observe([]ENI{eni(0, 1), more}, true, t0.Add(time.Hour))
	if got := quarantined(p); got != nil {
		t.Errorf("%v of an ENI that is not ours to hand out", got)
	}
}

// A restart knows what was in quarantine, and what was asked for.
func TestQuarantineIsKept(t *testing.T) {
	p := New(settings)
	p.Observe([]ENI{eni(0, 1)}, true, t0)
	p.Observe([]ENI{eni(0, 2)}, true, t0.Add(time.Hour))
	for _, asked := range []bool{false, true} {
		if asked {
			p.Start(AssignAddresses{ENI: "eni-0", Count: 1})
		}
		next := New(settings)
		next.Observe(p.ENIs(), false, t0.Add(2*time.Hour)) // as it was on disk
		next.Observe([]ENI{eni(0, 3)}, true, t0.Add(2*time.Hour))
		want := []string{"10.0.0.11/32", "10.0.0.12/32"}
		if asked {
			want = want[:1]
		}
		if diff := cmp.Diff(want, quarantined(next)); diff != "" {
			t.Errorf("asked for more: %t (-want +got):\n%s", asked, diff)
		}
	}
}
