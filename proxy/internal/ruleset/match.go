package ruleset

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Match is a condition of a Rule: one of the types of this file.
type Match interface {
	fmt.Stringer
	match()
}

// CTState accepts connections in one of these states, as "RELATED,ESTABLISHED".
type CTState string

// NotCTState accepts connections in none of these states.
type NotCTState string

// Mark accepts packets that have all these bits in their mark.
type Mark uint32

// NotMark accepts packets that do not have all these bits.
type NotMark uint32

// OneIn accepts one in this many packets, at random.
type OneIn int

// SeenWithin accepts packets whose source is in a list, by that name, and got
// there within this time; it forgets those that are older.
type SeenWithin struct {
	List  string
	Since time.Duration
	Bits  int // of an address
}

// See accepts every packet, and puts its source into a list.
type See struct {
	List string
	Bits int // of an address
}

func (CTState) match()    {}
func (NotCTState) match() {}
func (Mark) match()       {}
func (NotMark) match()    {}
func (OneIn) match()      {}
func (SeenWithin) match() {}
func (See) match()        {}

func (s CTState) String() string { return "-m conntrack --ctstate " + string(s) }

func (s NotCTState) String() string { return "-m conntrack ! --ctstate " + string(s) }

func (m Mark) String() string { return fmt.Sprintf("-m mark --mark %#x/%#x", uint32(m), uint32(m)) }

func (m NotMark) String() string {
	return fmt.Sprintf("-m mark ! --mark %#x/%#x", uint32(m), uint32(m))
}

// String is the probability as the kernel keeps it, in units of 2^-31
// (xt_statistic.h). The bare ten digits of kube-proxy come to the same unit.
func (n OneIn) String() string {
	const unit = 1 << 31
	ten := math.Round(1e10/float64(n)) / 1e10
	return "-m statistic --mode random --probability " + strconv.FormatFloat(math.Round(unit*ten)/unit, 'f', 11, 64)
}

func (s SeenWithin) String() string {
	return fmt.Sprintf("-m recent --rcheck --seconds %d --reap --name %s --mask %s --rsource", int(s.Since.Seconds()), s.List, fullMask[s.Bits])
}

func (s See) String() string {
	return fmt.Sprintf("-m recent --set --name %s --mask %s --rsource", s.List, fullMask[s.Bits])
}

var fullMask = map[int]string{32: "255.255.255.255", 128: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}
