// Package pool is the book of a node's ENIs and addresses, and the plan of
// what to ask of EC2. It is pure: what EC2 shows, what pods ask and what time
// it is go in; assignments, refusals with a cause, and actions with a reason
// come out.
//
// Invariants, held whatever EC2 shows: an address is held by at most one
// attachment; one that is held is never dropped, also when a describe does not
// show it; one that was released is not handed out before its cool-down is
// over; an ENI's own address is never a pod's; no plan goes over the limits of
// the instance type.
//
// Delegated prefixes share an ENI's slots with single addresses, and their
// addresses are handed out as those are. IPv6 addresses are of delegated /80
// prefixes, each more than a node can use. Nothing is given back to the subnet
// that a pod has, that cools down, or that an answer not yet here may be about.
package pool

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Settings are fixed for the life of a Pool.
type Settings struct {
	Limits         Limits
	MaxENIs        int           // a limit of the operator's own, 0 for none
	CoolDown       time.Duration // from release to the next assignment
	Headroom       int           // free addresses to hold beyond what is asked for, if no target is set
	Targets        Targets
	Families       Families      // that pods get; with IPv6 alone Targets and Headroom mean nothing
	Prefixes       bool          // ask for delegated IPv4 prefixes, on subnets that have some
	ReleaseAfter   time.Duration // for how long there must be too much before it is given back, and how old an ENI must be; 0: nothing ever is
	ManageUntagged bool          // ENIs without our tag are ours to use
	InstanceID     string
	// Discovery: ENIs are made also in subnets that are tagged for pods of the
	// cluster, and in none that is kept from them. See TagRole.
	Discovery   bool
	ClusterName string // empty: subnets that are for certain clusters are not ours
}

// Tags by which ENIs are told apart (amazon-vpc-cni-k8s, docs/eni-and-ip-target.md).
const (
	TagCluster  = "cluster.k8s.amazonaws.com/name"
	TagInstance = "node.k8s.amazonaws.com/instance_id"
	TagCreated  = "node.k8s.amazonaws.com/createdAt"
	TagNoManage = "node.k8s.amazonaws.com/no_manage"
)

// Description is that of the ENIs that are made for an instance, as aws-node's.
func Description(instance string) string { return "aws-K8S-" + instance }

// recent is how long EC2's describes may lag behind its own answers: what an
// answer said is believed for so long against a describe that lacks it.
const recent = 30 * time.Second

// Pool is the book. It is not safe for concurrent use.
type Pool struct {
	settings Settings
	enis     map[ENIID]*entry
	departed map[ENIID]*entry // that describes do not show any more
	held     map[Key]Assignment
	owner    map[netip.Addr]Key
	last     map[netip.Prefix]netip.Addr // of an IPv6 prefix, the address that was handed out last
	cooling  map[netip.Addr]time.Time    // when the address may be handed out again
	rested   map[netip.Addr]time.Time    // when the last cool-down of a free address ended
	limits   map[netip.Addr]time.Time    // until when a cool-down may be prolonged, of those that were
	flying   []Action                    // calls that EC2 has not answered
	unsure   []CreateENI                 // calls whose outcome is unknown; repeating them is safe
	blocks   map[block]failed
	scarce   map[SubnetID]time.Time // until when a subnet is asked for single addresses, one at a time
	// fragmented is until when a subnet is not asked for prefixes.
	fragmented map[SubnetID]time.Time
	leaving    map[netip.Addr]bool // on their way back to the subnet
	surplus    time.Time           // since when there is too much; zero if there is not
	cordoned   bool                // see SetCordoned
	scheduled  int                 // pods that come to this node and have no address
	place      *Place              // where new ENIs are made; nil: as the primary one
	inUse      map[netip.Addr]bool // free addresses that the node uses itself
	keepAll    bool                // nothing is given back
	observed   bool                // EC2 was described at least once
	zone       zone                // the subnets that there are
	tokens     int                 // CreateENI actions planned, for idempotency tokens
}

// entry is an ENI with what the book knows beyond EC2's description.
type entry struct {
	ENI
	ready   bool                     // its device is there and configured
	since   time.Time                // of ready, or of not being so
	missing bool                     // the last describe did not show it
	changed time.Time                // when an answer last changed its attachment
	last    int                      // device number that it had when it was attached; 0 if it never was
	learned map[netip.Addr]time.Time // addresses known from an answer, not yet from a describe
	// learnedPrefixes is the same for prefixes; gone and gonePrefixes are those
	// that were given back lately, which a describe may still show.
	learnedPrefixes, learnedPrefixes6 map[netip.Prefix]time.Time
	gone                              map[netip.Addr]time.Time
	gonePrefixes                      map[netip.Prefix]time.Time
	regrouped                         time.Time                  // when an answer last changed its security groups
	former                            map[netip.Prefix]time.Time // what it had, and since when describes do not show it
	doubted                           time.Time                  // when addresses were asked for it with unknown outcome; zero if they were not
	retired                           bool                       // it was, or is being, detached because nobody needs it
}

// deviceGrace is how long the addresses of an attached ENI are counted on while
// its device has not appeared. It takes 5 s as a rule; after this time other
// ENIs are asked for more.
const deviceGrace = 15 * time.Second

// New returns an empty book.
func New(s Settings) *Pool {
	return &Pool{
		settings: s, enis: map[ENIID]*entry{}, departed: map[ENIID]*entry{}, held: map[Key]Assignment{}, owner: map[netip.Addr]Key{},
		last: map[netip.Prefix]netip.Addr{}, cooling: map[netip.Addr]time.Time{}, rested: map[netip.Addr]time.Time{}, limits: map[netip.Addr]time.Time{}, blocks: map[block]failed{},
		scarce: map[SubnetID]time.Time{}, fragmented: map[SubnetID]time.Time{}, leaving: map[netip.Addr]bool{},
	}
}

// Expect says how many pods were scheduled to this node that have no address:
// they are planned for before they ask.
func (p *Pool) Expect(pods int) { p.scheduled = max(0, pods) }

// SetInUse says which addresses are in use, though nobody was assigned them: they
// are handed out to nobody, and not given back.
func (p *Pool) SetInUse(addresses []netip.Addr) {
	p.inUse = map[netip.Addr]bool{}
	for _, a := range addresses {
		p.inUse[a] = true
	}
}

// KeepAll says that no address and no ENI is to be given back, also none that is
// attached to nothing.
func (p *Pool) KeepAll(on bool) { p.keepAll = on }

// Place is where the ENIs of pods are made, apart from the primary one: with
// custom networking no pod has an address of that.
type Place struct {
	Subnet         SubnetID
	SecurityGroups []string // none: those of the primary ENI
	// Missing says why it is not known where; no ENI is made then.
	Missing string
}

// SetPlace says where new ENIs are made; nil: in the subnet of the primary one,
// which then serves pods as well. Pods keep what they have.
func (p *Pool) SetPlace(place *Place) { p.place = place }

// Observed says whether EC2 was described at least once.
func (p *Pool) Observed() bool { return p.observed }

// ENIs returns what is known of the instance's ENIs, by device number.
func (p *Pool) ENIs() []ENI {
	var out []ENI
	for _, e := range p.sorted() {
		eni := e.ENI
		eni.Managed, eni.Missing, eni.Asked = p.managed(eni), e.missing, !e.doubted.IsZero() || p.asking(e)
		out = append(out, eni)
	}
	return out
}

func (p *Pool) sorted() []*entry {
	return slices.SortedFunc(maps.Values(p.enis), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(a.Card, b.Card), cmp.Compare(a.Device, b.Device), cmp.Compare(a.ID, b.ID))
	})
}

// Assignments returns what is held, by address.
func (p *Pool) Assignments() []Assignment {
	return slices.SortedFunc(maps.Values(p.held), func(a, b Assignment) int { return a.Address.Compare(b.Address) })
}

// Cooling returns the released addresses and when each may be handed out again.
func (p *Pool) Cooling() map[netip.Addr]time.Time { return maps.Clone(p.cooling) }

// Expire forgets cool-downs that are over, and returns their addresses.
func (p *Pool) Expire(now time.Time) []netip.Addr {
	var over []netip.Addr
	for a, until := range p.cooling {
		if !until.After(now) {
			over = append(over, a)
			p.rested[a] = until
			delete(p.cooling, a)
			delete(p.limits, a)
		}
	}
	return over
}

// longestRest bounds a cool-down that is prolonged, and lookAgain is by how much
// it is each time.
const (
	longestRest = 5 * time.Minute
	lookAgain   = 2 * time.Second
)

// Prolong makes addresses whose cool-down is over rest on while somebody still
// sends to them, named says, 5 minutes in all.
func (p *Pool) Prolong(named func(netip.Addr) bool, now time.Time) {
	for a, until := range p.cooling {
		if until.After(now) {
			continue
		}
		limit, known := p.limits[a]
		if !known {
			limit = until.Add(longestRest - p.settings.CoolDown)
		}
		if limit.After(now) && named(a) {
			p.cooling[a], p.limits[a] = now.Add(min(lookAgain, limit.Sub(now))), limit
		}
	}
}

// SetReady says which ENIs' devices are there and configured.
func (p *Pool) SetReady(ready map[ENIID]bool, now time.Time) (changed bool) {
	for id, e := range p.enis {
		if e.ready != ready[id] {
			e.ready, e.since, changed = ready[id], now, true
		}
	}
	return changed
}

// Count is the pool in numbers. With dual stack the addresses are the IPv4 ones.
type Count struct {
	ENIs, MaxENIs, MaxAddresses    int
	Total, Assigned, Cooling, Free int // addresses
	Quarantined                    int // addresses that nobody here asked for, of Total
	Prefixes                       int // delegated ones, of both families
	AssignedByENI, TotalByENI      map[ENIID]int
	ReadyENIs                      map[ENIID]bool
}

// Count counts.
func (p *Pool) Count(now time.Time) Count {
	c := Count{MaxENIs: p.maxENIs(), MaxAddresses: p.capacity(), AssignedByENI: map[ENIID]int{}, TotalByENI: map[ENIID]int{}, ReadyENIs: map[ENIID]bool{}}
	for id, e := range p.enis {
		if !p.managed(e.ENI) {
			continue
		}
		c.ENIs++
		c.TotalByENI[id] = p.totalOf(e)
		c.ReadyENIs[id] = e.ready
		c.Total += p.totalOf(e)
		c.Prefixes += len(e.Prefixes) + len(e.Prefixes6)
		c.Free += p.freeOf(e, now)
		c.Quarantined += e.inQuarantine()
	}
	for _, a := range p.held {
		c.AssignedByENI[a.ENI]++
		c.Assigned++
	}
	for a, until := range p.cooling {
		if until.After(now) && p.counts(a) && p.has(a) {
			c.Cooling++
		}
	}
	return c
}

// has says whether an address is one of a known ENI: one that was given back
// cools down, too.
func (p *Pool) has(a netip.Addr) bool {
	for _, e := range p.enis {
		if e.Has(a) {
			return true
		}
	}
	return false
}

func (p *Pool) maxENIs() int {
	if m := p.settings.MaxENIs; m > 0 {
		return min(m, p.settings.Limits.ENIs)
	}
	return p.settings.Limits.ENIs
}

// capacity is how many addresses pods can have on this node, after what others'
// ENIs and prefixes take of it.
func (p *Pool) capacity() int {
	if p.settings.Families == IPv6 {
		return prefix6Size
	}
	slots, sum, held := p.maxENIs(), 0, map[ENIID]int{}
	for _, a := range p.held {
		held[a.ENI]++
	}
	for _, e := range p.enis {
		if e.Card != 0 || e.Status == Available {
			continue
		}
		slots--
		switch {
		case p.forPods(e):
			sum += p.room(e)*p.unit() + e.size() - e.inQuarantine()
		case p.excluded(e.Subnet):
			sum += held[e.ID]
		}
	}
	return sum + max(slots, 0)*p.settings.Limits.slots()*p.unit()
}

// unit is how many addresses a slot of an ENI holds at best.
func (p *Pool) unit() int {
	if p.settings.Prefixes {
		return prefixSize
	}
	return 1
}

// room is how many more addresses or prefixes an ENI can have.
func (p *Pool) room(e *entry) int {
	return max(0, p.settings.Limits.slots()-len(e.Addresses)-len(e.Prefixes))
}

// managed says whether an ENI's addresses are ours to hand out. ENIs of further
// network cards, and those of special types (trunk, efa-only), carry no pods.
func (p *Pool) managed(e ENI) bool {
	switch {
	case e.Primary:
		return p.place == nil
	case e.Card != 0 || (e.Type != "" && e.Type != "interface" && e.Type != "efa"):
		return false
	case e.Tags[TagNoManage] == "true":
		return false
	}
	return p.settings.ManageUntagged || e.Tags[TagInstance] == p.settings.InstanceID
}

// countFree is how many IPv4 addresses of an ENI could be handed out now, were
// its device ready.
func (p *Pool) countFree(e *entry, now time.Time) int {
	n := 0
	p.eachFree(e, now, func(netip.Addr) { n++ })
	return n
}

// usable says whether pods may get addresses of an ENI.
func (p *Pool) usable(e *entry) bool { return p.forPods(e) && !e.missing && !e.retired }

func (p *Pool) eachFree(e *entry, now time.Time, do func(netip.Addr)) {
	if !p.usable(e) {
		return
	}
	p.eachIdle(e, now, do)
}

// eachIdle are the addresses of an ENI that no pod has or had a moment ago.
func (p *Pool) eachIdle(e *entry, now time.Time, do func(netip.Addr)) {
	for a := range e.all() {
		if _, taken := p.owner[a]; !taken && !p.leaving[a] && !p.cooling[a].After(now) && !e.quarantined(a) && !p.inUse[a] {
			do(a)
		}
	}
}

// lastUse is when the last cool-down of a free address ended; zero if it was
// never handed out.
func (p *Pool) lastUse(a netip.Addr) time.Time {
	if until, cooling := p.cooling[a]; cooling {
		return until
	}
	return p.rested[a]
}
