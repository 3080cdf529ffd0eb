package topology

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// CheckBalancer refuses a complete balancer that the simulator could not
// honour, naming the field, its value and what would be right.
func (t Topology) CheckBalancer(b LoadBalancer) error {
	field := fmt.Sprintf("loadBalancers[%s]", b.Name)
	if err := name(field, b.Name, nil); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{NLB, ALB}, b.Type):
		return fmt.Errorf("%s.type %q is unknown: use %q or %q", field, b.Type, NLB, ALB)
	case !slices.Contains([]string{Internal, InternetFacing}, b.Scheme):
		return fmt.Errorf("%s.scheme %q is unknown: use %q or %q", field, b.Scheme, Internal, InternetFacing)
	case b.Type == ALB && !*b.CrossZone:
		return fmt.Errorf("%s.crossZone false: an %s always sends to all zones", field, ALB)
	case len(b.Listeners) == 0:
		return fmt.Errorf("%s.listeners is empty: give it a port to listen on", field)
	}
	if err := t.checkZones(field, b); err != nil {
		return err
	}
	if err := b.checkListeners(field); err != nil {
		return err
	}
	var names []string
	for _, g := range b.TargetGroups {
		of := fmt.Sprintf("%s.targetGroups[%s]", field, g.Name)
		if err := name(of, g.Name, names); err != nil {
			return err
		}
		if err := g.check(of, b.Type); err != nil {
			return err
		}
		for _, m := range g.Targets {
			if err := t.CheckTarget(g, m); err != nil {
				return fmt.Errorf("%s: %w", of, err)
			}
		}
		names = append(names, g.Name)
	}
	return nil
}

func (t Topology) checkZones(field string, b LoadBalancer) error {
	zones := map[string]string{}
	for _, n := range b.Subnets {
		i := slices.IndexFunc(t.Subnets, func(s Subnet) bool { return s.Name == n })
		if i < 0 {
			return fmt.Errorf("%s.subnets: %q is not in subnets: name one of them", field, n)
		}
		zone := t.Subnets[i].Zone
		if other, ok := zones[zone]; ok {
			return fmt.Errorf("%s.subnets: %q and %q are both in zone %s: name one subnet of each zone", field, other, n, zone)
		}
		zones[zone] = n
	}
	return nil
}

func (b LoadBalancer) checkListeners(field string) error {
	protocols := []string{"TCP", "UDP"}
	if b.Type == ALB {
		protocols = []string{"HTTP"}
	}
	taken := map[string]bool{}
	for _, l := range b.Listeners {
		key := fmt.Sprintf("%s:%d", l.Protocol, l.Port)
		i := slices.IndexFunc(b.TargetGroups, func(g TargetGroup) bool { return g.Name == l.TargetGroup })
		switch {
		case !slices.Contains(protocols, l.Protocol):
			return fmt.Errorf("%s.listeners: protocol %q: an %s has %s", field, l.Protocol, b.Type, strings.Join(protocols, " and "))
		case l.Port == 0:
			return fmt.Errorf("%s.listeners: port 0: it lies between 1 and 65535", field)
		case taken[key]:
			return fmt.Errorf("%s.listeners: %s is there twice: listeners are unique", field, key)
		case i < 0 && l.TargetGroup == "" && len(l.Rules) > 0:
			// All that the rules do not name is answered with a 404.
		case i < 0:
			return fmt.Errorf("%s.listeners: %s sends to target group %q, which is not in targetGroups: name one of them", field, key, l.TargetGroup)
		case b.TargetGroups[i].Protocol != l.Protocol:
			return fmt.Errorf("%s.listeners: %s sends to target group %q of protocol %s: both have one protocol", field, key, l.TargetGroup, b.TargetGroups[i].Protocol)
		}
		if err := b.checkRules(field, l); err != nil {
			return err
		}
		taken[key] = true
	}
	return nil
}

func (g TargetGroup) check(field, balancer string) error {
	always := balancer == NLB && g.Protocol == "UDP"
	switch {
	case !slices.Contains([]string{TargetInstance, TargetIP}, g.TargetType):
		return fmt.Errorf("%s.targetType %q is unknown: use %q or %q", field, g.TargetType, TargetInstance, TargetIP)
	case g.Port == 0:
		return fmt.Errorf("%s.port 0: it lies between 1 and 65535", field)
	case always && !*g.PreserveClientIP:
		return fmt.Errorf("%s.preserveClientIP false: it cannot be turned off for UDP", field)
	case balancer == ALB && *g.PreserveClientIP:
		return fmt.Errorf("%s.preserveClientIP true: an %s names the client in X-Forwarded-For", field, ALB)
	}
	return g.HealthCheck.check(field + ".healthCheck")
}

func (h HealthCheck) check(field string) error {
	switch {
	case !slices.Contains([]string{"TCP", "HTTP"}, h.Protocol):
		return fmt.Errorf("%s.protocol %q is unknown: use TCP or HTTP", field, h.Protocol)
	case !strings.HasPrefix(h.Path, "/"):
		return fmt.Errorf("%s.path %q: it begins with /", field, h.Path)
	case h.HealthyThreshold < 1 || h.HealthyThreshold > 10:
		return fmt.Errorf("%s.healthyThreshold %d: it lies between 1 and 10", field, h.HealthyThreshold)
	case h.UnhealthyThreshold < 1 || h.UnhealthyThreshold > 10:
		return fmt.Errorf("%s.unhealthyThreshold %d: it lies between 1 and 10", field, h.UnhealthyThreshold)
	}
	if _, err := h.Accepts(0); err != nil {
		return fmt.Errorf("%s.%w", field, err)
	}
	return nil
}

// Accepts reports whether an HTTP status is one that the check asks for.
func (h HealthCheck) Accepts(status int) (bool, error) {
	found := false
	for part := range strings.SplitSeq(h.Codes, ",") {
		low, high, spread := strings.Cut(part, "-")
		if !spread {
			high = low
		}
		from, err1 := strconv.Atoi(low)
		to, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || from < 200 || to > 499 || from > to {
			return false, fmt.Errorf("codes %q: write them like 200-299,404, between 200 and 499", h.Codes)
		}
		found = found || status >= from && status <= to
	}
	return found, nil
}

// targetBlocks are those that ip targets may be in, besides the VPC's own.
var targetBlocks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
}

// CheckTarget refuses what cannot be a target of a complete group.
func (t Topology) CheckTarget(g TargetGroup, m Target) error {
	if g.TargetType == TargetInstance {
		switch {
		case m.Address.IsValid():
			return fmt.Errorf("target address %s: the group has instances as targets: name a node", m.Address)
		case !slices.ContainsFunc(t.Nodes, func(n Node) bool { return n.Name == m.Node }):
			return fmt.Errorf("target node %q is not in nodes: name one of them", m.Node)
		}
		return nil
	}
	switch {
	case m.Node != "":
		return fmt.Errorf("target node %q: the group has addresses as targets: give an address", m.Node)
	case !m.Address.Is4() || !within(netip.PrefixFrom(m.Address, 32), slices.Concat(t.VPC.CIDRs(), targetBlocks)):
		return fmt.Errorf("target address %s: use an IPv4 address of the VPC, or a private one", m.Address)
	}
	return nil
}

func (t Topology) checkBalancers() error {
	var names []string
	for _, b := range t.LoadBalancers {
		if err := name(fmt.Sprintf("loadBalancers[%s]", b.Name), b.Name, names); err != nil {
			return err
		}
		if err := t.CheckBalancer(b); err != nil {
			return err
		}
		names = append(names, b.Name)
	}
	return nil
}

// SubnetNames lists the names of the subnets.
func (t Topology) SubnetNames() []string {
	names := make([]string, 0, len(t.Subnets))
	for _, s := range t.Subnets {
		names = append(names, s.Name)
	}
	return names
}
