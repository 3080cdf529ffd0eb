package pool

import (
	"fmt"
	"time"
)

// Plan returns the EC2 calls that should be made now, all independent of each
// other: to attach or delete ENIs that a crash left, to protect those that are
// attached, and to grow until what pods wait for and the headroom are there.
// It asks for everything in one step; what an earlier call failed for is asked
// again when its time has come.
func (p *Pool) Plan(waiting int, now time.Time) []Action {
	if !p.observed {
		return nil
	}
	g := growth{Pool: p, now: now, devices: map[int]bool{}, need: waiting + p.settings.Headroom}
	g.reason = fmt.Sprintf("%d waiting, %d headroom", waiting, p.settings.Headroom)
	for _, e := range p.sorted() {
		if e.Status != Available {
			g.devices[e.Device] = true
			g.slots++
		}
		if e.Status == Attached || e.Status == Attaching {
			g.need -= len(p.free(e, now))
		}
	}
	for _, e := range p.sorted() {
		g.finish(e)
	}
	for _, e := range p.sorted() {
		g.fill(e)
	}
	g.create()
	return g.actions
}

// growth is a plan in the making.
type growth struct {
	*Pool
	now     time.Time
	need    int // addresses still to be found
	slots   int // ENIs that the instance has or will have
	devices map[int]bool
	reason  string
	actions []Action
}

// finish brings an ENI of ours to where it should be: attached if it is
// needed, and then deleted with the instance.
func (g *growth) finish(e *entry) {
	switch {
	case e.Status == Available && e.Tags[TagInstance] == g.settings.InstanceID:
		g.attachOrDelete(e)
	case !e.Primary && !e.DeleteOnTermination && e.AttachmentID != "" && !e.missing &&
		(e.Status == Attached || e.Status == Attaching) && e.Tags[TagInstance] == g.settings.InstanceID:
		if !g.blocked(block{protect, string(e.ID)}, g.now) {
			g.actions = append(g.actions, ProtectENI{ENI: e.ID, AttachmentID: e.AttachmentID, Reason: "must not outlive the instance"})
		}
	}
}

func (g *growth) attachOrDelete(e *entry) {
	key := block{attach, string(e.ID)}
	if g.need > 0 && g.slots < g.maxENIs() {
		g.need -= len(g.free(e, g.now))
		g.slots++
		if g.blocked(key, g.now) {
			return
		}
		device := g.freeDevice()
		g.actions = append(g.actions, AttachENI{ENI: e.ID, Device: device, Reason: g.reason})
		return
	}
	if !g.blocked(key, g.now) {
		g.actions = append(g.actions, DeleteENI{ENI: e.ID, Reason: "attached to nothing and not needed"})
	}
}

func (g *growth) freeDevice() int {
	d := 1
	for g.devices[d] {
		d++
	}
	g.devices[d] = true
	return d
}

// fill asks for more addresses on an attached ENI that has room.
func (g *growth) fill(e *entry) {
	if g.need <= 0 || e.Status != Attached || e.missing || !g.managed(e.ENI) {
		return
	}
	room := g.settings.Limits.AddressesPerENI - 1 - len(e.Addresses) - len(e.Prefixes)
	if room <= 0 {
		return
	}
	count := min(room, g.need)
	if g.blocked(block{assign, string(e.ID)}, g.now) || g.blocked(block{create, string(e.Subnet)}, g.now) {
		return
	}
	g.need -= count
	g.actions = append(g.actions, AssignAddresses{ENI: e.ID, Count: count, Reason: g.reason})
}

// create asks for further ENIs, each with the addresses that it should bring,
// in the subnet and with the security groups of the primary one.
func (g *growth) create() {
	primary := g.primary()
	if primary == nil || g.blocked(block{create, string(primary.Subnet)}, g.now) {
		return
	}
	for g.need > 0 && g.slots < g.maxENIs() {
		count := min(g.settings.Limits.AddressesPerENI-1, g.need)
		g.need -= count
		g.slots++
		g.tokens++
		g.actions = append(g.actions, CreateENI{
			Subnet: primary.Subnet, SecurityGroups: primary.SecurityGroups, Addresses: count,
			Token: fmt.Sprintf("%s-%d-%d", g.settings.InstanceID, g.now.UnixNano(), g.tokens), Reason: g.reason,
		})
	}
}

func (p *Pool) primary() *entry {
	for _, e := range p.enis {
		if e.Primary {
			return e
		}
	}
	return nil
}

// String is one line for the log.
func (a CreateENI) String() string {
	return fmt.Sprintf("create an ENI with %d addresses in %s (%s)", a.Addresses, a.Subnet, a.Reason)
}

// String is one line for the log.
func (a AttachENI) String() string {
	return fmt.Sprintf("attach %s as device %d (%s)", a.ENI, a.Device, a.Reason)
}

// String is one line for the log.
func (a ProtectENI) String() string {
	return fmt.Sprintf("set DeleteOnTermination on %s (%s)", a.ENI, a.Reason)
}

// String is one line for the log.
func (a AssignAddresses) String() string {
	return fmt.Sprintf("assign %d addresses to %s (%s)", a.Count, a.ENI, a.Reason)
}

// String is one line for the log.
func (a UnassignAddresses) String() string {
	return fmt.Sprintf("unassign %v from %s (%s)", a.Addresses, a.ENI, a.Reason)
}

// String is one line for the log.
func (a DeleteENI) String() string { return fmt.Sprintf("delete %s (%s)", a.ENI, a.Reason) }
