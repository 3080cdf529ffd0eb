package nft

import (
	"encoding/binary"
	"net/netip"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// family is what the kernel holds of one family's services, and what it is to
// hold. Endpoints are kept by group, everything else by element.
type family struct {
	settings ruleset.Settings
	names    names
	have     map[place]entry
	groups   map[uint32]*group
	lastID   uint32
	freeIDs  []uint32
	users    map[netip.Addr]int // how many service-ports have a hairpin
	services map[service.Key][]*port
	static   *port // owns what no service does
}

// entry is an element that the kernel has.
type entry struct {
	content
	owner *port // nil if it was found, and nobody asked for it since
}

// port is a service-port that the kernel has.
type port struct {
	name           service.PortName
	host           service.HostPort
	places         []place
	cluster, local *group
	hairpins       []netip.Addr
}

func newFamily(s ruleset.Settings) *family {
	return &family{
		settings: s, names: namesOf(s.Family), have: map[place]entry{}, groups: map[uint32]*group{},
		users: map[netip.Addr]int{}, services: map[service.Key][]*port{}, static: &port{},
	}
}

// newGroup takes a number that no group has.
func (f *family) newGroup() *group {
	g := &group{}
	if n := len(f.freeIDs); n > 0 {
		g.id, f.freeIDs = f.freeIDs[n-1], f.freeIDs[:n-1]
	} else {
		f.lastID++
		g.id = f.lastID
	}
	f.groups[g.id] = g
	return g
}

// plan is what a Sync changes of a family. Endpoints are written straight
// away; other elements may move from one service-port to another, so that each
// is decided once, at the end.
type plan struct {
	f           *family
	touched     map[place]*content // what was there before; nil for nothing
	puts, takes [kinds]batch
	changes     int
}

func newPlan(f *family) *plan { return &plan{f: f, touched: map[place]*content{}} }

// size is about how many bytes the changes take.
func (p *plan) size() int {
	n := 100 * len(p.touched)
	for i := range kinds {
		n += len(p.puts[i].buf) + len(p.takes[i].buf)
	}
	return n
}

func (p *plan) note(at place) {
	if _, ok := p.touched[at]; ok {
		return
	}
	p.touched[at] = nil
	if e, ok := p.f.have[at]; ok {
		p.touched[at] = &e.content
	}
}

// put wants an element.
func (p *plan) put(at place, c content, owner *port) {
	if e, ok := p.f.have[at]; !ok || e.content != c {
		p.note(at)
	}
	p.f.have[at] = entry{c, owner}
	if owner != p.f.static {
		owner.places = append(owner.places, at)
	}
}

// release gives up an element, unless somebody else has it by now.
func (p *plan) release(at place, owner *port) {
	if e, ok := p.f.have[at]; ok && e.owner == owner {
		p.note(at)
		delete(p.f.have, at)
	}
}

// arrange makes a group's endpoints what is wanted.
func (p *plan) arrange(g *group, want []netip.AddrPort) {
	slots := g.arrange(want)
	for i := range max(len(slots), len(g.slots)) {
		var before, after netip.AddrPort
		if i < len(g.slots) {
			before = g.slots[i]
		}
		if i < len(slots) {
			after = slots[i]
		}
		if before == after {
			continue
		}
		var key, data [20]byte
		binary.NativeEndian.PutUint32(key[:], g.id)
		binary.NativeEndian.PutUint32(key[4:], uint32(i))
		if before.IsValid() {
			p.takes[endpoints].take(tableName, p.f.names[endpoints], key[:8], nil)
			p.changes++
		}
		if after.IsValid() {
			p.puts[endpoints].put(tableName, p.f.names[endpoints], key[:8], appendEndpoint(data[:0], after), "")
			p.changes++
		}
	}
	g.slots = slots
}

// free gives up a group.
func (p *plan) free(g *group) {
	p.arrange(g, nil)
	delete(p.f.groups, g.id)
	p.f.freeIDs = append(p.f.freeIDs, g.id)
}

// write adds the changes to a transaction: first all that goes, then all that
// comes.
func (p *plan) write(b *batch) {
	for at, before := range p.touched {
		now, ok := p.f.have[at]
		if ok && before != nil && now.content == *before {
			continue
		}
		name := p.f.names[at.set]
		key, end := []byte(at.key), []byte(nil)
		if at.set == sourceRanges {
			key, end = key[:len(key)/2], key[len(key)/2:]
		}
		if before != nil {
			p.takes[at.set].take(tableName, name, key, end)
			p.changes++
		}
		if ok {
			p.puts[at.set].element(name, key, end, now.content)
			p.changes++
		}
	}
	for i := range kinds {
		b.append(&p.takes[i])
	}
	for i := range kinds {
		b.append(&p.puts[i])
	}
}
