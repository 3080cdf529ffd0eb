package pool

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"
)

// Tags of subnets by which they are discovered (amazon-vpc-cni-k8s,
// docs/subnet-discovery.md).
const (
	// TagRole with "0" keeps a subnet from pods, also that of the primary ENI;
	// any other value has pods' ENIs made in it.
	TagRole = "kubernetes.io/role/cni"
	// TagSubnetCluster begins the tags of a subnet that is only for the clusters
	// that these name.
	TagSubnetCluster = "cni.networking.k8s.aws/cluster/"
)

// Subnet is a subnet of the node's VPC and zone.
type Subnet struct {
	ID   SubnetID
	Free int // IPv4 addresses
	Tags map[string]string
}

// zone is what is known of the subnets of the node's VPC and zone.
type zone struct {
	subnets []Subnet
	at      time.Time // of the description; what was asked for since is counted down
	next    time.Time // when they may be described again; zero before the first time
	wanted  bool      // the last plan would have known them better
	failure *Failure  // of the last description; nil if there was one
}

// excluded says that no pod may have an address of the subnet.
func (s Subnet) excluded() bool { return s.Tags[TagRole] == "0" }

// offered says that ENIs of the cluster's pods may be made in the subnet, though
// it is not the primary ENI's.
func (s Subnet) offered(cluster string) bool {
	if role, tagged := s.Tags[TagRole]; !tagged || role == "0" {
		return false
	}
	if _, named := s.Tags[TagSubnetCluster+cluster]; named && cluster != "" {
		return true
	}
	for tag := range s.Tags {
		if strings.HasPrefix(tag, TagSubnetCluster) {
			return false
		}
	}
	return true
}

// How old the knowledge of subnets may get before they are described again, if
// another ENI is to be created; if none of them has room; and after a
// description that failed for want of a permission. Nothing is ever described
// because time passes.
const (
	subnetsOld      = 10 * time.Minute
	subnetsUseless  = 2 * time.Minute
	subnetsRetry    = time.Minute
	subnetsRefusing = 10 * time.Minute
)

// AskSubnets says whether the subnets are to be described now, and counts on the
// caller to do it.
func (p *Pool) AskSubnets(now time.Time) bool {
	due := p.discovers() && (p.zone.next.IsZero() || p.zone.wanted && !now.Before(p.zone.next))
	if due {
		p.zone.next = now.Add(subnetsRetry)
	}
	return due
}

// SetSubnets tells of all subnets of the node's VPC and zone.
func (p *Pool) SetSubnets(subnets []Subnet, now time.Time) {
	p.zone.subnets, p.zone.at, p.zone.next, p.zone.failure = slices.Clone(subnets), now, now.Add(subnetsUseless), nil
}

// SubnetsFailed tells that the subnets could not be described. What was known of
// them stays; if nothing was, ENIs are made in the primary one's subnet.
func (p *Pool) SubnetsFailed(f *Failure, now time.Time) {
	if p.zone.failure = f; f.Class == Unauthorized {
		p.zone.next = now.Add(subnetsRefusing)
	}
}

// SubnetsUnknown is why the subnets are not known; nil if they are, or need not
// be.
func (p *Pool) SubnetsUnknown() *Failure {
	if len(p.zone.subnets) > 0 {
		return nil
	}
	return p.zone.failure
}

func (p *Pool) discovers() bool { return p.settings.Discovery && p.place == nil }

// forPods says whether an ENI's addresses are ours, and its subnet not kept from
// pods.
func (p *Pool) forPods(e *entry) bool { return p.managed(e.ENI) && !p.excluded(e.Subnet) }

func (p *Pool) excluded(id SubnetID) bool {
	return p.discovers() && slices.ContainsFunc(p.zone.subnets, func(s Subnet) bool { return s.ID == id && s.excluded() })
}

// candidates are the subnets in which ENIs of pods may be made: the one that was
// told, or else that of the primary ENI and those that are discovered.
func (p *Pool) candidates() []Subnet {
	primary := p.primary()
	switch {
	case primary == nil, p.place != nil && p.place.Missing != "":
		return nil
	case p.place != nil:
		return []Subnet{{ID: p.place.Subnet}}
	case !p.discovers() || len(p.zone.subnets) == 0:
		return []Subnet{{ID: primary.Subnet}}
	}
	var out []Subnet
	for _, s := range p.zone.subnets {
		if s.offered(p.settings.ClusterName) || s.ID == primary.Subnet && !s.excluded() {
			out = append(out, s)
		}
	}
	return out
}

// groups are the security groups of new ENIs.
func (p *Pool) groups() []string {
	if p.place != nil && len(p.place.SecurityGroups) > 0 {
		return p.place.SecurityGroups
	}
	if primary := p.primary(); primary != nil {
		return primary.SecurityGroups
	}
	return nil
}

// subnet is where to create another ENI: of the subnets that nothing keeps from
// it, one that has several addresses before one that gives single ones, one that
// has prefixes before one that has none, and of those one that has most room. It
// is "" if there is none now.
func (g *growth) subnet() SubnetID {
	all := slices.DeleteFunc(g.candidates(), func(s Subnet) bool { return g.blocked(block{create, string(s.ID)}, g.now) })
	for _, better := range []func(Subnet) bool{
		func(s Subnet) bool { return !g.isScarce(s.ID) },
		func(s Subnet) bool { return g.prefixes(s.ID) == g.settings.Prefixes },
	} {
		if slices.ContainsFunc(all, better) {
			all = slices.DeleteFunc(all, func(s Subnet) bool { return !better(s) })
		}
	}
	if len(all) == 0 {
		return ""
	}
	return g.roomiest(all).ID
}

// roomiest is a subnet that has most room, or a tenth less: of several such ones
// nodes that start together take different ones.
func (g *growth) roomiest(all []Subnet) Subnet {
	most := 0
	for _, s := range all {
		most = max(most, g.left(s))
	}
	best, rank := Subnet{}, uint64(0)
	for _, s := range all {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(g.settings.InstanceID + string(s.ID)))
		if r := hash.Sum64(); g.left(s)*10 >= most*9 && (best.ID == "" || r > rank) {
			best, rank = s, r
		}
	}
	return best
}

// left is how many addresses a subnet has, less those that were asked for.
func (g *growth) left(s Subnet) int {
	left := s.Free
	for _, a := range slices.Concat(g.flying, g.actions) {
		if g.subnetOf(a) == s.ID {
			left -= takes(a)
		}
	}
	return max(0, left)
}

// takes is how many addresses of its subnet an action asks for.
func takes(action Action) int {
	switch a := action.(type) {
	case CreateENI:
		return 1 + a.Addresses + a.Prefixes*prefixSize
	case AssignAddresses:
		return a.Count + a.Prefixes*prefixSize
	}
	return 0
}

// count notes how many addresses of the subnet of an action are free after it:
// so many less than before, or if they were too few, at most so many.
func (p *Pool) count(action Action, given bool) {
	for i := range p.zone.subnets {
		s := &p.zone.subnets[i]
		switch n := takes(action); {
		case n == 0 || s.ID != p.subnetOf(action):
		case given:
			s.Free = max(0, s.Free-n)
		default:
			s.Free = min(s.Free, n-1)
		}
	}
}

// elsewhere says whether a subnet has no addresses to spare and another one has.
func (g *growth) elsewhere(id SubnetID) bool {
	if !g.full(id) && !g.isScarce(id) {
		return false
	}
	other := g.subnet()
	return other != "" && other != id && !g.isScarce(other)
}

// later counts on slots of an ENI that is on its way: it is asked for more when
// it is there. It is not if another subnet has what its own lacks.
func (g *growth) later(subnet SubnetID, slots int) {
	if !g.elsewhere(subnet) {
		g.coming += slots * g.perSlot(subnet)
	}
}

// barred says that EC2 refused to create ENIs for a reason that is none of the
// subnet's: another one would meet it as well.
func (g *growth) barred() bool {
	for b, f := range g.blocks {
		if b.kind == create && f.until.After(g.now) && f.failure.Class != SubnetFull && f.failure.Class != NotFound && f.failure.Class != Refused {
			return true
		}
	}
	return false
}

// drain gives back what is left of ENIs in subnets that are kept from pods: what
// is free, and the ENI if no pod has any of it.
func (g *growth) drain(all []*entry) {
	if g.keepAll || g.settings.ReleaseAfter <= 0 {
		return
	}
	for _, e := range all {
		b := block{release, string(e.ID)}
		if !g.ours(e) || e.retired || !g.excluded(e.Subnet) || g.busy[b] || g.blocked(b, g.now) {
			continue
		}
		const why = "its subnet is kept from pods by a tag"
		if g.detachable(e) && !g.cordoned {
			g.actions = append(g.actions, DetachENI{ENI: e.ID, AttachmentID: e.AttachmentID, Reason: why})
		} else {
			g.giveBack(e, e.size(), why)
		}
	}
}

// roomLeft says whether an ENI for pods has room for more addresses.
func (p *Pool) roomLeft() bool {
	for _, e := range p.enis {
		if p.forPods(e) && e.Status != Available && p.room(e) > 0 {
			return true
		}
	}
	return false
}
