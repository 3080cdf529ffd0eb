package pool

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// block names what is not tried again for a while: a kind of action on an ENI,
// or in a subnet.
type block struct {
	kind kind
	on   string
}

type kind int

const (
	create kind = iota
	attach
	protect
	regroup
	assign
	assign6
	release
)

// failed is the memory of failures in a row.
type failed struct {
	failure *Failure
	until   time.Time
	times   int
}

// First and longest pause after a failure, by what it means. A full subnet has
// room again when other nodes shrink; a missing permission when someone gives
// it: both are looked at every half minute, which no account notices.
var pauses = map[Class]struct{ first, longest time.Duration }{
	Unavailable:  {500 * time.Millisecond, 15 * time.Second},
	Ambiguous:    {3 * time.Second, 10 * time.Second}, // a describe shows by then what was done
	Throttled:    {time.Second, 30 * time.Second},
	Unauthorized: {5 * time.Second, 30 * time.Second},
	SubnetFull:   {5 * time.Second, 30 * time.Second},
	AddressLimit: {time.Second, 30 * time.Second},
	ENILimit:     {15 * time.Second, time.Minute},
	NotFound:     {500 * time.Millisecond, 15 * time.Second},
	InUse:        {500 * time.Millisecond, 15 * time.Second},
	Refused:      {5 * time.Second, time.Minute},
}

// Failed books an action that EC2 did not carry out, or may not have.
func (p *Pool) Failed(action Action, f *Failure, now time.Time) {
	p.land(action)
	if c, ok := action.(CreateENI); ok {
		p.resolve(c)
		if f.Class == Ambiguous {
			p.unsure = append(p.unsure, c)
		}
	}
	if a, ok := action.(AssignAddresses); ok && f.Class == Ambiguous && p.enis[a.ENI] != nil {
		p.enis[a.ENI].doubted = now
	}
	p.notReleased(action, f, now)
	if f.Class == SubnetFull && ofPrefixes(action) {
		p.fragmented[p.subnetOf(action)] = now.Add(fragmentedFor)
		return
	}
	if f.Class == SubnetFull && !ofPrefixes(action) {
		p.count(action, false)
	}
	if f.Class == SubnetFull && asked(action) > 1 {
		// EC2 gives all or nothing; there may be room for one.
		p.scarce[p.subnetOf(action)] = now.Add(scarceFor)
		return
	}
	b, ok := p.blockOf(action, f.Class)
	if !ok {
		return
	}
	if e := p.enis[eniOf(action)]; e != nil && f.Class == NotFound {
		e.changed = time.Time{} // what earlier answers said of it is over
	}
	if p.blocked(b, now) {
		return // of calls that were on their way together, one counts
	}
	pause := pauses[f.Class]
	times := p.blocks[b].times + 1
	wait := pause.first << min(times-1, 10)
	p.blocks[b] = failed{failure: f, until: now.Add(min(wait, pause.longest)), times: times}
}

// notReleased takes what was to be given back for ours again, but where it may
// have been given back: that is passed over until describes are sure to show it.
func (p *Pool) notReleased(action Action, f *Failure, now time.Time) {
	switch a := action.(type) {
	case UnassignAddresses:
		if f.Class == Ambiguous {
			p.unlearn(a, now)
		}
	case DetachENI:
		if e := p.enis[a.ENI]; e != nil && f.Class == Ambiguous {
			e.changed = now
			return
		}
	}
	p.leave(action, false)
}

// scarceFor is how long a subnet that could not give several addresses is asked
// for one at a time, and for none that no pod waits for.
const scarceFor = time.Minute

// fragmentedFor is how long a subnet that had no prefix is asked for single
// addresses: blocks of 16 come free when whole nodes go.
const fragmentedFor = 10 * time.Minute

// Fragmented are the subnets that had no prefix a while ago, sorted.
func (p *Pool) Fragmented(now time.Time) []SubnetID {
	var out []SubnetID
	for subnet, until := range p.fragmented {
		if until.After(now) {
			out = append(out, subnet)
		}
	}
	slices.Sort(out)
	return out
}

func ofPrefixes(action Action) bool {
	switch a := action.(type) {
	case CreateENI:
		return a.Prefixes > 0
	case AssignAddresses:
		return a.Prefixes > 0
	}
	return false
}

func asked(action Action) int {
	switch a := action.(type) {
	case CreateENI:
		return a.Addresses
	case AssignAddresses:
		return a.Count
	}
	return 0
}

func (p *Pool) subnetOf(action Action) SubnetID {
	if c, ok := action.(CreateENI); ok {
		return c.Subnet
	}
	if e := p.enis[eniOf(action)]; e != nil {
		return e.Subnet
	}
	return ""
}

// resolve forgets that the outcome of a CreateENI was unknown.
func (p *Pool) resolve(c CreateENI) {
	p.unsure = slices.DeleteFunc(p.unsure, func(x CreateENI) bool { return x.Token == c.Token })
}

// blockOf says what a failure keeps from being tried. A subnet that is full
// is full for every ENI in it.
func (p *Pool) blockOf(action Action, class Class) (block, bool) {
	switch a := action.(type) {
	case CreateENI:
		return block{create, string(a.Subnet)}, true
	case AssignAddresses:
		if class == SubnetFull && a.Prefixes6 == 0 {
			return block{create, string(p.subnetOf(a))}, true
		}
		return blockOfAssign(a), true
	case AttachENI:
		return block{attach, string(a.ENI)}, true
	case DeleteENI:
		return block{attach, string(a.ENI)}, true
	case ProtectENI:
		return block{protect, string(a.ENI)}, true
	case SetSecurityGroups:
		return block{regroup, string(a.ENI)}, true
	case UnassignAddresses:
		return block{release, string(a.ENI)}, true
	case DetachENI:
		return block{release, string(a.ENI)}, true
	}
	return block{}, false
}

// blockOfAssign tells what is asked of an ENI in IPv4 from what is in IPv6: one
// may fail and not the other.
func blockOfAssign(a AssignAddresses) block {
	if a.Prefixes6 > 0 {
		return block{assign6, string(a.ENI)}
	}
	return block{assign, string(a.ENI)}
}

func (p *Pool) blocked(b block, now time.Time) bool { return p.blocks[b].until.After(now) }

func (p *Pool) unblock(b block) { delete(p.blocks, b) }

// NextChange is when time alone will change the plan: a pause or a cool-down
// ends. It is zero if nothing is awaited.
func (p *Pool) NextChange(now time.Time) time.Time {
	var next time.Time
	earlier := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for _, f := range p.blocks {
		earlier(f.until)
	}
	for _, t := range p.cooling {
		earlier(t)
	}
	if !p.surplus.IsZero() {
		earlier(p.surplus.Add(p.settings.ReleaseAfter))
	}
	for _, e := range p.enis {
		if e.Status == Available {
			earlier(e.changed.Add(recent))
		} else if !e.ready {
			earlier(e.since.Add(deviceGrace))
		}
	}
	return next
}

// Cause is why there is no address, for those who can act on it.
type Cause int

const (
	// Starting: EC2 was not described yet.
	Starting Cause = iota
	// Coming: EC2 was asked and has not answered.
	Coming
	// CoolingDown: all that is free was released just now.
	CoolingDown
	// TooManyPods: the instance type can hold no more addresses.
	TooManyPods
	// DeviceLate: an ENI is attached but its device did not appear.
	DeviceLate
	// CallFailed: EC2 refused; Failure says what.
	CallFailed
	// NoPlace: it is not known in which subnet to make ENIs.
	NoPlace
	// NoSubnet: all subnets are kept from pods by their tags.
	NoSubnet
	// Cordoned: the node is to create no ENI, and those that it has are full.
	Cordoned
)

// Refusal is the error of an assignment that cannot be made.
type Refusal struct {
	Cause   Cause
	Class   Class // of the failed call, with CallFailed
	Message string
	// Hopeless: waiting does not cure it.
	Hopeless bool
}

// Error is the message.
func (r *Refusal) Error() string { return r.Message }

// Why says why there is no address to hand out now.
func (p *Pool) Why(now time.Time) *Refusal {
	if !p.observed {
		return &Refusal{Cause: Starting, Message: "EC2 has not described this node's ENIs yet"}
	}
	for _, e := range p.sorted() {
		if !e.ready && p.freeOf(e, now) > 0 && e.Status != Available {
			return &Refusal{Cause: DeviceLate, Message: fmt.Sprintf("ENI %s is %s as device %d, but no interface with MAC %s has appeared on the node", e.ID, e.Status, e.Device, e.MAC)}
		}
	}
	if p.place != nil && p.place.Missing != "" {
		return &Refusal{Cause: NoPlace, Message: p.place.Missing}
	}
	c := p.Count(now)
	if c.Assigned+c.Cooling >= c.MaxAddresses {
		if c.Cooling > 0 {
			return &Refusal{Cause: CoolingDown, Message: fmt.Sprintf("all %d addresses that this node can hold are assigned (%d) or cooling down (%d)", c.MaxAddresses, c.Assigned, c.Cooling)}
		}
		return &Refusal{Cause: TooManyPods, Hopeless: true, Message: fmt.Sprintf("this node can hold %d pod addresses (%d ENIs with %d each, less what others use), and all are assigned", c.MaxAddresses, c.MaxENIs, p.settings.Limits.slots()*p.unit())}
	}
	if why := p.shut(); why != nil && !p.roomLeft() {
		return why
	}
	if b, f := p.obstacle(now); f != nil {
		text := f.failure.Error()
		if f.failure.Class == SubnetFull && b.kind == create {
			text = fmt.Sprintf("subnet %s has no free address left: %s", b.on, text)
		}
		return &Refusal{Cause: CallFailed, Class: f.failure.Class, Message: fmt.Sprintf("%s; tried %d times, next at %s", text, f.times, f.until.UTC().Format(time.RFC3339))}
	}
	return &Refusal{Cause: Coming, Message: "EC2 was asked for more addresses and has not given them yet"}
}

// obstacle is the failure that keeps the pool from growing: the one that was
// met most often, of those whose pause is not long over.
func (p *Pool) obstacle(now time.Time) (on block, worst *failed) {
	for _, b := range slices.SortedFunc(maps.Keys(p.blocks), func(a, b block) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.on, b.on))
	}) {
		f := p.blocks[b]
		if b.kind != protect && b.kind != regroup && b.kind != release && now.Sub(f.until) < recent && (worst == nil || f.times > worst.times) {
			on, worst = b, &f
		}
	}
	return on, worst
}
