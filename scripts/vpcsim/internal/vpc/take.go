package vpc

import (
	"net/netip"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// Ask is what a call wants of one address family: exactly one of the four
// kinds, or nothing.
type Ask struct {
	Count       int
	Addresses   []netip.Addr
	PrefixCount int
	Prefixes    []netip.Prefix
}

func (a Ask) empty() bool { return a.size() == 0 }

// size is the number of slots that the ask takes.
func (a Ask) size() int { return a.Count + len(a.Addresses) + a.PrefixCount + len(a.Prefixes) }

func (a Ask) prefixed() bool { return a.PrefixCount > 0 || len(a.Prefixes) > 0 }

// check refuses asks that mix kinds or count below zero.
func (a Ask) check() error {
	kinds := 0
	for _, set := range []bool{a.Count != 0, len(a.Addresses) > 0, a.PrefixCount != 0, len(a.Prefixes) > 0} {
		if set {
			kinds++
		}
	}
	if kinds > 1 {
		return awserr.New("InvalidParameterCombination", "You may specify only one of: a number of addresses, addresses, a number of prefixes, prefixes")
	}
	if a.Count < 0 || a.PrefixCount < 0 {
		return awserr.New("InvalidParameterValue", "The number of addresses or prefixes must be greater than zero")
	}
	return nil
}

// grant is what an Ask got.
type grant struct {
	addresses []netip.Addr
	prefixes  []netip.Prefix
}

// take fulfils an ask from a book, wholly or not at all.
func (m *Model) take(b book, ask Ask) (g grant, err error) {
	defer func() {
		if err != nil {
			g.giveBack(b)
			g = grant{}
		}
	}()
	for _, a := range ask.Addresses {
		if err := takeAddress(b, a); err != nil {
			return g, err
		}
		g.addresses = append(g.addresses, a)
	}
	for range ask.Count {
		a, ok := b.pick(m.rng)
		if !ok {
			return g, awserr.NoFreeAddresses()
		}
		b.take(a)
		g.addresses = append(g.addresses, a)
	}
	for _, p := range ask.Prefixes {
		if err := takePrefix(b, p); err != nil {
			return g, err
		}
		g.prefixes = append(g.prefixes, p)
	}
	for range ask.PrefixCount {
		p, ok := b.pickPrefix(m.rng)
		if !ok {
			return g, noPrefix(b)
		}
		b.takePrefix(p)
		g.prefixes = append(g.prefixes, p)
	}
	return g, nil
}

// noPrefix tells a subnet at its capacity from a fragmented one.
func noPrefix(b book) error {
	if b.free() < 16 {
		return awserr.NoFreePrefixes()
	}
	return awserr.NoFreeBlocks()
}

func (g grant) giveBack(b book) {
	for _, a := range g.addresses {
		b.drop(a)
	}
	for _, p := range g.prefixes {
		b.dropPrefix(p)
	}
}

func takeAddress(b book, a netip.Addr) error {
	switch in, usable, free := b.look(a); {
	case !in:
		return awserr.New("InvalidParameterValue", "invalid value for parameter address: %s", a)
	case !usable:
		return awserr.New("InvalidParameterValue", "Address %s is in subnet's reserved address range", a)
	case !free:
		return awserr.New("InvalidIPAddress.InUse", "Address %s is in use.", a)
	}
	b.take(a)
	return nil
}

func takePrefix(b book, p netip.Prefix) error {
	if p.Bits() != b.prefixBits() || p != p.Masked() {
		return awserr.New("InvalidParameterValue", "invalid value for parameter prefix: %s. A prefix is an aligned /%d", p, b.prefixBits())
	}
	if in, _, _ := b.look(p.Addr()); !in {
		return awserr.New("InvalidParameterValue", "invalid value for parameter prefix: %s", p)
	}
	if !b.takePrefix(p) {
		return awserr.New("InvalidParameterValue", "The prefix %s is not available", p)
	}
	return nil
}

// takePrimary takes the wanted address, or any if it is zero.
func (m *Model) takePrimary(s *subnet, want netip.Addr) (netip.Addr, error) {
	ask := Ask{Count: 1}
	if want.IsValid() {
		ask = Ask{Addresses: []netip.Addr{want}}
	}
	g, err := m.take(s.v4, ask)
	if err != nil {
		return netip.Addr{}, err
	}
	return g.addresses[0], nil
}

// takeBoth fulfils the asks of both families, wholly or not at all.
func (m *Model) takeBoth(s *subnet, v4, v6 Ask) (g4, g6 grant, err error) {
	if g4, err = m.take(s.v4, v4); err != nil || v6.empty() {
		return g4, g6, err
	}
	if s.v6 == nil {
		err = awserr.New("InvalidParameterValue", "The subnet '%s' has no IPv6 CIDR block", s.ID)
	} else {
		g6, err = m.take(s.v6, v6)
	}
	if err != nil {
		g4.giveBack(s.v4)
	}
	return g4, g6, err
}

// room refuses an ask that the ENI's instance has no slots for, or whose kind
// its type cannot have. An ENI that is not attached has no limit yet.
func (m *Model) room(e *ENI, v4, v6 Ask) error {
	if e.Attachment == nil {
		return nil
	}
	i, err := m.instance(e.Attachment.InstanceID)
	if err != nil {
		return err
	}
	return m.fits(i, e.slots()+v4.size(), e.slots6()+v6.size(), v4.prefixed() || v6.prefixed())
}

func (m *Model) fits(i *instance, slots4, slots6 int, prefixes bool) error {
	t := m.types[i.Type]
	if prefixes && !t.Prefixes() {
		return awserr.New("UnsupportedOperation", "The instance type %s does not support prefix delegation", i.Type)
	}
	if slots4 > t.IPv4 || slots6 > t.IPv4 {
		return awserr.TooManyAddresses()
	}
	return nil
}
