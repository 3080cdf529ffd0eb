package vpc

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Metadata is what the metadata service of one instance knows at a moment.
type Metadata struct {
	Region, Account string
	Instance        Instance
	CIDRs           []netip.Prefix // of the VPC
	VPCID           string
	Subnets         map[string]Subnet // by id
	GroupNames      map[string]string // by id
	Interfaces      []ENI             // sorted by MAC
}

// Metadata returns the view of the node's metadata service, which sees MACs
// and what belongs to them late, each with its own delay; lag adds to both.
func (m *Model) Metadata(node string, lag time.Duration) (Metadata, error) {
	defer m.lock()()
	i, err := m.node(node)
	if err != nil {
		return Metadata{}, err
	}
	out := Metadata{
		Region: m.topo.Region, Account: m.topo.Account, Instance: i.snapshot(),
		CIDRs: slices.Clone(m.cidrs), VPCID: m.vpcID, Subnets: map[string]Subnet{}, GroupNames: map[string]string{},
	}
	for _, s := range m.subnets {
		out.Subnets[s.ID] = s.snapshot()
	}
	for _, g := range m.groups {
		out.GroupNames[g.ID] = g.Name
	}
	for _, r := range m.enis {
		if e := r.metadata(node, m.now.Add(-lag)); e != nil {
			out.Interfaces = append(out.Interfaces, *e)
		}
	}
	for _, g := range i.ghosts {
		if !slices.ContainsFunc(out.Interfaces, func(e ENI) bool { return e.ID == g.ID }) {
			out.Interfaces = append(out.Interfaces, g.clone())
		}
	}
	slices.SortFunc(out.Interfaces, func(a, b ENI) int { return strings.Compare(a.MAC, b.MAC) })
	return out, nil
}

// metadata joins the two late views of one ENI: its MAC is listed before its
// addresses, meanwhile with the primary one only.
func (r *record) metadata(node string, at time.Time) *ENI {
	listed := r.asOf(macReader, at)
	if !listed.attached(node) {
		return nil
	}
	if full := r.asOf(addressReader, at); full.attached(node) {
		e := full.clone()
		return &e
	}
	e := listed.clone()
	e.Secondary, e.Prefixes, e.IPv6, e.IPv6Prefixes = nil, nil, nil, nil
	return &e
}
