package fleet

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// awsNode is a node by the rules of aws-node (amazon-vpc-cni-k8s 1.2x), with
// its defaults: WARM_ENI_TARGET 1, subnet discovery on. Where it can be seen in
// two ways, it is the one that makes fewer calls: nothing fails but by being
// throttled, pods ask again at once, and it is ready without a look at the
// metadata service.
type awsNode struct {
	*instance
	rng      *rand.Rand
	prefixes bool
	quota    int // retries that the SDK has left, times 5
	ready    map[pool.ENIID]bool
	pods     int // that want an address
	held     int
	served   func()
	crashes  int
}

// Rules of aws-node.
const (
	tick         = 5 * time.Second
	describes    = 12 // tries of the first describe, n x 10 ms apart
	taggings     = 5  // tries of CreateTags, 500 ms to 1 min apart
	setups       = 6  // tries of the setup of an ENI, 10 s apart
	deletions    = 12 // tries of DeleteNetworkInterface, 500 ms to 1 min apart
	leakedENIs   = time.Hour
	awsSDKTries  = 3
	awsRetryCost = 5
)

func newAWSNode(a *account, number int, limits pool.Limits, prefixes bool, pods int, served func()) *awsNode {
	rng := rand.New(rand.NewPCG(uint64(number), a.random.Uint64()))
	return &awsNode{instance: newInstance(a, "i-"+strconv.Itoa(number), limits), rng: rng, prefixes: prefixes,
		quota: 500, ready: map[pool.ENIID]bool{}, pods: pods, served: served}
}

// start describes and tags the primary ENI, sets it up, and then ticks.
func (n *awsNode) start() {
	n.after(leakedENIs+n.upTo(5*time.Minute), n.sweep)
	n.repeat(describes, func(try int) time.Duration { return time.Duration(try) * 10 * time.Millisecond },
		func(done func(bool)) { n.request("DescribeNetworkInterfaces", byID, nil, done) },
		func(ok bool) {
			if !ok { // the container ends, and is started again
				n.crashes++
				n.after(min(10*time.Second<<min(n.crashes-1, 5), 5*time.Minute), n.start)
				return
			}
			n.repeat(taggings, doubling, func(done func(bool)) { n.request("CreateTags", sim.Kind{}, nil, done) }, func(bool) {
				for id := range n.enis {
					n.setup(id, n.tick)
				}
			})
		})
}

// sweep looks for ENIs that others left, hourly.
func (n *awsNode) sweep() {
	n.request("DescribeNetworkInterfaces", paged, nil, func(bool) {})
	n.after(leakedENIs+n.upTo(5*time.Minute), n.sweep)
}

// setup asks whether the subnet is excluded; the addresses serve then.
func (n *awsNode) setup(id pool.ENIID, then func()) {
	n.repeat(setups, func(int) time.Duration { return 10 * time.Second },
		func(done func(bool)) { n.request("DescribeSubnets", paged, nil, done) },
		func(ok bool) {
			if ok {
				n.ready[id] = true
				n.serve()
			}
			then()
		})
}

func (n *awsNode) serve() {
	if n.held < n.pods && n.total() > n.held {
		if n.held = min(n.pods, n.total()); n.held == n.pods {
			n.served()
		}
	}
}

// total are the addresses of all ENIs that are set up.
func (n *awsNode) total() int {
	sum := 0
	for id := range n.ready {
		e := n.enis[id]
		sum += len(e.Addresses) + 16*len(e.Prefixes)
	}
	return sum
}

// tick makes one operation, and comes again. It is called when the last one is
// over.
func (n *awsNode) tick() {
	again := func() { n.after(tick, n.tick) }
	slots := n.limits.AddressesPerENI - 1
	short := slots - (n.total() - n.held) // WARM_ENI_TARGET 1
	if n.prefixes {
		short = (16 - (n.total() - n.held) + 15) / 16 // WARM_PREFIX_TARGET 1
	}
	if short <= 0 {
		again()
		return
	}
	for id := range n.ready {
		if room := slots - len(n.enis[id].Addresses) - len(n.enis[id].Prefixes); room > 0 {
			n.fill(id, min(room, short), again)
			return
		}
	}
	if len(n.enis) < n.limits.ENIs {
		n.grow(min(slots, short), again)
		return
	}
	again()
}

// fill assigns as many as wanted, or else one.
func (n *awsNode) fill(id pool.ENIID, count int, then func()) {
	n.assign(id, count, func(ok bool) {
		if ok {
			then()
			return
		}
		n.assign(id, 1, func(bool) { then() })
	})
}

func (n *awsNode) assign(id pool.ENIID, count int, done func(bool)) {
	a := pool.AssignAddresses{ENI: id, Count: count}
	if n.prefixes {
		a.Count, a.Prefixes = 0, count
	}
	n.request("AssignPrivateIpAddresses", sim.Kind{}, func() { _, _ = n.apply(a) }, func(ok bool) {
		n.serve()
		done(ok)
	})
}

// grow creates an ENI in the subnet with most room, and attaches it; one that
// cannot be attached is deleted.
func (n *awsNode) grow(count int, then func()) {
	n.request("DescribeSubnets", paged, nil, func(bool) { // or else the primary ENI's
		create := pool.CreateENI{Subnet: subnet, Addresses: count}
		if n.prefixes {
			create.Addresses, create.Prefixes = 0, count
		}
		var id pool.ENIID
		n.request("CreateNetworkInterface", sim.Kind{}, func() {
			r, _ := n.apply(create)
			id = r.Created.ID
		}, func(ok bool) {
			if !ok {
				then()
				return
			}
			n.attachOrDelete(id, then)
		})
	})
}

func (n *awsNode) attachOrDelete(id pool.ENIID, then func()) {
	attach := pool.AttachENI{ENI: id, Device: len(n.ready)}
	n.request("AttachNetworkInterface", sim.Kind{}, func() { _, _ = n.apply(attach) }, func(ok bool) {
		if !ok {
			n.repeat(deletions, doubling, func(done func(bool)) {
				n.request("DeleteNetworkInterface", sim.Kind{}, func() { _, _ = n.apply(pool.DeleteENI{ENI: id}) }, done)
			}, func(bool) { then() })
			return
		}
		n.request("ModifyNetworkInterfaceAttribute", sim.Kind{}, func() {}, func(bool) {
			n.after(n.spread([2]time.Duration{1300 * time.Millisecond, 6 * time.Second}), func() { n.setup(id, then) })
		})
	})
}

// doubling pauses are 500 ms to a minute.
func doubling(try int) time.Duration {
	return min(500*time.Millisecond<<(try-1), time.Minute)
}

func (n *awsNode) upTo(d time.Duration) time.Duration { return time.Duration(n.rng.Int64N(int64(d))) }

// repeat tries something until it is done, or was tried often enough.
func (n *awsNode) repeat(tries int, pause func(try int) time.Duration, try func(func(bool)), done func(bool)) {
	made := 0
	var again func()
	again = func() {
		made++
		try(func(ok bool) {
			if ok || made == tries {
				done(ok)
				return
			}
			n.after(pause(made), again)
		})
	}
	again()
}

// request makes a call as the SDK does by default: three attempts, up to 2 s
// and up to 4 s apart, as long as there is a quota of retries left.
func (n *awsNode) request(action string, kind sim.Kind, do func(), done func(ok bool)) {
	if do == nil {
		do = func() {}
	}
	n.attempt(action, kind, 1, do, done)
}

func (n *awsNode) attempt(action string, kind sim.Kind, number int, do func(), done func(ok bool)) {
	n.call(action, kind, do, func(throttled bool) {
		switch {
		case !throttled:
			n.quota = min(500, n.quota+1)
			done(true)
		case number == awsSDKTries || n.quota < awsRetryCost:
			done(false)
		default:
			n.quota -= awsRetryCost
			n.after(n.upTo(time.Second<<number), func() { n.attempt(action, kind, number+1, do, done) })
		}
	})
}
