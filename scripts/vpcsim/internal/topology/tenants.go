package topology

import "fmt"

// Pattern says how addresses that others hold lie in a subnet.
type Pattern string

const (
	// Scattered is spread evenly: each address is taken from the aligned /28
	// that has most addresses free, so that no /28 stays free while a subnet
	// has addresses.
	Scattered Pattern = "scattered"
	// Packed is from the lowest free address up, so that as many /28s stay
	// free as can.
	Packed Pattern = "packed"
)

// Check refuses a pattern that does not exist.
func (p Pattern) Check(field string) error {
	if p != Scattered && p != Packed {
		return fmt.Errorf("%s %q is unknown: use %q or %q", field, p, Scattered, Packed)
	}
	return nil
}

// Tenants are others who hold IPv4 addresses of a subnet when the simulator
// starts, such as accounts that the subnet is shared with: EC2 shows of them
// only that the addresses are not free.
type Tenants struct {
	Addresses int // that they hold; -1 is all but Free
	Free      int // that they leave, besides those of nodes
	Pattern   Pattern
	Seed      uint64 // of their places; 0 is the topology's
}

type fileTenants struct {
	Addresses *int   `json:"addresses"`
	Free      *int   `json:"free"`
	Pattern   string `json:"pattern"`
	Seed      uint64 `json:"seed"`
}

func (p *parser) tenants(field string, f *fileTenants) Tenants {
	if f == nil {
		return Tenants{Pattern: Scattered}
	}
	out := Tenants{Pattern: Pattern(or(f.Pattern, string(Scattered))), Seed: f.Seed}
	switch {
	case f.Addresses == nil && f.Free == nil:
		p.fail("%s: set addresses, which they hold, or free, which they leave", field)
	case f.Addresses != nil && f.Free != nil:
		p.fail("%s: addresses %d and free %d are both set: set one of them", field, *f.Addresses, *f.Free)
	case f.Free != nil:
		out.Addresses, out.Free = -1, *f.Free
		p.notNegative(field+".free", out.Free)
	default:
		out.Addresses = *f.Addresses
		p.notNegative(field+".addresses", out.Addresses)
	}
	return out
}

func (p *parser) notNegative(field string, count int) {
	if count < 0 {
		p.fail("%s %d: it counts addresses and is 0 or more", field, count)
	}
}

// checkTenants refuses tenants who need more than the nodes leave.
func (t Topology) checkTenants(field string, s Subnet) error {
	if err := s.Tenants.Pattern.Check(field + ".pattern"); err != nil {
		return err
	}
	nodes := 0
	for _, n := range t.Nodes {
		if n.Subnet == s.Name {
			nodes++
		}
	}
	room := Usable(s.CIDR) - nodes
	what, count := "addresses", s.Tenants.Addresses
	if count < 0 {
		what, count = "free", s.Tenants.Free
	}
	if count > room {
		return fmt.Errorf("%s.%s %d: %s has %d addresses besides those of AWS and of %d nodes: use at most these", field, what, count, s.CIDR, room, nodes)
	}
	return nil
}
