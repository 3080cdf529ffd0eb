package pool

import (
	"net/netip"
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
			delete(p.enis, id)
		}
	}
	p.follow()
	p.forget()
}

// forget drops what is remembered of ENIs and addresses that are gone.
func (p *Pool) forget() {
	known := map[netip.Addr]bool{}
	for _, e := range p.enis {
		for _, a := range e.Addresses {
			known[a] = true
		}
	}
	for a := range p.rested {
		if !known[a] {
			delete(p.rested, a)
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
		p.enis[e.ID] = &entry{ENI: e, since: now}
		return
	}
	if now.Sub(old.changed) < recent && e.Status < old.Status {
		// The describe is older than the answer to the attachment.
		e.Status, e.Device, e.Card, e.AttachmentID = old.Status, old.Device, old.Card, old.AttachmentID
	}
	if now.Sub(old.changed) < recent {
		e.DeleteOnTermination = e.DeleteOnTermination || old.DeleteOnTermination
	}
	for a, since := range old.learned {
		switch {
		case slices.Contains(e.Addresses, a):
			delete(old.learned, a)
		case now.Sub(since) < recent:
			e.Addresses = append(e.Addresses, a)
		default:
			delete(old.learned, a)
		}
	}
	if old.Status != Available {
		old.last = old.Device
	}
	old.ENI, old.missing = e, false
}

// follow finds the ENIs of addresses that were adopted before EC2 was
// described, and the device number of an ENI that was attached elsewhere.
func (p *Pool) follow() {
	for key, a := range p.held {
		for _, e := range p.enis {
			if a.ENI == "" && slices.Contains(e.Addresses, a.Address) {
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
func (p *Pool) Start(action Action) { p.flying = append(p.flying, action) }

func (p *Pool) land(action Action) {
	p.flying = slices.DeleteFunc(p.flying, func(a Action) bool { return same(a, action) })
}

// Applied books the result of an action that EC2 carried out.
func (p *Pool) Applied(action Action, r Result, now time.Time) {
	p.land(action)
	switch a := action.(type) {
	case CreateENI:
		if r.Created != nil && p.enis[r.Created.ID] == nil {
			p.enis[r.Created.ID] = &entry{ENI: *r.Created, changed: now, since: now}
		}
		p.resolve(a)
		p.unblock(block{create, string(a.Subnet)})
	case AttachENI:
		if e := p.enis[a.ENI]; e != nil {
			e.Status, e.Device, e.Card, e.AttachmentID, e.changed, e.since = Attaching, a.Device, a.Card, r.AttachmentID, now, now
		}
		p.follow()
		p.unblock(block{attach, string(a.ENI)})
	case ProtectENI:
		if e := p.enis[a.ENI]; e != nil {
			e.DeleteOnTermination, e.changed = true, now
		}
		p.unblock(block{protect, string(a.ENI)})
	case AssignAddresses:
		p.learn(a.ENI, r.Assigned, now)
		p.unblock(block{assign, string(a.ENI)})
	case UnassignAddresses:
		if e := p.enis[a.ENI]; e != nil {
			e.Addresses = slices.DeleteFunc(e.Addresses, func(x netip.Addr) bool { return slices.Contains(a.Addresses, x) })
		}
	case DeleteENI:
		delete(p.enis, a.ENI)
	}
}

func (p *Pool) learn(id ENIID, addresses []netip.Addr, now time.Time) {
	e := p.enis[id]
	if e == nil {
		return
	}
	if e.learned == nil {
		e.learned = map[netip.Addr]time.Time{}
	}
	for _, a := range addresses {
		if !slices.Contains(e.Addresses, a) {
			e.Addresses = append(e.Addresses, a)
		}
		e.learned[a] = now
	}
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
