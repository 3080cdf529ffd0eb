package pool

import "slices"

// regroup gives the ENIs of ours the security groups that a new one would get:
// those of the primary ENI, whoever changed them and when, or those of the
// node's ENIConfig, in the subnet that it names. ENIs that others attached keep
// what they have.
func (g *growth) regroup(all []*entry) {
	groups := slices.Sorted(slices.Values(g.groups()))
	if len(groups) == 0 || g.place != nil && g.place.Missing != "" {
		return
	}
	why := "as the primary ENI's"
	if g.place != nil {
		why = "as its ENIConfig says"
	}
	for _, e := range all {
		b := block{regroup, string(e.ID)}
		attached := e.Status == Attaching || e.Status == Attached
		if e.Primary || !attached || e.missing || e.retired || !g.managed(e.ENI) || e.Tags[TagInstance] != g.settings.InstanceID ||
			g.place != nil && e.Subnet != g.place.Subnet || g.busy[b] || g.blocked(b, g.now) {
			continue
		}
		if !slices.Equal(groups, slices.Sorted(slices.Values(e.SecurityGroups))) {
			g.actions = append(g.actions, SetSecurityGroups{ENI: e.ID, SecurityGroups: groups, Reason: why})
		}
	}
}
