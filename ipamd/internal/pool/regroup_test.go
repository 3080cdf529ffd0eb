package pool

import (
	"fmt"
	"testing"
	"time"
)

// grouped is an attached ENI with these security groups.
func grouped(device int, change func(*ENI), groups ...string) ENI {
	e := eni(device, 3)
	e.SecurityGroups = groups
	if change != nil {
		change(&e)
	}
	return e
}

func TestSecurityGroupsAreKeptInStep(t *testing.T) {
	tag := func(key, value string) func(*ENI) {
		return func(e *ENI) { e.Tags = map[string]string{key: value, TagInstance: "i-1"} }
	}
	primary := grouped(0, nil, "sg-2", "sg-1")
	for _, c := range []struct {
		name  string
		other ENI
		place *Place
		want  []string
	}{
		{"the same in another order", grouped(1, nil, "sg-1", "sg-2"), nil, nil},
		{"others", grouped(1, nil, "sg-1"), nil, []string{"set the security groups of eni-1 to [sg-1 sg-2] (as the primary ENI's)"}},
		{"of another subnet", grouped(1, func(e *ENI) { e.Subnet = "subnet-2" }, "sg-1"), nil, []string{"set the security groups of eni-1 to [sg-1 sg-2] (as the primary ENI's)"}},
		{"not managed", grouped(1, tag(TagNoManage, "true"), "sg-1"), nil, nil},
		{"attached by others", grouped(1, func(e *ENI) { e.Tags = nil }, "sg-1"), nil, nil},
		{"of another type", grouped(1, func(e *ENI) { e.Type = "trunk" }, "sg-1"), nil, nil},
		{"of another card", grouped(1, func(e *ENI) { e.Card = 1 }, "sg-1"), nil, nil},
		{"on its way out", grouped(1, func(e *ENI) { e.Status = Detaching }, "sg-1"), nil, nil},
		{"of the ENIConfig", grouped(1, nil, "sg-1"), &Place{Subnet: "subnet-1", SecurityGroups: []string{"sg-9", "sg-8"}}, []string{"set the security groups of eni-1 to [sg-8 sg-9] (as its ENIConfig says)"}},
		{"of an ENIConfig that names none", grouped(1, nil, "sg-1"), &Place{Subnet: "subnet-1"}, []string{"set the security groups of eni-1 to [sg-1 sg-2] (as its ENIConfig says)"}},
		{"of a subnet that the ENIConfig does not name", grouped(1, nil, "sg-1"), &Place{Subnet: "subnet-2", SecurityGroups: []string{"sg-9"}}, nil},
		{"without an ENIConfig", grouped(1, nil, "sg-1"), &Place{Missing: "no ENIConfig"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New(settings)
			p.SetPlace(c.place)
			p.Observe([]ENI{primary, c.other}, true, t0)
			ready(p, 0, 1)
			var got []string
			for _, a := range p.Plan(0, t0) {
				if _, ok := a.(SetSecurityGroups); ok {
					got = append(got, a.String())
				}
			}
			want(t, append([]string{}, got...), c.want...)
		})
	}
}

// A change that was made is not made again though a describe is late, one that
// failed pauses, and no pod is told that it were the reason of its wait.
func TestSecurityGroupsThatCannotBeSet(t *testing.T) {
	p := New(settings)
	enis := []ENI{grouped(0, nil, "sg-2"), grouped(1, nil, "sg-1")}
	p.Observe(enis, true, t0)
	ready(p, 0, 1)
	action := p.Plan(0, t0)[0]
	p.Start(action)
	want(t, plan(p, 0, t0))
	p.Failed(action, &Failure{Class: Unauthorized, Err: fmt.Errorf("no")}, t0)
	want(t, plan(p, 0, t0))
	if why := p.Why(t0); why.Cause == CallFailed {
		t.Errorf("%+v", why)
	}
	later := t0.Add(time.Minute)
	want(t, plan(p, 0, later), action.String())
	p.Applied(action, Result{}, later)
	p.Observe(enis, true, later.Add(time.Second))
	want(t, plan(p, 0, later.Add(time.Second)))
	p.Observe(enis, true, later.Add(time.Hour))
	want(t, plan(p, 0, later.Add(time.Hour)), action.String()) // someone changed it back
}
