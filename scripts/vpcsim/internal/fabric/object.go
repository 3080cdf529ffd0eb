package fabric

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// object is one thing that Sync keeps. Objects are comparable values: equal
// means nothing to do, and a change of any field is a removal and an addition.
type object interface {
	fmt.Stringer
	// order is the object's place among others when things are added; they
	// are removed the other way round.
	order() int
}

// space is the network namespace of a node.
type space struct{ node string }

// device is an ENI's veth pair between the router and a node.
type device struct{ eni, node, mac string }

// address is an address of a link of the fabric (never of a node).
type address struct {
	place, link string
	prefix      netip.Prefix
}

// route is a route in the main table of a place. A route without a link is a
// black hole. The node behind an ENI's link is part of the route, because the
// link of an ENI that moves to another node is a new one of the same name.
type route struct {
	place, link, node string
	dst               netip.Prefix
	via, src          netip.Addr
}

// counter counts the packets of an ENI that were dropped for a reason. It
// outlives the ENI.
type counter struct {
	eni, node string
	reason    Reason
}

// element is an element of an nftables set or map.
type element struct{ place, set, key, value string }

func (space) order() int   { return 3 }
func (device) order() int  { return 4 }
func (address) order() int { return 5 }
func (route) order() int   { return 6 }

// Counters and elements come first, so that a device is watched before its
// first packet, in one transaction per place.
func (counter) order() int { return 1 }
func (element) order() int { return 2 }

func (s space) String() string  { return "node " + s.node }
func (d device) String() string { return fmt.Sprintf("device %s on %s", d.eni, d.node) }
func (a address) String() string {
	return fmt.Sprintf("address %s dev %s in %s", a.prefix, a.link, a.place)
}
func (c counter) String() string { return "counter " + c.name() }
func (e element) String() string {
	if e.value == "" {
		return fmt.Sprintf("element %s { %s } in %s", e.set, e.key, e.place)
	}
	return fmt.Sprintf("element %s { %s : %s } in %s", e.set, e.key, e.value, e.place)
}

func (r route) String() string {
	if r.link == "" {
		return fmt.Sprintf("route blackhole %s in %s", r.dst, r.place)
	}
	return fmt.Sprintf("route %s via %s dev %s in %s", r.dst, r.via, r.link, r.place)
}

// changes is what is to be removed and then added, each in the order to do it.
type changes struct{ remove, add []object }

func (c changes) empty() bool { return len(c.remove) == 0 && len(c.add) == 0 }

// diff returns the changes that turn have into want. Counters are never
// removed: what an ENI lost stays known after it is gone.
func diff(have, want map[object]bool) changes {
	var c changes
	for o := range have {
		if _, keep := o.(counter); !want[o] && !keep {
			c.remove = append(c.remove, o)
		}
	}
	for o := range want {
		if !have[o] {
			c.add = append(c.add, o)
		}
	}
	byOrder := func(a, b object) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(a.String(), b.String()))
	}
	slices.SortFunc(c.add, byOrder)
	slices.SortFunc(c.remove, func(a, b object) int { return byOrder(b, a) })
	return c
}
