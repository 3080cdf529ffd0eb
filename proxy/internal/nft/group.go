package nft

import "net/netip"

// group is a list of endpoints that are chosen from in equal shares. Slots are
// used from 0 on, without a gap.
type group struct {
	id    uint32
	slots []netip.AddrPort
	// numbers are what an affine group tells its endpoints apart by: they
	// stay while the endpoint does.
	numbers map[netip.AddrPort]int
	claimed bool // by a service-port; not so if it was found
}

// arrange returns the slots for a list of endpoints, leaving those that stay
// where they are as far as that goes.
func (g *group) arrange(want []netip.AddrPort) []netip.AddrPort {
	if len(want) > maxSlots {
		want = want[:maxSlots]
	}
	missing := make(map[netip.AddrPort]bool, len(want))
	for _, a := range want {
		missing[a] = true
	}
	slots := make([]netip.AddrPort, len(missing))
	for i := range slots {
		if i < len(g.slots) && missing[g.slots[i]] {
			slots[i] = g.slots[i]
			delete(missing, slots[i])
		}
	}
	free := 0
	for _, a := range want {
		if !missing[a] {
			continue
		}
		delete(missing, a)
		for slots[free].IsValid() {
			free++
		}
		slots[free] = a
	}
	return slots
}

// number gives endpoints their numbers; what is gone frees its own.
func (g *group) number(slots []netip.AddrPort) map[netip.AddrPort]int {
	numbers := make(map[netip.AddrPort]int, len(slots))
	used := make(map[int]bool, len(slots))
	for _, a := range slots {
		if n, ok := g.numbers[a]; ok {
			numbers[a], used[n] = n, true
		}
	}
	next := 0
	for _, a := range slots {
		if _, ok := numbers[a]; ok {
			continue
		}
		for used[next] {
			next++
		}
		numbers[a], used[next] = next, true
	}
	return numbers
}
