package vpc

import (
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// AssignPrivateIPAddresses adds secondary IPv4 addresses or /28 prefixes to an
// ENI, all that are asked for or none. With reassign, addresses that are
// secondary on another ENI of the subnet move here.
func (m *Model) AssignPrivateIPAddresses(c Call, id string, ask Ask, reassign bool) ([]netip.Addr, []netip.Prefix, error) {
	defer m.lock()()
	if ask.empty() {
		return nil, nil, awserr.Missing("privateIpAddress or secondaryPrivateIpAddressCount")
	}
	r, s, err := m.target(id, ask, Ask{})
	if err != nil {
		return nil, nil, err
	}
	m.exhaust(s, c)
	moved := Ask{}
	if reassign {
		moved.Addresses, ask.Addresses = m.movable(r, ask.Addresses)
	}
	g, err := m.take(s.v4, ask)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range moved.Addresses {
		m.moveAway(a, c)
	}
	g.addresses = append(g.addresses, moved.Addresses...)
	r.Secondary = append(r.Secondary, g.addresses...)
	r.Prefixes = append(r.Prefixes, g.prefixes...)
	m.commit(r, c)
	return g.addresses, g.prefixes, nil
}

// target finds the ENI of an assignment and refuses asks it has no room for.
func (m *Model) target(id string, v4, v6 Ask) (*record, *subnet, error) {
	r, err := m.yours(id)
	if err != nil {
		return nil, nil, err
	}
	for _, ask := range []Ask{v4, v6} {
		if err := ask.check(); err != nil {
			return nil, nil, err
		}
	}
	if err := m.room(&r.ENI, v4, v6); err != nil {
		return nil, nil, err
	}
	s, err := m.subnet(r.SubnetID)
	return r, s, err
}

// movable splits wanted addresses into those that are secondary on another ENI
// of the same subnet, and the rest.
func (m *Model) movable(r *record, want []netip.Addr) (move, rest []netip.Addr) {
	for _, a := range want {
		if o := m.secondaryOn(a); o != nil && o != r && o.SubnetID == r.SubnetID && !slices.Contains(move, a) {
			move = append(move, a)
		} else {
			rest = append(rest, a)
		}
	}
	return move, rest
}

func (m *Model) secondaryOn(a netip.Addr) *record {
	for _, r := range m.enis {
		if !r.deleted && slices.Contains(r.Secondary, a) {
			return r
		}
	}
	return nil
}

func (m *Model) moveAway(a netip.Addr, c Call) {
	if r := m.secondaryOn(a); r != nil {
		r.Secondary = without(r.Secondary, []netip.Addr{a})
		m.commit(r, c)
	}
}

// UnassignPrivateIPAddresses takes secondary addresses and prefixes from an
// ENI, all that are named or none.
func (m *Model) UnassignPrivateIPAddresses(c Call, id string, addresses []netip.Addr, prefixes []netip.Prefix) error {
	defer m.lock()()
	r, err := m.yours(id)
	if err != nil {
		return err
	}
	if len(addresses) == 0 && len(prefixes) == 0 {
		return awserr.Missing("privateIpAddress or ipv4Prefix")
	}
	for _, a := range addresses {
		if a == r.Primary {
			return awserr.New("InvalidParameterValue", "The primary address %s of the network interface cannot be unassigned.", a)
		}
	}
	s, err := m.subnet(r.SubnetID)
	if err != nil {
		return err
	}
	if err := allHeld(r.ID, addresses, r.Secondary, prefixes, r.Prefixes); err != nil {
		return err
	}
	grant{addresses, prefixes}.giveBack(s.v4)
	r.Secondary, r.Prefixes = without(r.Secondary, addresses), without(r.Prefixes, prefixes)
	m.commit(r, c)
	return nil
}

// AssignIPv6Addresses adds IPv6 addresses or /80 prefixes to an ENI, all that
// are asked for or none.
func (m *Model) AssignIPv6Addresses(c Call, id string, ask Ask) ([]netip.Addr, []netip.Prefix, error) {
	defer m.lock()()
	if ask.empty() {
		return nil, nil, awserr.Missing("ipv6Addresses or ipv6AddressCount")
	}
	r, s, err := m.target(id, Ask{}, ask)
	if err != nil {
		return nil, nil, err
	}
	_, g, err := m.takeBoth(s, Ask{}, ask)
	if err != nil {
		return nil, nil, err
	}
	r.IPv6 = append(r.IPv6, g.addresses...)
	r.IPv6Prefixes = append(r.IPv6Prefixes, g.prefixes...)
	m.commit(r, c)
	return g.addresses, g.prefixes, nil
}

// UnassignIPv6Addresses takes IPv6 addresses and prefixes from an ENI, all
// that are named or none.
func (m *Model) UnassignIPv6Addresses(c Call, id string, addresses []netip.Addr, prefixes []netip.Prefix) error {
	defer m.lock()()
	r, err := m.yours(id)
	if err != nil {
		return err
	}
	if len(addresses) == 0 && len(prefixes) == 0 {
		return awserr.Missing("ipv6Addresses or ipv6Prefix")
	}
	s, err := m.subnet(r.SubnetID)
	if err != nil {
		return err
	}
	if err := allHeld(r.ID, addresses, r.IPv6, prefixes, r.IPv6Prefixes); err != nil {
		return err
	}
	if s.v6 != nil {
		grant{addresses, prefixes}.giveBack(s.v6)
	}
	r.IPv6, r.IPv6Prefixes = without(r.IPv6, addresses), without(r.IPv6Prefixes, prefixes)
	m.commit(r, c)
	return nil
}

func allHeld(id string, addresses, held []netip.Addr, prefixes, heldPrefixes []netip.Prefix) error {
	for _, a := range addresses {
		if !slices.Contains(held, a) {
			return awserr.New("InvalidParameterValue", "Some of the specified addresses are not assigned to interface %s: %s", id, a)
		}
	}
	for _, p := range prefixes {
		if !slices.Contains(heldPrefixes, p) {
			return awserr.New("InvalidParameterValue", "Some of the specified prefixes are not assigned to interface %s: %s", id, p)
		}
	}
	return nil
}

// without is list less the members of gone, in a new array.
func without[T comparable](list, gone []T) []T {
	var out []T
	for _, v := range list {
		if !slices.Contains(gone, v) {
			out = append(out, v)
		}
	}
	return out
}
