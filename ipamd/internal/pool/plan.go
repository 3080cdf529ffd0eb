package pool

import (
	"fmt"
	"reflect"
	"slices"
	"time"
)

// Plan returns the EC2 calls that should be made now, all independent of each
// other: to attach or delete ENIs that a crash left, to protect those that are
// attached and keep their security groups in step, to grow until what pods wait for and what is to be spare are there,
// and to give back what has been too much for a while. It asks for everything
// in one step; what an earlier call failed for is asked again when its time has
// come.
func (p *Pool) Plan(waiting int, now time.Time) []Action {
	if !p.observed {
		return nil
	}
	coming, hurry := max(waiting, p.scheduled), waiting
	if p.settings.Families == IPv6 {
		coming, hurry = 0, 0 // nobody waits for IPv4 addresses
	}
	spare := p.spareNow(len(p.held) + coming)
	g := growth{Pool: p, now: now, waiting: waiting, spare: spare, need: coming + spare.high, hurry: hurry,
		devices: map[int]bool{}, busy: map[block]bool{}, asked: map[ENIID]int{}}
	g.reason = fmt.Sprintf("%d waiting, %s", waiting, spare.reason)
	if p.scheduled > waiting {
		g.reason = fmt.Sprintf("%d waiting, %d scheduled, %s", waiting, p.scheduled, spare.reason)
	}
	for _, a := range p.flying {
		g.countOn(a)
	}
	all := p.sorted()
	for _, e := range all {
		g.have(e)
	}
	if g.need <= spare.high-spare.low {
		g.need = min(g.need, 0) // not so few that it were worth a call
	}
	for _, e := range g.inUseFirst(all) {
		g.finish(e)
	}
	g.repeat()
	for _, e := range all {
		g.fill(e)
		g.fill6(e)
	}
	g.create()
	g.shrink(all)
	g.drain(all)
	g.regroup(all)
	return g.actions
}

// growth is a plan in the making.
type growth struct {
	*Pool
	now     time.Time
	waiting int
	spare   spare
	need    int            // addresses still to be found
	hurry   int            // pods that wait for more than one call to EC2
	free    int            // addresses that are free now
	slots   int            // ENIs that the instance has or will have
	devices map[int]bool   // device numbers taken
	busy    map[block]bool // what a call is on its way for
	asked   map[ENIID]int  // slots of an ENI that calls on their way fill
	coming  int            // further addresses that ENIs on their way have room for
	asking  bool           // addresses are asked for, by a call on its way or planned
	reason  string
	actions []Action
}

// countOn takes a call that is on its way for done.
func (g *growth) countOn(action Action) {
	if b, ok := g.blockOf(action, Ambiguous); ok {
		g.busy[b] = true
	}
	switch a := action.(type) {
	case CreateENI:
		g.expect(a)
		g.asking = true
	case AttachENI:
		g.devices[a.Device] = true
		g.slots++
		if e := g.enis[a.ENI]; e != nil {
			g.need -= g.countFree(e, g.now)
		}
	case AssignAddresses:
		g.need -= a.Count + a.Prefixes*prefixSize
		g.asking = g.asking || a.Prefixes6 == 0
		g.asked[a.ENI] += a.Count + a.Prefixes
		if e := g.enis[a.ENI]; e != nil && e.ready {
			g.hurry -= a.Count + a.Prefixes*prefixSize
		}
	}
}

// expect counts on an ENI that is created, or about to be.
func (g *growth) expect(a CreateENI) {
	g.need -= a.Addresses + a.Prefixes*prefixSize
	g.later(a.Subnet, g.settings.Limits.slots()-a.Addresses-a.Prefixes)
	g.slots++
}

// have counts what an attached ENI takes and gives. The addresses of one whose
// device is overdue are not counted on.
func (g *growth) have(e *entry) {
	if e.Status == Available || e.Card != 0 {
		return
	}
	g.devices[e.Device] = true
	g.slots++
	if e.Status != Detaching && !g.overdue(e) {
		free := g.countFree(e, g.now)
		g.free += free
		g.need -= free
		if g.settings.Families == DualStack && len(e.Prefixes6) == 0 && e.ready {
			g.hurry -= free // of IPv4 there is enough; what waits, waits for the /80
		}
	}
}

func (g *growth) overdue(e *entry) bool { return !e.ready && g.now.Sub(e.since) > deviceGrace }

// finish brings an ENI of ours to where it should be: attached if it is
// needed, and then deleted with the instance.
func (g *growth) finish(e *entry) {
	if e.Tags[TagInstance] != g.settings.InstanceID || e.missing || e.Card != 0 || !e.common() {
		return
	}
	switch {
	case e.Status == Available && !g.busy[block{attach, string(e.ID)}]:
		g.attachOrDelete(e)
	case g.waiting > 0 && g.now.Sub(e.changed) < recent: // pods' calls first, on a budget that all share
	case !e.Primary && !e.DeleteOnTermination && e.AttachmentID != "" && e.Status != Detaching:
		if b := (block{protect, string(e.ID)}); !g.busy[b] && !g.blocked(b, g.now) {
			g.actions = append(g.actions, ProtectENI{ENI: e.ID, AttachmentID: e.AttachmentID, Reason: "must not outlive the instance"})
		}
	}
}

// hopeless is after how many failures in a row an ENI is not counted on: one
// that cannot be attached is given up.
const hopeless = 4

// attachOrDelete never deletes an ENI that has addresses of pods: it belongs
// back where it was, however often that was refused. Nor one that had them a
// moment ago: their addresses would be another node's before their time.
func (g *growth) attachOrDelete(e *entry) {
	key := block{attach, string(e.ID)}
	refused := g.blocks[key].times
	if f := g.blocks[key].failure; f != nil && f.Class == Throttled {
		refused = 0 // it says nothing about the ENI
	}
	inUse := g.serves(e)
	fresh := g.now.Sub(e.changed) < recent // created a moment ago, for a demand that may come back
	if !e.retired && g.slots < g.maxENIs() && (inUse || !g.cordoned && !g.excluded(e.Subnet) && (g.need > 0 || fresh) && refused < hopeless) {
		g.slots++
		g.need -= e.size() // another ENI would not be attached sooner
		if g.blocked(key, g.now) {
			g.later(e.Subnet, g.room(e))
			return
		}
		g.busy[key] = true
		g.actions = append(g.actions, AttachENI{ENI: e.ID, Device: g.device(e, refused), Reason: g.reason})
		return
	}
	if !inUse && !g.keepAll && !g.blocked(key, g.now) && (!g.rests(e) || g.givenBack(e)) {
		g.actions = append(g.actions, DeleteENI{ENI: e.ID, Reason: "attached to nothing and not needed"})
	}
}

// inUseFirst puts detached ENIs that have addresses of pods before the others,
// so that none of these takes the place of one of those.
func (g *growth) inUseFirst(all []*entry) []*entry {
	var first, then []*entry
	for _, e := range all {
		if e.Status == Available && g.serves(e) {
			first = append(first, e)
		} else {
			then = append(then, e)
		}
	}
	return append(first, then...)
}

// serves says whether pods hold addresses of an ENI, or a stranger may.
func (g *growth) serves(e *entry) bool {
	if len(e.Quarantined) > 0 {
		return true
	}
	for _, a := range g.held {
		if a.ENI == e.ID {
			return true
		}
	}
	for a := range e.all() {
		if _, held := g.owner[a]; held || g.inUse[a] {
			return true
		}
	}
	return false
}

// rests says whether addresses of an ENI cool down.
func (g *growth) rests(e *entry) bool {
	for a := range e.all() {
		if g.cooling[a].After(g.now) {
			return true
		}
	}
	for a, until := range g.cooling {
		if until.After(g.now) && e.has6(a) {
			return true
		}
	}
	return false
}

// givenBack says whether an ENI was being given back when we last ended: nothing
// but what goes back rests for so long.
func (g *growth) givenBack(e *entry) bool {
	longest := g.now.Add(max(g.settings.CoolDown, lookAgain))
	for a := range e.all() {
		if g.cooling[a].After(longest) {
			return true
		}
	}
	return false
}

// device is where to attach an ENI: where it was before, if it was and that is
// free, for the routes of its pods lead there.
func (g *growth) device(e *entry, refused int) int {
	old := e.last
	for _, a := range g.held {
		if old == 0 && a.ENI == e.ID {
			old = a.Device
		}
	}
	failure := g.blocks[block{attach, string(e.ID)}].failure
	if old == 0 || g.devices[old] || failure != nil && failure.Class == InUse {
		return g.freeDevice(refused)
	}
	g.devices[old] = true
	return old
}

// freeDevice is the lowest free device number but for the first few: EC2 may
// know of a device that it did not show.
func (g *growth) freeDevice(skip int) int {
	for d := 1; ; d++ {
		if g.devices[d] {
			continue
		}
		if skip--; skip < 0 {
			g.devices[d] = true
			return d
		}
	}
}

// repeat asks again for ENIs whose creation had an unknown outcome. With the
// same token EC2 creates none twice.
func (g *growth) repeat() {
	for _, c := range g.unsure {
		flies := slices.ContainsFunc(g.flying, func(a Action) bool { return reflect.DeepEqual(a, Action(c)) })
		if flies {
			continue
		}
		g.expect(c)
		if !g.blocked(block{create, string(c.Subnet)}, g.now) {
			g.actions = append(g.actions, c)
		}
	}
}

// fill asks for more addresses on an ENI that has room, also while it is being
// attached. While a call brings it some, another one is made for pods, not for
// the headroom. What comes with an ENI that is still on its way is late for
// pods that one with room could serve.
func (g *growth) fill(e *entry) {
	if !g.attached(e) || !g.usable(e) || g.overdue(e) {
		return
	}
	room, pods := g.room(e)-g.asked[e.ID], g.hurried(e)
	slots := min(room, max(pods, g.wanted(e.Subnet)))
	if slots <= 0 || g.full(e.Subnet) {
		return
	}
	if g.asked[e.ID] > 0 && pods == 0 && g.need <= g.spare.high {
		g.later(e.Subnet, room)
		return
	}
	count := slots * g.perSlot(e.Subnet)
	if before := g.blocks[block{assign, string(e.ID)}]; before.until.After(g.now) {
		if soon(before) {
			g.need -= count
		}
		return
	}
	g.need -= count
	g.asking = true
	if e.ready {
		g.hurry -= count
	}
	a := AssignAddresses{ENI: e.ID, Reason: g.reason}
	if a.Count = slots; g.prefixes(e.Subnet) {
		a.Count, a.Prefixes = 0, slots
	}
	g.actions = append(g.actions, a)
}

// attached says whether an ENI is there, or about to be.
func (g *growth) attached(e *entry) bool {
	return e.Status == Attaching || e.Status == Attached || g.busy[block{attach, string(e.ID)}]
}

// hurried is how many addresses or prefixes an ENI is to be asked for so that
// pods need not wait for what takes more than one call.
func (g *growth) hurried(e *entry) int {
	switch {
	case !e.ready || g.hurry <= 0:
		return 0
	case g.isScarce(e.Subnet):
		return 1
	case g.prefixes(e.Subnet):
		return toPrefixes(g.hurry)
	}
	return g.hurry
}

// soon says that what failed is there already, as a describe will tell, or will
// be asked for again in a moment: another ENI would be too many.
func soon(f failed) bool {
	switch f.failure.Class {
	case Ambiguous, Throttled, Unavailable:
		return f.times < hopeless
	}
	return false
}

// wanted is how many addresses or prefixes to ask of a subnet in one call:
// where they are scarce, one, and only for a pod that waits.
func (g *growth) wanted(subnet SubnetID) int {
	switch {
	case g.isScarce(subnet):
		return min(1, g.need-g.spare.high)
	case g.need <= 0:
		return 0
	case g.spare.whole:
		return g.settings.Limits.slots()
	case g.prefixes(subnet):
		return toPrefixes(g.need)
	}
	return g.need
}

// full says that a subnet had not one address for us a moment ago.
func (g *growth) full(subnet SubnetID) bool {
	b := block{create, string(subnet)}
	return g.blocked(b, g.now) && g.blocks[b].failure.Class == SubnetFull
}

func (g *growth) isScarce(subnet SubnetID) bool { return g.scarce[subnet].After(g.now) }

func (p *Pool) primary() *entry {
	for _, e := range p.enis {
		if e.Primary {
			return e
		}
	}
	return nil
}
