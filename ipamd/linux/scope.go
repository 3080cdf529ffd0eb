package linux

import (
	"net/netip"
	"slices"
	"strings"
)

// Scope says which routes and rules are ours, so that a Diff may delete them.
type Scope struct {
	// VethPrefix: host routes of the main table that lead to a link whose
	// name begins so are pods' routes.
	VethPrefix string
	// Tables are ours with all their routes.
	Tables []int
	// Priorities are those of our rules.
	Priorities []int
	// Secondary are the links of secondary ENIs: a connected route that the
	// operating system made for one in main would draw the subnet's traffic
	// away from the primary ENI.
	Secondary []string
	// Address, if valid, narrows the scope to one pod's address.
	Address netip.Addr
}

// OwnsRoute says whether a route is ours; connected means that the kernel made
// it because of an address.
func (s Scope) OwnsRoute(r Route, connected bool) bool {
	if s.Address.IsValid() && r.Dst != HostPrefix(s.Address) {
		return false
	}
	switch {
	case slices.Contains(s.Tables, r.Table):
		return true
	case r.Table != tableMain:
		return false
	case connected:
		// Link-local routes belong to their link, and draw nothing away.
		return slices.Contains(s.Secondary, r.Link) && !r.Dst.Addr().IsLinkLocalUnicast()
	}
	return s.VethPrefix != "" && strings.HasPrefix(r.Link, s.VethPrefix) && r.Dst.IsSingleIP()
}

// OwnsRule says whether a rule is ours.
func (s Scope) OwnsRule(r Rule) bool {
	if s.Address.IsValid() && r.To != HostPrefix(s.Address) && r.From != HostPrefix(s.Address) {
		return false
	}
	return slices.Contains(s.Priorities, r.Priority)
}
