package allocator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

const (
	instance = "i-0123456789abcdef0"
	subnet   = pool.SubnetID("subnet-0123456789abcdef0")
)

// fakeEC2 is one instance's part of EC2. It keeps what it was told, refuses
// what EC2 refuses, answers late, and its describes are older than its answers.
type fakeEC2 struct {
	limits  pool.Limits
	latency time.Duration          // of each call
	slow    map[call]time.Duration // of those with this name, instead
	lag     time.Duration          // describes show what was so long ago
	device  time.Duration          // from an attachment to its device on the node
	never   map[int]bool           // device numbers that never appear on the node

	mu      sync.Mutex
	left    int                   // free addresses of the subnet
	fault   func(call, int) fault // of the nth call with this name; nil for none
	hidden  map[pool.ENIID]bool   // not shown by describes
	strange map[netip.Addr]bool   // assigned by hand
	enis    map[pool.ENIID]*pool.ENI
	there   map[pool.ENIID]time.Time // when the device is on the node
	tokens  map[string]pool.ENIID
	past    []moment
	calls   []made
	counted map[call]int
	made    int // addresses, for numbers
	created int // ENIs, for numbers
}

type call string

const (
	describe call = "describe"
	subnets  call = "subnets"
	create   call = "create"
	attach   call = "attach"
	protect  call = "protect"
	regroup  call = "regroup"
	assign   call = "assign"
	remove   call = "delete"
	unassign call = "unassign"
	detach   call = "detach"
)

// fault is what goes wrong with a call.
type fault int

const (
	none     fault = iota
	lost           // carried out, and the answer lost
	unsent         // not carried out, which the caller cannot know
	throttle       // refused
	half           // half the addresses, said so
)

type made struct {
	call call
	at   time.Time
}

// moment is what describes show from then on.
type moment struct {
	at   time.Time
	enis []pool.ENI
}

// newEC2 is an instance with its primary ENI and that many secondary addresses.
func newEC2(limits pool.Limits, addresses int) *fakeEC2 {
	f := &fakeEC2{
		limits: limits, left: 1000, enis: map[pool.ENIID]*pool.ENI{}, there: map[pool.ENIID]time.Time{}, tokens: map[string]pool.ENIID{},
		hidden: map[pool.ENIID]bool{}, strange: map[netip.Addr]bool{}, never: map[int]bool{}, counted: map[call]int{},
	}
	primary := f.newENI(addresses)
	primary.Primary, primary.Status, primary.AttachmentID, primary.DeleteOnTermination = true, pool.Attached, "eni-attach-0", true
	f.there[primary.ID] = time.Now()
	f.remember()
	return f
}

func (f *fakeEC2) newENI(addresses int) *pool.ENI {
	n := f.created // no id is ever used again
	f.created++
	e := &pool.ENI{
		ID: pool.ENIID(fmt.Sprintf("eni-%d", n)), Subnet: subnet, SubnetCIDR: netip.MustParsePrefix("10.0.0.0/16"), SecurityGroups: []string{"sg-1"},
		MAC: fmt.Sprintf("02:00:00:00:00:%02x", n), Address: f.address(), Tags: map[string]string{pool.TagInstance: instance},
	}
	for range addresses {
		e.Addresses = append(e.Addresses, f.address())
	}
	f.enis[e.ID] = e
	return e
}

func (f *fakeEC2) address() netip.Addr {
	f.made++
	f.left--
	return netip.AddrFrom4([4]byte{10, 0, byte(f.made / 250), byte(f.made%250 + 4)})
}

func (f *fakeEC2) prefix() netip.Prefix {
	f.made++
	f.left -= 16
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(1 + f.made/4096), byte(f.made / 16), byte(f.made % 16 * 16)}), 28)
}

// prefix6 takes nothing of what is left: a subnet has more /80s than it has ENIs.
func (f *fakeEC2) prefix6() netip.Prefix {
	f.made++
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 8: byte(f.made / 256), 9: byte(f.made)}), 80)
}

func (f *fakeEC2) remember() {
	var now []pool.ENI
	for _, id := range slices.Sorted(maps.Keys(f.enis)) {
		e := *f.enis[id]
		e.Addresses, e.Prefixes, e.Prefixes6 = slices.Clone(e.Addresses), slices.Clone(e.Prefixes), slices.Clone(e.Prefixes6)
		now = append(now, e)
	}
	f.past = append(f.past, moment{time.Now(), now})
}

// Subnets is the one subnet that there is.
func (f *fakeEC2) Subnets(ctx context.Context) ([]pool.Subnet, error) {
	if f.begin(subnets) == throttle {
		return nil, failure(pool.Throttled, "RequestLimitExceeded")
	}
	f.wait(ctx, subnets)
	f.mu.Lock()
	defer f.mu.Unlock()
	return []pool.Subnet{{ID: subnet, Free: f.left}}, nil
}

// Describe shows the past.
func (f *fakeEC2) Describe(ctx context.Context, leftovers bool) ([]pool.ENI, error) {
	if f.begin(describe) == throttle {
		return nil, failure(pool.Throttled, "RequestLimitExceeded")
	}
	f.wait(ctx, describe)
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return nil, failure(pool.Unavailable, "%w", ctx.Err())
	}
	shown := f.past[0]
	for _, m := range f.past {
		if !m.at.After(time.Now().Add(-f.lag)) {
			shown = m
		}
	}
	var out []pool.ENI
	for _, e := range shown.enis {
		if !f.hidden[e.ID] && (leftovers || e.Status != pool.Available) {
			e.Addresses, e.Prefixes, e.Prefixes6 = slices.Clone(e.Addresses), slices.Clone(e.Prefixes), slices.Clone(e.Prefixes6)
			out = append(out, e)
		}
	}
	return out, nil
}

// Apply carries out an action, or fails as scripted.
func (f *fakeEC2) Apply(ctx context.Context, action pool.Action) (pool.Result, error) {
	wrong := f.begin(name(action))
	if wrong == throttle {
		return pool.Result{}, failure(pool.Throttled, "RequestLimitExceeded: Request limit exceeded.")
	}
	f.wait(ctx, name(action))
	if wrong == unsent {
		return pool.Result{}, failure(pool.Ambiguous, "connection reset")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if a, ok := action.(pool.AssignAddresses); ok && wrong == half {
		a.Count, a.Prefixes = (a.Count+1)/2, (a.Prefixes+1)/2
		action = a
	}
	result, err := f.carryOut(action)
	if err != nil {
		return result, err
	}
	f.remember()
	if wrong == lost || ctx.Err() != nil { // the call arrived, and its caller is gone
		return pool.Result{}, failure(pool.Ambiguous, "connection reset")
	}
	return result, nil
}

func name(action pool.Action) call {
	switch action.(type) {
	case pool.CreateENI:
		return create
	case pool.AttachENI:
		return attach
	case pool.ProtectENI:
		return protect
	case pool.SetSecurityGroups:
		return regroup
	case pool.AssignAddresses:
		return assign
	case pool.UnassignAddresses:
		return unassign
	case pool.DetachENI:
		return detach
	}
	return remove
}

// begin counts a call and says what goes wrong with it.
func (f *fakeEC2) begin(c call) fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted[c]++
	f.calls = append(f.calls, made{c, time.Now()})
	if f.fault == nil {
		return none
	}
	return f.fault(c, f.counted[c])
}

// wait never holds the lock: time stands still while someone waits for one.
func (f *fakeEC2) wait(ctx context.Context, c call) {
	f.mu.Lock()
	latency := cmp.Or(f.slow[c], f.latency)
	f.mu.Unlock()
	select {
	case <-time.After(latency):
	case <-ctx.Done():
	}
}

func failure(c pool.Class, format string, args ...any) *pool.Failure {
	return &pool.Failure{Class: c, Err: fmt.Errorf(format, args...)}
}

// devices are the ENIs whose devices are on the node.
func (f *fakeEC2) devices() map[pool.ENIID]bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := map[pool.ENIID]bool{}
	for id, since := range f.there {
		there[id] = !since.After(time.Now())
	}
	return there
}

// mutating is how many calls were made that change something.
func (f *fakeEC2) mutating() int { return f.mutatingBefore(time.Now().Add(1)) }

// mutatingBefore is how many of them were made before a time.
func (f *fakeEC2) mutatingBefore(end time.Time) int {
	n := 0
	for _, c := range f.history() {
		if c.call != describe && c.call != subnets && c.at.Before(end) {
			n++
		}
	}
	return n
}

// has is what EC2 has: ENIs, of those the attached ones, and secondary addresses.
func (f *fakeEC2) has() (enis, attached int, addresses []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.enis {
		enis++
		if e.Status == pool.Attached {
			attached++
		}
		addresses = append(addresses, e.Addresses...)
		for _, p := range e.Prefixes {
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				addresses = append(addresses, a)
			}
		}
	}
	return enis, attached, addresses
}

// owner is the ENI of a secondary address.
func (f *fakeEC2) owner(a netip.Addr) pool.ENIID {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, e := range f.enis {
		if slices.Contains(e.Addresses, a) || slices.ContainsFunc(slices.Concat(e.Prefixes, e.Prefixes6), func(p netip.Prefix) bool { return p.Contains(a) }) {
			return id
		}
	}
	return ""
}

// history is the calls that were made.
func (f *fakeEC2) history() []made {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// count is how many calls of a name were made.
func (f *fakeEC2) count(c call) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counted[c]
}

// hide keeps an ENI out of describes, or no longer.
func (f *fakeEC2) hide(id pool.ENIID, hidden bool) {
	f.set(func(f *fakeEC2) { f.hidden[id] = hidden })
}

// byHand assigns an address to an ENI as someone else does, and takeByHand takes
// it away again.
func (f *fakeEC2) byHand(id pool.ENIID) (a netip.Addr) {
	f.set(func(f *fakeEC2) {
		a = f.address()
		f.strange[a] = true
		f.enis[id].Addresses = append(f.enis[id].Addresses, a)
		f.remember()
	})
	return a
}

func (f *fakeEC2) takeByHand(id pool.ENIID, a netip.Addr) {
	f.set(func(f *fakeEC2) {
		f.enis[id].Addresses = slices.DeleteFunc(f.enis[id].Addresses, func(x netip.Addr) bool { return x == a })
		f.remember()
	})
}

func (f *fakeEC2) isStrange(a netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.strange[a]
}

// set changes how EC2 is.
func (f *fakeEC2) set(change func(*fakeEC2)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}
