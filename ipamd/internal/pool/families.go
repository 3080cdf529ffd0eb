package pool

import (
	"net/netip"
	"slices"
	"time"
)

// Families are the address families that pods get.
type Families int

const (
	// IPv4 gives a pod one IPv4 address.
	IPv4 Families = iota
	// IPv6 gives a pod one IPv6 address, of a /80 of the primary ENI.
	IPv6
	// DualStack gives a pod one address of each, both of one ENI.
	DualStack
)

// String names the families.
func (f Families) String() string { return [...]string{"IPv4", "IPv6", "dual stack"}[f] }

// prefix6Size is how many addresses a delegated IPv6 prefix has. EC2 gives no
// other than /80 ("Assign prefixes to Amazon EC2 network interfaces"), so that
// one is more than a node can ever use: it is never enumerated, and none is
// given back while its ENI stays.
const prefix6Size = 1 << (128 - 80)

// Addresses are those of the assignment, one or two.
func (a Assignment) Addresses() []netip.Addr {
	if a.Second.IsValid() {
		return []netip.Addr{a.Address, a.Second}
	}
	return []netip.Addr{a.Address}
}

// Text is the addresses for the log: one, or two with a space between.
func (a Assignment) Text() string {
	if a.Second.IsValid() {
		return a.Address.String() + " " + a.Second.String()
	}
	return a.Address.String()
}

// choose is what an ENI has to hand out now: an address, or with dual stack
// two. ok is false if it lacks one.
func (p *Pool) choose(e *entry, now time.Time) (address, second netip.Addr, ok bool) {
	switch p.settings.Families {
	case IPv6:
		address = p.next6(e, now)
		return address, second, address.IsValid()
	case DualStack:
		if second = p.next6(e, now); !second.IsValid() {
			return address, second, false
		}
	}
	address = p.best(e, now)
	return address, second, address.IsValid()
}

// next6 is the IPv6 address to hand out: the one after the last, so that one
// that was released comes last of all. A prefix's first address is left out:
// some software takes it for an anycast address of routers.
func (p *Pool) next6(e *entry, now time.Time) netip.Addr {
	if !p.usable(e) {
		return netip.Addr{}
	}
	for _, prefix := range e.Prefixes6 {
		first := prefix.Masked().Addr().Next()
		a := first
		if last, known := p.last[prefix]; known {
			a = last.Next()
		}
		for range len(p.owner) + len(p.cooling) + len(p.inUse) + 1 { // one of so many is free
			if !prefix.Contains(a) {
				a = first
			}
			if _, taken := p.owner[a]; !taken && !p.inUse[a] && !p.cooling[a].After(now) {
				return a
			}
			a = a.Next()
		}
	}
	return netip.Addr{}
}

// has6 says whether an address is of an ENI's IPv6 prefixes.
func (e ENI) has6(a netip.Addr) bool {
	return slices.ContainsFunc(e.Prefixes6, func(p netip.Prefix) bool { return p.Contains(a) })
}

// totalOf and freeOf are how many addresses for pods an ENI has, and how many of
// them could be handed out now, were its device ready. With dual stack they
// are the IPv4 addresses: the others never run out.
func (p *Pool) totalOf(e *entry) int {
	if p.settings.Families == IPv6 {
		return prefix6Size * len(e.Prefixes6)
	}
	return e.size()
}

func (p *Pool) freeOf(e *entry, now time.Time) int {
	if p.settings.Families != IPv6 {
		return p.countFree(e, now)
	}
	if !p.usable(e) {
		return 0
	}
	n := p.totalOf(e)
	for a := range p.owner {
		if e.has6(a) {
			n--
		}
	}
	for a, until := range p.cooling {
		if until.After(now) && e.has6(a) {
			n--
		}
	}
	return n
}

// counts says whether an address is of those that totalOf counts.
func (p *Pool) counts(a netip.Addr) bool { return a.Is6() == (p.settings.Families == IPv6) }

// fill6 asks for the one /80 that an ENI needs: with dual stack each ENI of
// pods, else the primary one.
func (g *growth) fill6(e *entry) {
	if g.settings.Families == IPv4 || len(e.Prefixes6) > 0 || !g.attached(e) || !g.usable(e) ||
		g.settings.Families == IPv6 && !e.Primary {
		return
	}
	if b := (block{assign6, string(e.ID)}); !g.busy[b] && !g.blocked(b, g.now) {
		g.actions = append(g.actions, AssignAddresses{ENI: e.ID, Prefixes6: 1, Reason: "pods get " + g.settings.Families.String()})
	}
}

// prefixes6 is how many IPv6 prefixes a new ENI is to bring.
func (s Settings) prefixes6() int {
	if s.Families == IPv4 {
		return 0
	}
	return 1
}
