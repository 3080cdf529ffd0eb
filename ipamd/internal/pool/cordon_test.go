package pool

import (
	"testing"
	"time"
)

// A cordoned node gives back what no pod has, and keeps its ENIs.
func TestCordonedNodeHoldsNothingToSpare(t *testing.T) {
	p := New(with(func(s *Settings) { s.Targets.WarmENIs = Target{1, true} }))
	p.Observe([]ENI{eni(0, 3), eni(1, 2)}, true, t0)
	ready(p, 0, 1)
	a, _, _ := p.Assign(request("a"), t0)
	p.SetCordoned(true)
	want(t, plan(p, 0, t0))
	want(t, plan(p, 0, t0.Add(time.Minute)),
		"unassign [10.0.1.11 10.0.1.10] from eni-1 (too many for a while, the node is cordoned)",
		"unassign [10.0.0.12 10.0.0.11] from eni-0 (too many for a while, the node is cordoned)")
	p.Observe([]ENI{eni(0, 1), eni(1, 0)}, true, t0.Add(time.Hour))
	want(t, plan(p, 0, t0.Add(2*time.Hour))) // an ENI that is empty is not detached
	if got := p.Assignments(); len(got) != 1 || got[0].Address != a.Address {
		t.Errorf("held: %v", got)
	}
	p.SetCordoned(false)
	want(t, plan(p, 0, t0.Add(2*time.Hour)), "assign 8 addresses to eni-0 (0 waiting, WARM_ENI_TARGET 1)", "assign 9 addresses to eni-1 (0 waiting, WARM_ENI_TARGET 1)")
}

func TestCordonedNodeCreatesNoENI(t *testing.T) {
	left := eni(2, 1)
	left.Status, left.AttachmentID, left.Device = Available, "", 0
	for _, c := range []struct {
		name    string
		enis    []ENI
		waiting int
		inUse   bool // an address of eni-2
		want    []string
		why     Cause
	}{
		{name: "pods get what the ENIs have room for", enis: []ENI{eni(0, 1)}, waiting: 5, want: []string{"assign 2 addresses to eni-0 (5 waiting, the node is cordoned)"}, why: Coming},
		{name: "no further ENI", enis: []ENI{eni(0, 3)}, waiting: 5, why: Cordoned},
		{name: "none is attached that a pod does not need", enis: []ENI{eni(0, 3), left}, waiting: 5, want: []string{"delete eni-2 (attached to nothing and not needed)"}, why: Cordoned},
		{name: "but that of a pod", enis: []ENI{eni(0, 3), left}, inUse: true, want: []string{"attach eni-2 as device 2 (0 waiting, the node is cordoned)"}, why: Cordoned},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(settings)
			p.Observe(c.enis, true, t0)
			ready(p, 0)
			for _, name := range []string{"a", "b", "c"} {
				p.Assign(request(name), t0)
			}
			if c.inUse {
				p.Hold(Assignment{Key: request("old").Key, Address: left.Addresses[0], ENI: left.ID, Device: 2, Since: t0})
			}
			p.SetCordoned(true)
			want(t, plan(p, c.waiting, t0), c.want...)
			if why := p.Why(t0); why.Cause != c.why || why.Hopeless {
				t.Errorf("%+v, want cause %d", why, c.why)
			}
		})
	}
}
