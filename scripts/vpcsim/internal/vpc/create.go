package vpc

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
)

// CreateInput is what CreateNetworkInterface asks for.
type CreateInput struct {
	SubnetID           string
	Description        string
	Groups             []string
	InterfaceType      string     // empty is "interface"
	Primary            netip.Addr // zero lets the VPC choose
	V4, V6             Ask        // besides the primary address
	Tags               map[string]string
	ConnectionTracking ConnectionTracking
	ClientToken        string
}

// idempotent is what a client token was used for.
type idempotent struct {
	params string
	first  ENI
}

// CreateNetworkInterface makes an ENI. The same client token with the same
// parameters gives the same ENI again.
func (m *Model) CreateNetworkInterface(c Call, in CreateInput) (ENI, error) {
	defer m.lock()()
	if e, known, err := m.replay(in); known || err != nil {
		return e, err
	}
	r, s, err := m.draft(c, in)
	if err != nil {
		return ENI{}, err
	}
	m.exhaust(s, c)
	if r.Primary, err = m.takePrimary(s, in.Primary); err != nil {
		return ENI{}, err
	}
	g4, g6, err := m.takeBoth(s, in.V4, in.V6)
	if err != nil {
		s.v4.drop(r.Primary)
		return ENI{}, err
	}
	r.Secondary, r.Prefixes, r.IPv6, r.IPv6Prefixes = g4.addresses, g4.prefixes, g6.addresses, g6.prefixes
	r.ID, r.MAC = m.id("eni-"), m.mac()
	m.enis[r.ID] = r
	if !in.V4.empty() || !in.V6.empty() {
		r.Status = StatusPending
	}
	m.commit(r, c)
	out := r.ENI.clone()
	if r.Status == StatusPending {
		m.after(m.topo.Delays.Pending.Draw(m.rng)+c.Settle, func() { m.settle(r, c) })
	}
	if in.ClientToken != "" {
		m.tokens[in.ClientToken] = idempotent{fingerprint(in), out}
	}
	return out, nil
}

// settle ends the pending state, unless the ENI has left it already.
func (m *Model) settle(r *record, c Call) {
	if r.Status == StatusPending && !r.deleted {
		r.Status = StatusAvailable
		m.commit(r, c)
	}
}

// draft checks everything about an ENI but its addresses.
func (m *Model) draft(c Call, in CreateInput) (*record, *subnet, error) {
	s, err := m.subnet(in.SubnetID)
	if err != nil {
		return nil, nil, err
	}
	groups, err := m.checkGroups(in.Groups)
	if err != nil {
		return nil, nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, nil, err
	}
	for _, ask := range []Ask{in.V4, in.V6} {
		if err := ask.check(); err != nil {
			return nil, nil, err
		}
	}
	kind := in.InterfaceType
	if kind == "" {
		kind = "interface"
	}
	if !slices.Contains([]string{"interface", "efa", "efa-only", "trunk"}, kind) {
		return nil, nil, awserr.BadValue("interfaceType", kind, "Expecting interface, efa, efa-only or trunk.")
	}
	live := 0
	for _, r := range m.enis {
		if !r.deleted {
			live++
		}
	}
	if live >= m.topo.InterfaceQuota {
		return nil, nil, awserr.New("NetworkInterfaceLimitExceeded", "%s", awserr.DefaultMessage("NetworkInterfaceLimitExceeded"))
	}
	return &record{ENI: ENI{
		SubnetID: s.ID, Zone: s.Zone, Description: in.Description, InterfaceType: kind, RequesterID: c.Caller,
		Status: StatusAvailable, Groups: groups, SourceDestCheck: true, Tags: copied(in.Tags),
		Public: map[netip.Addr]netip.Addr{}, ConnectionTracking: in.ConnectionTracking,
	}}, s, nil
}

func fingerprint(in CreateInput) string {
	in.ClientToken = ""
	return fmt.Sprintf("%+v", in)
}

// replay answers a client token that was seen before.
func (m *Model) replay(in CreateInput) (ENI, bool, error) {
	old, known := m.tokens[in.ClientToken]
	switch {
	case !known || in.ClientToken == "":
		return ENI{}, false, nil
	case old.params != fingerprint(in):
		return ENI{}, false, awserr.New("IdempotentParameterMismatch", "The client token '%s' was used with other parameters", in.ClientToken)
	}
	if r, ok := m.enis[old.first.ID]; ok && !r.deleted {
		return r.ENI.clone(), true, nil
	}
	return old.first, true, nil
}

// DeleteNetworkInterface removes an ENI that is not attached and frees its
// addresses.
func (m *Model) DeleteNetworkInterface(c Call, id string) error {
	defer m.lock()()
	r, err := m.yours(id)
	if err != nil {
		return err
	}
	if r.Attachment != nil {
		return awserr.New("InvalidParameterValue", "Network interface '%s' is currently in use.", id)
	}
	m.erase(r)
	m.commit(r, c)
	return nil
}

// erase frees what the ENI holds. Its record stays for those who see it late.
func (m *Model) erase(r *record) {
	s, err := m.subnet(r.SubnetID)
	if err != nil {
		return // an ENI outlives no subnet: subnets are never removed
	}
	held := r.ENI
	grant{slices.Concat([]netip.Addr{held.Primary}, held.Secondary), held.Prefixes}.giveBack(s.v4)
	if s.v6 != nil {
		grant{held.IPv6, held.IPv6Prefixes}.giveBack(s.v6)
	}
	r.deleted = true
}

// live finds an ENI that was not deleted.
func (m *Model) live(id string) (*record, error) {
	if r, ok := m.enis[id]; ok && !r.deleted {
		return r, nil
	}
	return nil, NotFound(id)
}

// NotFound is the error for ENI ids that do not exist.
func NotFound(ids ...string) error {
	if len(ids) == 1 {
		return awserr.New("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", ids[0])
	}
	list := ids[0]
	for _, id := range ids[1:] {
		list += ", " + id
	}
	return awserr.New("InvalidNetworkInterfaceID.NotFound", "The networkInterface IDs '%s' do not exist", list)
}
