package nft

// value is what a front end leads to: how its packets are treated, how many
// endpoints to choose from, and the group that these are of. nft prints it in
// hex: one digit of treatment, two of size, five of group.
type value uint32

// treatment is what becomes of a packet besides the choice of an endpoint.
type treatment uint8

const (
	// toCluster is a cluster IP: packets not of pods may be masqueraded.
	toCluster treatment = iota
	// external is masqueraded.
	external
	// externalLocal leads outsiders to the group, which has local endpoints,
	// untranslated; this node and its pods to another one (map inside).
	externalLocal
	// affine, added to one of the above, keeps clients at their endpoints.
	affine treatment = 4
	// restricted, added, lets only the source ranges in.
	restricted treatment = 8
)

// size is how endpoints are chosen: up to exact of them directly; more by
// trying slots below a power of two, at least half of which are in use.
type size uint8

const (
	// exact is the largest number of endpoints that is chosen from directly.
	exact size = 16
	// largest is the size for 65,536 slots.
	largest = exact + 12

	maxSlots  = 1 << 16
	groupBits = 20
	groupMask = value(1)<<groupBits - 1
	sizeMask  = value(0xff) << groupBits
	howMask   = value(0xf) << (groupBits + 8)
)

func newValue(t treatment, n size, group uint32) value {
	return value(t)<<(groupBits+8) | value(n)<<groupBits | value(group)
}

// member is one endpoint of an affine group: its number, above the group's.
type member uint32

// maxMembers is how many endpoints an affine group can tell apart.
const maxMembers = 1 << (32 - groupBits)

func newMember(number int, group uint32) member { return member(number)<<groupBits | member(group) }

func (v value) group() uint32 { return uint32(v & groupMask) }

// slots is the number that a random slot is drawn below.
func (s size) slots() uint32 {
	if s <= exact {
		return uint32(s)
	}
	return uint32(exact) << (s - exact)
}

// sizeFor is the size for n endpoints, in slots 0 to n-1.
func sizeFor(n int) size {
	s := size(min(n, int(exact)))
	for int(s.slots()) < n && s < largest {
		s++
	}
	return s
}
