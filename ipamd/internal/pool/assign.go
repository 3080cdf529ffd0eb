package pool

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Request asks for an address.
type Request struct {
	Key   Key
	Pod   Pod
	Netns string
	Link  string // host end of the veth that the pod will have
	MTU   int    // of the veth, bytes
	Ports []HostPort
}

// Assign hands out an address of the fullest ENI that has one, so that others
// become empty and can be returned. The same key gets the same address again.
// fresh is false if the key held it already; ok is false if there is none now.
func (p *Pool) Assign(r Request, now time.Time) (a Assignment, fresh, ok bool) {
	if a, held := p.held[r.Key]; held {
		return a, false, true
	}
	for _, e := range p.fullestFirst() {
		if !e.ready {
			continue
		}
		if address := p.best(e, now); address.IsValid() {
			a = Assignment{Key: r.Key, Pod: r.Pod, Netns: r.Netns, Link: r.Link, MTU: r.MTU, Ports: r.Ports,
				Address: address, ENI: e.ID, Device: e.Device, Since: now}
			p.Hold(a)
			p.Expect(p.scheduled - 1) // until it is told anew
			return a, true, true
		}
	}
	return Assignment{}, false, false
}

// best is the free address to hand out: of the fullest prefix, single addresses
// counting as one, and there the one that was free for longest.
func (p *Pool) best(e *entry, now time.Time) netip.Addr {
	held := map[netip.Prefix]int{}
	if len(e.Prefixes) > 0 {
		for a := range p.owner {
			held[e.block(a)]++
		}
	}
	var best netip.Addr
	p.eachFree(e, now, func(a netip.Addr) {
		if !best.IsValid() || cmp.Or(-cmp.Compare(held[e.block(a)], held[e.block(best)]),
			p.lastUse(a).Compare(p.lastUse(best)), a.Compare(best)) < 0 {
			best = a
		}
	})
	return best
}

// Holds says whether the key holds an address.
func (p *Pool) Holds(key Key) bool { _, held := p.held[key]; return held }

// fullestFirst sorts by addresses held, then by device number.
func (p *Pool) fullestFirst() []*entry {
	count := map[ENIID]int{}
	for _, a := range p.held {
		count[a.ENI]++
	}
	all := p.sorted()
	slices.SortStableFunc(all, func(a, b *entry) int { return cmp.Compare(count[b.ID], count[a.ID]) })
	return all
}

// Hold books an assignment that was made before, as found on disk. An address
// that two keys claim goes to the younger assignment, and so does a key that
// claims two addresses; the other assignment is returned.
func (p *Pool) Hold(a Assignment) (displaced *Assignment) {
	if before, again := p.held[a.Key]; again && before.Address != a.Address && before.Since.After(a.Since) {
		return &a
	}
	if key, taken := p.owner[a.Address]; taken && key != a.Key {
		old := p.held[key]
		if old.Since.After(a.Since) {
			return &a
		}
		delete(p.held, key)
		displaced = &old
	}
	if before, again := p.held[a.Key]; again && before.Address != a.Address {
		delete(p.owner, before.Address)
		displaced = &before
	}
	p.held[a.Key] = a
	p.owner[a.Address] = a.Key
	delete(p.cooling, a.Address)
	delete(p.rested, a.Address)
	delete(p.limits, a.Address)
	return displaced
}

// Cool keeps an address from being handed out until the given time.
func (p *Pool) Cool(address netip.Addr, until time.Time) {
	if _, taken := p.owner[address]; !taken {
		p.cooling[address] = until
	}
}

// Parted says whether an address cools down that was given back: no ENI has it.
func (p *Pool) Parted(address netip.Addr) bool {
	_, rests := p.cooling[address]
	return rests && !p.has(address)
}

// Warm ends a cool-down before its time.
func (p *Pool) Warm(address netip.Addr) {
	delete(p.cooling, address)
	delete(p.limits, address)
}

// Release takes an address back and cools it down. An address that was adopted
// has no key of ours: it is found by the link that the pod's name gives, and
// must be among the addresses that the caller was given. The link alone is that
// of every sandbox of the pod, also of one that lives.
func (p *Pool) Release(key Key, link string, addresses []netip.Addr, now time.Time) (Assignment, bool) {
	a, held := p.held[key]
	if !held {
		a, held = p.adoptedBy(link, addresses)
	}
	if !held {
		return Assignment{}, false
	}
	p.drop(a)
	p.cooling[a.Address] = now.Add(p.settings.CoolDown)
	return a, true
}

func (p *Pool) adoptedBy(link string, addresses []netip.Addr) (Assignment, bool) {
	for _, address := range addresses {
		if a := p.held[p.owner[address]]; a.Adopted && a.Address == address && a.Link == link {
			return a, true
		}
	}
	return Assignment{}, false
}

// Unassign undoes an Assign whose answer was never sent.
func (p *Pool) Unassign(a Assignment) { p.drop(a) }

// Restore undoes a Release that could not be put on disk.
func (p *Pool) Restore(a Assignment) {
	delete(p.cooling, a.Address)
	p.Hold(a)
}

func (p *Pool) drop(a Assignment) {
	delete(p.held, a.Key)
	delete(p.owner, a.Address)
}

// Adopt holds an address that a running pod has without a record of ours. Such
// a hold ends when its link is gone, or when a Release names its link and it.
func (p *Pool) Adopt(address netip.Addr, link string, device int, now time.Time) Assignment {
	a := Assignment{
		Key:  Key{ContainerID: fmt.Sprintf("adopted-%s", address), Interface: "eth0"},
		Link: link, Address: address, Device: device, Since: now, Adopted: true,
	}
	for _, e := range p.enis {
		if e.has(address) {
			a.ENI, a.Device = e.ID, e.Device
		}
	}
	p.Hold(a)
	return a
}
