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
// become empty and can be returned; with dual stack two, of one ENI. The same
// key gets the same again.
// fresh is false if the key held it already; ok is false if there is none now.
func (p *Pool) Assign(r Request, now time.Time) (a Assignment, fresh, ok bool) {
	if a, held := p.held[r.Key]; held {
		return a, false, true
	}
	for _, e := range p.fullestFirst() {
		if !e.ready {
			continue
		}
		if address, second, ok := p.choose(e, now); ok {
			a = Assignment{Key: r.Key, Pod: r.Pod, Netns: r.Netns, Link: r.Link, MTU: r.MTU, Ports: r.Ports,
				Address: address, Second: second, ENI: e.ID, Device: e.Device, Since: now}
			p.Hold(a)
			p.remember(a)
			p.Expect(p.scheduled - 1) // until it is told anew
			return a, true, true
		}
	}
	return Assignment{}, false, false
}

// remember keeps the last address that was handed out of each IPv6 prefix.
func (p *Pool) remember(a Assignment) {
	for _, address := range a.Addresses() {
		for _, prefix := range p.enis[a.ENI].Prefixes6 {
			if prefix.Contains(address) {
				p.last[prefix] = address
			}
		}
	}
}

// best is the free IPv4 address to hand out: of the fullest prefix, single addresses
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
// claims other addresses than before; those that lose are returned.
func (p *Pool) Hold(a Assignment) (displaced []Assignment) {
	rivals := p.rivals(a)
	if slices.ContainsFunc(rivals, func(r Assignment) bool { return r.Since.After(a.Since) }) {
		return []Assignment{a}
	}
	for _, r := range rivals {
		p.drop(r)
	}
	p.held[a.Key] = a
	for _, address := range a.Addresses() {
		p.owner[address] = a.Key
		delete(p.cooling, address)
		delete(p.rested, address)
		delete(p.limits, address)
	}
	return rivals
}

// rivals are the assignments that cannot be held together with one: with its
// key and other addresses, or with one of its addresses.
func (p *Pool) rivals(a Assignment) []Assignment {
	keys := []Key{}
	if before, again := p.held[a.Key]; again && (before.Address != a.Address || before.Second != a.Second) {
		keys = append(keys, a.Key)
	}
	for _, address := range a.Addresses() {
		if key, taken := p.owner[address]; taken && key != a.Key && !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	var all []Assignment
	for _, key := range keys {
		all = append(all, p.held[key])
	}
	return all
}

// Taken says whether somebody holds an address.
func (p *Pool) Taken(address netip.Addr) bool { _, taken := p.owner[address]; return taken }

// Cool keeps an address from being handed out until the given time.
func (p *Pool) Cool(address netip.Addr, until time.Time) {
	if !p.Taken(address) {
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

// Release takes back what a key holds, and cools it down. What was adopted has
// no key of ours: it is found by the link that the pod's name gives, and an
// address of it must be among those that the caller was given. The link alone is
// that of every sandbox of the pod, also of one that lives.
func (p *Pool) Release(key Key, link string, addresses []netip.Addr, now time.Time) (Assignment, bool) {
	a, held := p.held[key]
	if !held {
		a, held = p.adoptedBy(link, addresses)
	}
	if !held {
		return Assignment{}, false
	}
	p.drop(a)
	for _, address := range a.Addresses() {
		p.cooling[address] = now.Add(p.settings.CoolDown)
	}
	return a, true
}

func (p *Pool) adoptedBy(link string, addresses []netip.Addr) (Assignment, bool) {
	for _, address := range addresses {
		key, taken := p.owner[address]
		if a := p.held[key]; taken && a.Adopted && a.Link == link {
			return a, true
		}
	}
	return Assignment{}, false
}

// Unassign undoes an Assign whose answer was never sent.
func (p *Pool) Unassign(a Assignment) { p.drop(a) }

// Restore undoes a Release that could not be put on disk.
func (p *Pool) Restore(a Assignment) { p.Hold(a) }

func (p *Pool) drop(a Assignment) {
	delete(p.held, a.Key)
	for _, address := range a.Addresses() {
		delete(p.owner, address)
	}
}

// Adopt holds what a running pod has without a record of ours: an address, and
// perhaps a second one, of IPv6. Such a hold ends when its link is gone, or when
// a Release names its link and an address.
func (p *Pool) Adopt(address, second netip.Addr, link string, device int, now time.Time) Assignment {
	a := Assignment{
		Key:  Key{ContainerID: fmt.Sprintf("adopted-%s", address), Interface: "eth0"},
		Link: link, Address: address, Second: second, Device: device, Since: now, Adopted: true,
	}
	for _, e := range p.enis {
		if e.Has(address) {
			a.ENI, a.Device = e.ID, e.Device
		}
	}
	p.Hold(a)
	return a
}
