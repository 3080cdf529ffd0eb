// Package vpc is the state of the simulated VPC: subnets with their address
// books, security groups, instances, network interfaces and attachments with
// their state machines, and the delayed views that EC2's Describe calls and the
// metadata service have of them. It knows neither HTTP nor the kernel; the
// fabric reads View and waits on Changed.
//
// Invariants: no address belongs to two ENIs; an attached ENI holds no more
// addresses than its instance type has slots, a card no more ENIs than it has
// room for; a call changes all that it was asked to or nothing. Everything
// random comes from one seed. Time is that of package time, so that a test in a
// synctest bubble owns it.
package vpc

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/limits"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Model is the VPC. All methods are safe for concurrent use.
type Model struct {
	topo    topology.Topology
	seed    uint64
	types   map[string]limits.Type
	changed chan struct{}

	mu        sync.Mutex
	rng       *rand.Rand
	now       time.Time // the moment that the lock holder works at
	events    events
	eventSeq  int
	timer     *time.Timer
	ids       map[string]bool
	vpcID     string
	cidrs     []netip.Prefix
	vpcTags   map[string]string
	subnets   []*subnet
	groups    []*Group
	instances []*instance
	enis      map[string]*record
	tokens    map[string]idempotent
}

// Call says who makes a change, and what a fault rule does to its effects.
type Call struct {
	Caller  string        // access key
	Stale   time.Duration // Describe shows the change that much later
	IMDSLag time.Duration // the metadata service does
	Settle  time.Duration // an ENI is pending, an attachment attaching or detaching that much longer
	Exhaust time.Duration // if not 0, others take all of the subnet before, for so long
	Device  DeviceFault   // what becomes of a device that this call attaches
}

// DeviceFault is what goes wrong with the device of an ENI in its guest.
type DeviceFault struct {
	Delay time.Duration // it appears that much later
	Never bool          // or not at all
	Gone  time.Duration // if not 0, an operator detaches the ENI so long after it has appeared
	Guest Guest
}

// Guest is what the operating system does to a device that has appeared.
type Guest struct {
	Rename bool // to ens5 and so on, by the device index
	DHCP   bool // configures it, as it does the primary ENI's
}

// New builds the VPC that a valid topology describes, its nodes running with
// their primary ENIs attached.
func New(topo topology.Topology) (*Model, error) {
	types, err := topo.Types()
	if err != nil {
		return nil, err
	}
	seed := topo.Seed
	for seed == 0 {
		seed = rand.Uint64()
	}
	m := &Model{
		topo: topo, seed: seed, types: types, changed: make(chan struct{}, 1),
		rng: rand.New(rand.NewPCG(seed, 0x76706373696d)), now: time.Now(),
		ids: map[string]bool{}, enis: map[string]*record{}, tokens: map[string]idempotent{},
		cidrs: topo.VPC.CIDRs(), vpcTags: copied(topo.VPC.Tags),
	}
	m.vpcID = m.id("vpc-")
	m.addGroup(topology.SecurityGroup{Name: "default", Description: "default VPC security group"})
	for _, g := range topo.SecurityGroups {
		m.addGroup(g)
	}
	for _, s := range topo.Subnets {
		m.addSubnet(s)
	}
	if err := m.addNodes(topo.Nodes); err != nil {
		return nil, err
	}
	if err := m.addTenants(topo.Subnets); err != nil {
		return nil, err
	}
	return m, nil
}

// addNodes gives nodes with a wanted address theirs before the others draw.
func (m *Model) addNodes(nodes []topology.Node) error {
	nodes = slices.Clone(nodes)
	slices.SortStableFunc(nodes, func(a, b topology.Node) int {
		switch {
		case a.Address.IsValid() == b.Address.IsValid():
			return 0
		case a.Address.IsValid():
			return -1
		}
		return 1
	})
	public := firstPublic(m.topo.VPC.PublicPool)
	for _, n := range nodes {
		if err := m.addNode(n, public); err != nil {
			return fmt.Errorf("adding node %s: %w", n.Name, err)
		}
		public = public.Next()
	}
	return nil
}

// Seed is the number that all random choices come from.
func (m *Model) Seed() uint64 { return m.seed }

// Topology is what the model was built from.
func (m *Model) Topology() topology.Topology { return m.topo }

// Type looks up an instance type.
func (m *Model) Type(name string) (limits.Type, bool) {
	t, ok := m.types[name]
	return t, ok
}

// Types lists the names of all instance types, sorted.
func (m *Model) Types() []string {
	names := make([]string, 0, len(m.types))
	for n := range m.types {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Changed receives after View may have changed; several changes make one
// receive. It serves one receiver.
func (m *Model) Changed() <-chan struct{} { return m.changed }

func (m *Model) notify() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Close stops the state machines. The model can still be read.
func (m *Model) Close() {
	defer m.lock()()
	m.events = nil
	m.arm()
}

// lock takes the model and brings its state machines up to the present; the
// caller defers the returned unlock.
func (m *Model) lock() (unlock func()) {
	m.mu.Lock()
	m.run(time.Now())
	return func() {
		m.arm()
		m.mu.Unlock()
	}
}

// event is a step of a state machine that is due at a moment.
type event struct {
	at   time.Time
	seq  int
	step func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *events) Push(x any) { *e = append(*e, x.(event)) }

// Pop implements heap.Interface.
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

// after has a step done when d has passed; at once if d is 0.
func (m *Model) after(d time.Duration, step func()) {
	if d <= 0 {
		step()
		return
	}
	m.eventSeq++
	heap.Push(&m.events, event{m.now.Add(d), m.eventSeq, step})
}

// run does the steps that are due, each at its own moment.
func (m *Model) run(now time.Time) {
	for len(m.events) > 0 && !m.events[0].at.After(now) {
		e := heap.Pop(&m.events).(event)
		m.now = e.at
		e.step()
	}
	m.now = now
}

// arm sets the timer to the next step, so that Changed fires without a reader.
func (m *Model) arm() {
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
	if len(m.events) > 0 {
		m.timer = time.AfterFunc(time.Until(m.events[0].at), func() { m.lock()() })
	}
}

// id makes an identifier: the prefix and 17 hex digits.
func (m *Model) id(prefix string) string {
	for {
		id := fmt.Sprintf("%s0%016x", prefix, m.rng.Uint64())
		if !m.ids[id] {
			m.ids[id] = true
			return id
		}
	}
}

// mac makes a locally administered unicast address, as EC2's are.
func (m *Model) mac() string {
	for {
		v := m.rng.Uint64()
		mac := fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
		if !m.ids[mac] {
			m.ids[mac] = true
			return mac
		}
	}
}

// CallTime is how long a call of the EC2 action takes this time, or how long a
// load balancer takes to know targets after RegisterTargets.
func (m *Model) CallTime(action string) time.Duration {
	defer m.lock()()
	d := &m.topo.Delays
	switch action {
	case "CreateNetworkInterface":
		return d.Create.Draw(m.rng)
	case "AttachNetworkInterface":
		return d.AttachCall.Draw(m.rng)
	case "AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "AssignIpv6Addresses", "UnassignIpv6Addresses":
		return d.Assign.Draw(m.rng)
	case "RegisterTargets":
		return d.Register.Draw(m.rng)
	}
	return 0
}
