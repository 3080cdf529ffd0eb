package topology

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/limits"
)

// Validate refuses the first thing that the simulator could not honour, naming
// the field, its value and what would be right.
func (t Topology) Validate() error {
	checks := []func() error{t.checkAccount, t.checkVPC, t.checkSubnets, t.checkGroups, t.checkNodes, t.checkBalancers, t.checkThrottle, t.checkFaults}
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (t Topology) checkAccount() error {
	switch {
	case !matches(`^[a-z]{2}(-[a-z]+)+-\d$`, t.Region):
		return fmt.Errorf("region %q is not a region name: write it like us-west-2", t.Region)
	case !matches(`^\d{12}$`, t.Account):
		return fmt.Errorf("account %q is not an account id: it has twelve digits", t.Account)
	case t.PageLimit < 1 || t.PageLimit > 1000:
		return fmt.Errorf("pageLimit %d: it lies between 1 and 1000", t.PageLimit)
	case t.InterfaceQuota < len(t.Nodes):
		return fmt.Errorf("interfaceQuota %d: it leaves no room for the primary interfaces of %d nodes", t.InterfaceQuota, len(t.Nodes))
	}
	return nil
}

func (t Topology) checkVPC() error {
	v := t.VPC
	if err := BlockOfVPC("vpc.cidr", v.CIDR); err != nil {
		return err
	}
	for i, c := range v.Secondary {
		if err := BlockOfVPC(fmt.Sprintf("vpc.secondaryCIDRs[%d]", i), c); err != nil {
			return err
		}
	}
	for i, c := range v.IPv6 {
		if !c.IsValid() || !c.Addr().Is6() || c.Bits() > 64 {
			return fmt.Errorf("vpc.ipv6CIDRs[%d] %s: it is an IPv6 block of at least a /64", i, c)
		}
	}
	if !v.PublicPool.IsValid() || !v.PublicPool.Addr().Is4() || v.PublicPool.Bits() > 28 {
		return fmt.Errorf("vpc.publicPool %s: it is an IPv4 block of at least a /28", v.PublicPool)
	}
	return disjoint("vpc", slices.Concat(v.CIDRs(), v.Peers, []netip.Prefix{v.PublicPool}))
}

// BlockOfVPC refuses what cannot be an IPv4 block of a VPC.
func BlockOfVPC(field string, c netip.Prefix) error {
	if !c.IsValid() || !c.Addr().Is4() || c.Bits() < 16 || c.Bits() > 28 {
		return fmt.Errorf("%s %s: an IPv4 block of a VPC is a /16 to a /28", field, c)
	}
	return nil
}

// disjoint refuses blocks with host bits set and blocks that share addresses.
func disjoint(field string, blocks []netip.Prefix) error {
	for i, c := range blocks {
		if c != c.Masked() {
			return fmt.Errorf("%s block %s has host bits set: write %s", field, c, c.Masked())
		}
		for _, o := range blocks[:i] {
			if c.Overlaps(o) {
				return fmt.Errorf("%s block %s overlaps %s: blocks share no address", field, c, o)
			}
		}
	}
	return nil
}

func (t Topology) checkSubnets() error {
	if len(t.Subnets) == 0 {
		return fmt.Errorf("subnets is empty: a VPC needs a subnet")
	}
	var names []string
	var blocks []netip.Prefix
	for _, s := range t.Subnets {
		field := fmt.Sprintf("subnets[%s]", s.Name)
		if err := name(field, s.Name, names); err != nil {
			return err
		}
		if err := t.checkSubnet(field, s); err != nil {
			return err
		}
		names, blocks = append(names, s.Name), append(blocks, s.CIDR)
		if s.IPv6CIDR.IsValid() {
			blocks = append(blocks, s.IPv6CIDR)
		}
	}
	return disjoint("subnets", blocks)
}

func (t Topology) checkSubnet(field string, s Subnet) error {
	switch {
	case !s.CIDR.IsValid() || !s.CIDR.Addr().Is4() || s.CIDR.Bits() < 16 || s.CIDR.Bits() > 28:
		return fmt.Errorf("%s.cidr %s: a subnet is an IPv4 /16 to /28", field, s.CIDR)
	case !within(s.CIDR, t.VPC.CIDRs()):
		return fmt.Errorf("%s.cidr %s lies outside the VPC: choose it within one of %v", field, s.CIDR, t.VPC.CIDRs())
	case s.IPv6CIDR.IsValid() && (!s.IPv6CIDR.Addr().Is6() || s.IPv6CIDR.Bits() != 64):
		return fmt.Errorf("%s.ipv6CIDR %s: an IPv6 subnet is a /64", field, s.IPv6CIDR)
	case s.IPv6CIDR.IsValid() && !within(s.IPv6CIDR, t.VPC.IPv6):
		return fmt.Errorf("%s.ipv6CIDR %s lies outside the VPC: choose it within one of vpc.ipv6CIDRs %v", field, s.IPv6CIDR, t.VPC.IPv6)
	case !matches("^"+regexp.QuoteMeta(t.Region)+"[a-z]$", s.Zone):
		return fmt.Errorf("%s.zone %q is not in region %s: write it like %sa", field, s.Zone, t.Region, t.Region)
	case !slices.Contains([]string{"igw", "nat", "none"}, s.Egress):
		return fmt.Errorf(`%s.egress %q is unknown: use "igw", "nat" or "none"`, field, s.Egress)
	}
	return t.checkTenants(field+".tenants", s)
}

func (t Topology) checkGroups() error {
	names := []string{"default"}
	for _, g := range t.SecurityGroups {
		if err := name(fmt.Sprintf("securityGroups[%s]", g.Name), g.Name, names); err != nil {
			return err
		}
		names = append(names, g.Name)
	}
	return nil
}

func (t Topology) checkNodes() error {
	types, err := t.Types()
	if err != nil {
		return err
	}
	var names []string
	for _, n := range t.Nodes {
		field := fmt.Sprintf("nodes[%s]", n.Name)
		if err := name(field, n.Name, names); err != nil {
			return err
		}
		names = append(names, n.Name)
		if _, ok := types[n.Type]; !ok {
			return fmt.Errorf("%s.type %q is not an instance type: use one like m5.large, or describe it in instanceTypes", field, n.Type)
		}
		if n.Metadata.HopLimit < 1 || n.Metadata.HopLimit > 64 {
			return fmt.Errorf("%s.metadata.hopLimit %d: it lies between 1 and 64", field, n.Metadata.HopLimit)
		}
		if err := t.checkPlace(field, n); err != nil {
			return err
		}
	}
	return t.checkAddresses()
}

func (t Topology) checkPlace(field string, n Node) error {
	i := slices.IndexFunc(t.Subnets, func(s Subnet) bool { return s.Name == n.Subnet })
	if i < 0 {
		return fmt.Errorf("%s.subnet %q is not in subnets: name one of them", field, n.Subnet)
	}
	for _, g := range n.SecurityGroups {
		if g != "default" && !slices.ContainsFunc(t.SecurityGroups, func(s SecurityGroup) bool { return s.Name == g }) {
			return fmt.Errorf("%s.securityGroups: %q is not in securityGroups: name one of them or \"default\"", field, g)
		}
	}
	cidr := t.Subnets[i].CIDR
	if n.Address.IsValid() && (!cidr.Contains(n.Address) || Reserved(cidr, n.Address)) {
		return fmt.Errorf("%s.address %s: choose it within %s, not among its first four or its last", field, n.Address, cidr)
	}
	return nil
}

func (t Topology) checkAddresses() error {
	taken := map[netip.Addr]string{}
	public := 0
	for _, n := range t.Nodes {
		if other, ok := taken[n.Address]; ok && n.Address.IsValid() {
			return fmt.Errorf("nodes[%s].address %s is that of node %s: give each node its own", n.Name, n.Address, other)
		}
		taken[n.Address] = n.Name
		if n.PublicIP {
			public++
		}
	}
	for _, b := range t.LoadBalancers {
		if b.Scheme == InternetFacing {
			public += len(b.Subnets)
		}
	}
	if room := 1<<(32-t.VPC.PublicPool.Bits()) - 11; public > room {
		return fmt.Errorf("vpc.publicPool %s has room for %d public addresses, %d are wanted: choose a larger block", t.VPC.PublicPool, room, public)
	}
	return nil
}

func (t Topology) checkThrottle() error {
	for action, b := range t.Throttle.Buckets {
		if !slices.Contains(fault.Actions(), action) {
			return fmt.Errorf("throttle.buckets.%s is not an EC2 action: name one of %v", action, fault.Actions())
		}
		if !(b.Size >= 1) || !(b.Refill >= 0) {
			return fmt.Errorf("throttle.buckets.%s {size: %v, refill: %v}: size is 1 or more, refill 0 or more", action, b.Size, b.Refill)
		}
	}
	return nil
}

func (t Topology) checkFaults() error {
	for i, r := range t.Faults {
		if err := r.Validate(); err != nil {
			return fmt.Errorf("faults[%d]: %w", i, err)
		}
	}
	return nil
}

// Types is the table of instance types that exist in this topology.
func (t Topology) Types() (map[string]limits.Type, error) {
	table, err := limits.Table()
	if err != nil {
		return nil, err
	}
	for name, it := range t.InstanceTypes {
		if it.IPv4 < 1 || len(it.Cards) == 0 {
			return nil, fmt.Errorf("instanceTypes.%s: ipv4 %d and %d cards: a type has at least one address and one card", name, it.IPv4, len(it.Cards))
		}
		table[name] = it
	}
	return table, nil
}

// Reserved reports whether AWS keeps the address of an IPv4 subnet to itself:
// the first four and the last.
func Reserved(cidr netip.Prefix, a netip.Addr) bool {
	first := cidr.Masked().Addr()
	for range 4 {
		if a == first {
			return true
		}
		first = first.Next()
	}
	return a == last(cidr)
}

// Usable is how many addresses of an IPv4 subnet can be handed out.
func Usable(cidr netip.Prefix) int { return 1<<(32-cidr.Bits()) - 5 }

func last(cidr netip.Prefix) netip.Addr {
	b := cidr.Masked().Addr().AsSlice()
	for bit := cidr.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func within(c netip.Prefix, blocks []netip.Prefix) bool {
	return slices.ContainsFunc(blocks, func(b netip.Prefix) bool {
		return b.Contains(c.Addr()) && b.Bits() <= c.Bits()
	})
}

func name(field, text string, taken []string) error {
	if !matches(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`, text) {
		return fmt.Errorf("%s.name %q: a name has 1 to 32 lower-case letters, digits and dashes", field, text)
	}
	if slices.Contains(taken, text) {
		return fmt.Errorf("%s.name %q is taken: names are unique", field, text)
	}
	return nil
}

func matches(pattern, text string) bool { return regexp.MustCompile(pattern).MatchString(text) }
