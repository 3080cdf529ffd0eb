package vpc

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// VPC is the state of the VPC itself.
type VPC struct {
	ID    string
	CIDRs []netip.Prefix // IPv4 and IPv6, the primary block first
	Tags  map[string]string
}

// VPC returns the VPC itself.
func (m *Model) VPC() VPC {
	defer m.lock()()
	return VPC{m.vpcID, slices.Clone(m.cidrs), copied(m.vpcTags)}
}

// Described lists the ENIs as a Describe call sees them, sorted by id; with
// ids, those of them that it sees. With stale, it is the call of that long ago.
func (m *Model) Described(stale time.Duration, ids ...string) []ENI {
	defer m.lock()()
	var out []ENI
	see := func(r *record) {
		if e := r.asOf(describeReader, m.now.Add(-stale)); e != nil {
			out = append(out, e.clone())
		}
	}
	if len(ids) > 0 {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			if r, ok := m.enis[id]; ok {
				see(r)
			}
		}
		return out
	}
	for id, r := range m.enis {
		see(r)
		m.forget(r)
		if r.deleted && len(r.history) == 1 && r.history[0].superseded(m.now.Add(-keepHistory)) {
			delete(m.enis, id)
		}
	}
	slices.SortFunc(out, func(a, b ENI) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// Interfaces lists the ENIs as they are, sorted by id.
func (m *Model) Interfaces() []ENI {
	defer m.lock()()
	return m.interfaces()
}

func (m *Model) interfaces() []ENI {
	var out []ENI
	for _, r := range m.enis {
		if !r.deleted {
			out = append(out, r.ENI.clone())
		}
	}
	slices.SortFunc(out, func(a, b ENI) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// View returns what the fabric carries packets by.
func (m *Model) View() View {
	defer m.lock()()
	v := View{CIDRs: slices.Clone(m.cidrs), PeerCIDRs: slices.Clone(m.topo.VPC.Peers)}
	for _, s := range m.subnets {
		v.Subnets = append(v.Subnets, SubnetView{s.Name, s.ID, s.Zone, s.CIDR, s.IPv6CIDR, s.Egress})
	}
	slices.SortFunc(v.Subnets, func(a, b SubnetView) int { return strings.Compare(a.Name, b.Name) })
	for _, i := range m.instances {
		if i.State != Terminated {
			v.Nodes = append(v.Nodes, NodeView{i.Node, i.ID})
		}
	}
	slices.SortFunc(v.Nodes, func(a, b NodeView) int { return strings.Compare(a.Name, b.Name) })
	for _, e := range m.interfaces() {
		if e.Attachment == nil {
			continue
		}
		v.Interfaces = append(v.Interfaces, InterfaceView{
			ID: e.ID, MAC: e.MAC, Node: e.Attachment.Node, Subnet: e.SubnetID,
			DeviceIndex: e.Attachment.DeviceIndex, NetworkCard: e.Attachment.NetworkCard,
			SourceDestCheck: e.SourceDestCheck, DevicePresent: m.enis[e.ID].devicePresent, Guest: m.enis[e.ID].guest,
			Addresses: e.Addresses(), Prefixes: e.AllPrefixes(), Public: e.Public,
		})
	}
	v.Balancers = m.balancers()
	return v
}
