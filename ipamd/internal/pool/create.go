package pool

import "fmt"

// create asks for further ENIs, each with the addresses that it should bring,
// and each in the subnet that is best for it. An ENI takes an address for
// itself: where they are scarce, none is created while a call may bring what is
// needed. Nor is one while those on their way have room: they are asked for more
// when they are there.
func (g *growth) create() {
	g.need -= g.coming
	g.zone.wanted = false
	for g.slots < g.maxENIs() && !g.cordoned && !g.barred() {
		subnet := g.subnet()
		if g.wanted(subnet) <= 0 {
			return
		}
		g.zone.wanted = subnet == "" || g.now.Sub(g.zone.at) >= subnetsOld
		if subnet == "" || g.asking && g.isScarce(subnet) {
			return
		}
		g.createIn(subnet)
	}
}

func (g *growth) createIn(subnet SubnetID) {
	slots := min(g.settings.Limits.slots(), g.wanted(subnet))
	g.asking = true
	g.tokens++
	c := CreateENI{
		Subnet: subnet, SecurityGroups: g.groups(), Prefixes6: g.settings.prefixes6(),
		Token: fmt.Sprintf("%s-%d-%d", g.settings.InstanceID, g.now.UnixNano(), g.tokens), Created: g.now, Reason: g.reason,
	}
	if c.Addresses = slots; g.prefixes(subnet) {
		c.Addresses, c.Prefixes = 0, slots
	}
	g.need -= slots * g.perSlot(subnet)
	g.slots++
	g.actions = append(g.actions, c)
}
