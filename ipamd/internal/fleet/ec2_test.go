package fleet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// account is EC2 as all nodes of an account share it: its buckets, and a count
// of what they served and refused.
type account struct {
	*clock
	random    *rand.Rand
	buckets   *sim.Buckets
	calls     map[string]int
	throttled map[string]int
	next      uint32 // address, or block of addresses, to give out
}

func newAccount(c *clock, seed uint64) (*account, error) {
	buckets, err := sim.NewBuckets("")
	return &account{clock: c, random: rand.New(rand.NewPCG(seed, 1)), buckets: buckets, calls: map[string]int{}, throttled: map[string]int{}, next: 10 << 24}, err
}

// paged is a Describe with a filter or pages, byID one that names ids alone.
var (
	paged = sim.Kind{Filtered: true}
	byID  = sim.Kind{ByID: true}
)

// took is how long calls take, from and to, as the simulator's
// profile "realistic" has them.
var took = map[string][2]time.Duration{
	"CreateNetworkInterface":   {150 * time.Millisecond, 300 * time.Millisecond},
	"AttachNetworkInterface":   {400 * time.Millisecond, 700 * time.Millisecond},
	"AssignPrivateIpAddresses": {200 * time.Millisecond, 450 * time.Millisecond},
	"":                         {50 * time.Millisecond, 150 * time.Millisecond},
}

// call serves one request, and tells when it is answered whether it was
// throttled. What it does is done when it is served.
func (a *account) call(action string, kind sim.Kind, do func(), answered func(throttled bool)) {
	a.calls[action]++
	span, ok := took[action]
	if !ok {
		span = took[""]
	}
	if !a.buckets.Allow(action, kind, a.now) {
		a.throttled[action]++
		a.after(50*time.Millisecond, func() { answered(true) })
		return
	}
	a.after(a.spread(span), func() {
		do()
		answered(false)
	})
}

func (a *account) spread(span [2]time.Duration) time.Duration {
	return span[0] + time.Duration(a.random.Int64N(int64(span[1]-span[0])+1))
}

// sum counts the calls whose name begins so.
func sum(counts map[string]int, prefix string) int {
	n := 0
	for action, count := range counts {
		if strings.HasPrefix(action, prefix) {
			n += count
		}
	}
	return n
}

// addresses gives out so many that nobody has.
func (a *account) addresses(n int) []netip.Addr {
	var out []netip.Addr
	for range n {
		out = append(out, a.address())
	}
	return out
}

func (a *account) address() netip.Addr {
	a.next++
	return netip.AddrFrom4([4]byte{byte(a.next >> 24), byte(a.next >> 16), byte(a.next >> 8), byte(a.next)})
}

// prefixes gives out so many blocks of 16 that nobody has.
func (a *account) prefixes(n int) []netip.Prefix {
	var out []netip.Prefix
	for range n {
		a.next = (a.next + 15) &^ 15
		out = append(out, netip.PrefixFrom(a.address().Prev(), 28))
		a.next += 15
	}
	return out
}

// instance is what EC2 holds of one node.
type instance struct {
	*account
	id     string
	limits pool.Limits
	enis   map[pool.ENIID]*pool.ENI
}

const subnet = pool.SubnetID("subnet-00000000000000001")

func newInstance(a *account, id string, limits pool.Limits) *instance {
	i := &instance{account: a, id: id, limits: limits, enis: map[pool.ENIID]*pool.ENI{}}
	primary := i.eni(0)
	primary.Primary, primary.Status, primary.DeleteOnTermination, primary.AttachmentID = true, pool.Attached, true, "eni-attach-0"
	return i
}

func (i *instance) eni(addresses int) *pool.ENI {
	own := i.address()
	e := &pool.ENI{ID: pool.ENIID("eni-" + own.String()), MAC: own.String(), Subnet: subnet,
		SubnetCIDR: netip.MustParsePrefix("10.0.0.0/8"), Address: own, Addresses: i.addresses(addresses),
		Tags: map[string]string{pool.TagInstance: i.id}, Created: i.now}
	i.enis[e.ID] = e
	return e
}

// describe is a copy of what is attached, and with leftovers also of what is
// not.
func (i *instance) describe(leftovers bool) []pool.ENI {
	var out []pool.ENI
	for _, e := range i.enis {
		if e.Status != pool.Available || leftovers {
			c := *e
			c.Addresses, c.Prefixes = append([]netip.Addr(nil), e.Addresses...), append([]netip.Prefix(nil), e.Prefixes...)
			out = append(out, c)
		}
	}
	return out
}

// actionOf is the name of the call that an action is.
func actionOf(a pool.Action) string {
	switch a.(type) {
	case pool.CreateENI:
		return "CreateNetworkInterface"
	case pool.AttachENI:
		return "AttachNetworkInterface"
	case pool.ProtectENI:
		return "ModifyNetworkInterfaceAttribute"
	case pool.AssignAddresses:
		return "AssignPrivateIpAddresses"
	case pool.UnassignAddresses:
		return "UnassignPrivateIpAddresses"
	case pool.DetachENI:
		return "DetachNetworkInterface"
	case pool.DeleteENI:
		return "DeleteNetworkInterface"
	}
	panic(fmt.Sprintf("%T is no action of EC2", a))
}

// apply carries an action out. It refuses what goes over a limit, or is not
// there.
func (i *instance) apply(action pool.Action) (pool.Result, *pool.Failure) {
	switch a := action.(type) {
	case pool.CreateENI:
		e := i.eni(a.Addresses)
		e.Prefixes = i.prefixes(a.Prefixes)
		c := *e
		return pool.Result{Created: &c}, nil
	case pool.AttachENI:
		return i.attach(a)
	case pool.ProtectENI:
		i.enis[a.ENI].DeleteOnTermination = true
	case pool.AssignAddresses:
		e := i.enis[a.ENI]
		if len(e.Addresses)+len(e.Prefixes)+a.Count+a.Prefixes >= i.limits.AddressesPerENI {
			return refused(pool.AddressLimit, action)
		}
		r := pool.Result{Assigned: i.addresses(a.Count), AssignedPrefixes: i.prefixes(a.Prefixes)}
		e.Addresses, e.Prefixes = append(e.Addresses, r.Assigned...), append(e.Prefixes, r.AssignedPrefixes...)
		return r, nil
	case pool.UnassignAddresses:
		e := i.enis[a.ENI]
		e.Addresses, e.Prefixes = without(e.Addresses, a.Addresses), without(e.Prefixes, a.Prefixes)
	case pool.DetachENI:
		e := i.enis[a.ENI]
		e.Status = pool.Detaching
		i.after(2*time.Second, func() { e.Status, e.AttachmentID = pool.Available, "" })
	case pool.DeleteENI:
		if i.enis[a.ENI].Status != pool.Available {
			return refused(pool.InUse, action)
		}
		delete(i.enis, a.ENI)
	}
	return pool.Result{}, nil
}

func (i *instance) attach(a pool.AttachENI) (pool.Result, *pool.Failure) {
	e, attached := i.enis[a.ENI], 0
	for _, other := range i.enis {
		if other.Status != pool.Available {
			attached++
		}
	}
	if attached >= i.limits.ENIs || e.Status != pool.Available {
		return refused(pool.ENILimit, a)
	}
	e.Status, e.Device, e.AttachmentID = pool.Attaching, a.Device, "eni-attach-"+string(a.ENI)
	i.after(i.spread([2]time.Duration{300 * time.Millisecond, time.Second}), func() { e.Status = pool.Attached })
	return pool.Result{AttachmentID: e.AttachmentID}, nil
}

func refused(class pool.Class, action pool.Action) (pool.Result, *pool.Failure) {
	return pool.Result{}, &pool.Failure{Class: class, Err: errors.New("refused: " + action.String())}
}

func without[T comparable](all, less []T) []T {
	gone := map[T]bool{}
	for _, x := range less {
		gone[x] = true
	}
	var out []T
	for _, x := range all {
		if !gone[x] {
			out = append(out, x)
		}
	}
	return out
}
