package pool

import (
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// Observe merges a description by EC2. EC2 is the truth, but it lags behind
// its own answers, so what an answer said lately stays; and what pods hold
// stays whatever EC2 shows. With complete, enis holds also the ENIs of this
// node that are attached to nothing.
func (p *Pool) Observe(enis []ENI, complete bool, now time.Time) {
	p.observed = true
	shown := map[ENIID]bool{}
	for _, e := range enis {
		shown[e.ID] = true
		p.merge(e, now)
	}
	holding := map[ENIID]bool{}
	for _, a := range p.held {
		holding[a.ENI] = true
	}
	for id, e := range p.enis {
		switch {
		case shown[id]:
		case e.Status == Available && !complete:
		case now.Sub(e.changed) < recent:
		case holding[id]:
			e.missing = true
		default:
			p.depart(e, now)
		}
	}
	p.follow()
	p.forget()
}

// forget drops what is remembered of ENIs and addresses that are gone.
func (p *Pool) forget() {
	known := map[netip.Addr]bool{}
	for _, e := range p.enis {
		for a := range e.all() {
			known[a] = true
		}
	}
	for a := range p.rested {
		if !known[a] {
			delete(p.rested, a)
		}
	}
	for prefix := range p.last {
		if !p.has(prefix.Addr()) {
			delete(p.last, prefix)
		}
	}
	for b := range p.blocks {
		if b.kind != create && p.enis[ENIID(b.on)] == nil {
			delete(p.blocks, b)
		}
	}
}

func (p *Pool) merge(e ENI, now time.Time) {
	old, known := p.enis[e.ID]
	if !known {
		old, known = p.welcome(e.ID, now)
	}
	if !known {
		p.enis[e.ID] = p.meet(e, now)
		return
	}
	detached := old.Status == Detaching && e.Status == Available
	if now.Sub(old.changed) < recent && e.Status < old.Status && !detached {
		// The describe is older than the answer to the attachment.
		e.Status, e.Device, e.Card, e.AttachmentID = old.Status, old.Device, old.Card, old.AttachmentID
	}
	if now.Sub(old.changed) < recent {
		e.DeleteOnTermination = e.DeleteOnTermination || old.DeleteOnTermination
	}
	if now.Sub(old.regrouped) < recent {
		e.SecurityGroups = old.SecurityGroups
	}
	e.Addresses = recall(e.Addresses, old.learned, old.gone, now)
	e.Prefixes = recall(e.Prefixes, old.learnedPrefixes, old.gonePrefixes, now)
	e.Prefixes6 = recall(e.Prefixes6, old.learnedPrefixes6, nil, now)
	e.Quarantined = p.quarantine(old, e, now)
	old.settle(e, now)
	if old.retired && e.Status == Attached && now.Sub(old.changed) >= recent {
		old.retired = false // it was not detached
	}
	if old.Status != Available {
		old.last = old.Device
	}
	old.ENI, old.missing = e, false
}

// meet is an ENI that was not known. One that is young, or not attached, need not
// show all that a daemon before us asked for it: a describe that was late may
// have made us forget it.
func (p *Pool) meet(e ENI, now time.Time) *entry {
	met := &entry{ENI: e, since: now}
	if e.Asked || e.Status != Attached || now.Sub(e.Created) < doubtful {
		met.doubted = now
	}
	return met
}

// recall puts right what a describe shows by what answers said lately.
func recall[T comparable](shown []T, learned, gone map[T]time.Time, now time.Time) []T {
	for each, since := range learned {
		if slices.Contains(shown, each) || now.Sub(since) >= recent {
			delete(learned, each)
		} else {
			shown = append(shown, each)
		}
	}
	for each, since := range gone {
		if now.Sub(since) >= recent {
			delete(gone, each)
		} else {
			shown = slices.DeleteFunc(shown, func(x T) bool { return x == each })
		}
	}
	return shown
}

// follow finds the ENIs of addresses that were adopted before EC2 was
// described, and the device number of an ENI that was attached elsewhere.
func (p *Pool) follow() {
	for key, a := range p.held {
		for _, e := range p.enis {
			if a.ENI == "" && e.Has(a.Address) {
				a.ENI, a.Device = e.ID, e.Device
			}
		}
		if e := p.enis[a.ENI]; e != nil && e.Status != Available {
			a.Device = e.Device
		}
		p.held[key] = a
	}
}

// Start books an action as on its way: the plan counts on it. Applied or Failed
// must follow.
func (p *Pool) Start(action Action) {
	p.flying = append(p.flying, action)
	p.leave(action, true)
}

// leave keeps what is on its way back to the subnet from being handed out.
func (p *Pool) leave(action Action, now bool) {
	switch a := action.(type) {
	case UnassignAddresses:
		p.surplus = time.Time{}
		for address := range (ENI{Addresses: a.Addresses, Prefixes: a.Prefixes}).all() {
			p.leaving[address] = true
			if !now {
				delete(p.leaving, address)
			}
		}
	case DetachENI:
		p.surplus = time.Time{}
		if e := p.enis[a.ENI]; e != nil {
			e.retired = now
		}
	}
}

func (p *Pool) land(action Action) {
	if i := slices.IndexFunc(p.flying, func(a Action) bool { return reflect.DeepEqual(a, action) }); i >= 0 {
		p.flying = slices.Delete(p.flying, i, i+1)
	}
}

// Applied books the result of an action that EC2 carried out.
func (p *Pool) Applied(action Action, r Result, now time.Time) {
	p.land(action)
	switch a := action.(type) {
	case CreateENI:
		if r.Created != nil && p.enis[r.Created.ID] == nil {
			p.enis[r.Created.ID] = &entry{ENI: *r.Created, changed: now, since: now, doubted: now}
		}
		p.resolve(a)
		p.count(a, true)
		p.unblock(block{create, string(a.Subnet)})
	case AttachENI:
		if e := p.enis[a.ENI]; e != nil {
			e.Status, e.Device, e.Card, e.AttachmentID, e.changed, e.since = Attaching, a.Device, a.Card, r.AttachmentID, now, now
			e.retired = false
		}
		p.follow()
		p.unblock(block{attach, string(a.ENI)})
	case ProtectENI:
		if e := p.enis[a.ENI]; e != nil {
			e.DeleteOnTermination, e.changed = true, now
		}
		p.unblock(block{protect, string(a.ENI)})
	case SetSecurityGroups:
		if e := p.enis[a.ENI]; e != nil {
			e.SecurityGroups, e.regrouped = a.SecurityGroups, now
		}
		p.unblock(block{regroup, string(a.ENI)})
	case AssignAddresses:
		p.learn(a.ENI, r, now)
		p.count(a, true)
		p.unblock(blockOfAssign(a))
	case UnassignAddresses:
		p.unlearn(a, now)
		p.leave(a, false)
		p.unblock(block{release, string(a.ENI)})
	case DetachENI:
		if e := p.enis[a.ENI]; e != nil {
			e.last, e.Status, e.changed, e.since = e.Device, Detaching, now, now
		}
		p.unblock(block{release, string(a.ENI)})
	case DeleteENI:
		delete(p.enis, a.ENI)
	}
}

// learn books what an answer gave to an ENI.
func (p *Pool) learn(id ENIID, r Result, now time.Time) {
	e := p.enis[id]
	if e == nil {
		return
	}
	e.Addresses, e.learned = add(e.Addresses, r.Assigned, e.learned, e.gone, now)
	e.Prefixes, e.learnedPrefixes = add(e.Prefixes, r.AssignedPrefixes, e.learnedPrefixes, e.gonePrefixes, now)
	e.Prefixes6, e.learnedPrefixes6 = add(e.Prefixes6, r.AssignedPrefixes6, e.learnedPrefixes6, nil, now)
}

func add[T comparable](all, more []T, learned, gone map[T]time.Time, now time.Time) ([]T, map[T]time.Time) {
	if learned == nil {
		learned = map[T]time.Time{}
	}
	for _, each := range more {
		if !slices.Contains(all, each) {
			all = append(all, each)
		}
		learned[each] = now
		delete(gone, each)
	}
	return all, learned
}

// unlearn books what was given back.
func (p *Pool) unlearn(a UnassignAddresses, now time.Time) {
	if e := p.enis[a.ENI]; e != nil {
		e.lack(parts(a.Addresses, a.Prefixes), now)
		e.Addresses, e.gone = remove(e.Addresses, a.Addresses, e.learned, e.gone, now)
		e.Prefixes, e.gonePrefixes = remove(e.Prefixes, a.Prefixes, e.learnedPrefixes, e.gonePrefixes, now)
	}
}

func remove[T comparable](all, less []T, learned, gone map[T]time.Time, now time.Time) ([]T, map[T]time.Time) {
	if gone == nil {
		gone = map[T]time.Time{}
	}
	for _, each := range less {
		gone[each] = now
		delete(learned, each)
	}
	return slices.DeleteFunc(all, func(x T) bool { return slices.Contains(less, x) }), gone
}

// Detaching says whether an ENI is on its way from the instance: one that has
// left is shown with the leftovers only.
func (p *Pool) Detaching() bool {
	for _, e := range p.enis {
		if e.Status == Detaching {
			return true
		}
	}
	return false
}

// Transitional says whether an ENI is on its way to or from the instance, so
// that EC2 should be asked again soon.
func (p *Pool) Transitional() bool {
	for _, e := range p.enis {
		if e.Status == Attaching || e.Status == Detaching {
			return true
		}
	}
	return false
}
