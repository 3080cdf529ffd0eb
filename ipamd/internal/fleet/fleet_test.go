package fleet

import (
	"flag"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/limits"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

var (
	nodes  = flag.Int("nodes", 1000, "how many start at once")
	pods   = flag.Int("pods", 10, "that each of them gets at once")
	seed   = flag.Uint64("seed", 1, "of all that is left to chance")
	told   = flag.Int("told", 100, "% of their number that nodes are told")
	beside = flag.Bool("beside", false, "also run what the fleet is compared with")
)

// Targets of a fleet of ours that knows its size.
const (
	mostThrottled = 2.0 // % of the calls until all pods have addresses
	mostTime      = 1.3 // times what the buckets' rates allow
	mostDescribes = 1.0 // per node and 10 minutes, at rest
)

// The fleet is given up after patience, and watched for rest when it is at rest. A pod of
// each node is replaced every so often, as on a quiet day.
const (
	patience = 3 * time.Hour
	rest     = 2 * time.Hour
	replaced = 5 * time.Minute
)

// scenario is a fleet of equal nodes.
type scenario struct {
	name     string
	instance string
	prefixes bool
	agent    agent
}

// agent is who manages the nodes' addresses.
type agent int

const (
	ours agent = iota
	uninformed
	awsnode
)

func (a agent) String() string {
	return [...]string{"causeway", "causeway, fleet's size unknown", "aws-node's rules"}[a]
}

// outcome is what became of a fleet.
type outcome struct {
	calls, throttled, unserved int
	took                       time.Duration // until all pods had addresses
	least                      time.Duration // that the buckets' rates allow
	mutating                   float64       // calls per node at rest, of an hour
	describes                  float64       // per node and 10 minutes at rest
}

func (o outcome) throttledPercent() float64 {
	return 100 * float64(o.throttled) / float64(max(1, o.calls))
}

func (o outcome) times() float64 { return o.took.Seconds() / o.least.Seconds() }

// TestFleet starts the fleets, and prints what became of them.
func TestFleet(t *testing.T) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\t\tcalls\tthrottled\tall pods served\tleast time\tratio\tat rest: describes/node/10 min\tchanges/node/h\t\n")
	for _, prefixes := range []bool{false, true} {
		agents := []agent{ours}
		if *beside {
			agents = append(agents, uninformed, awsnode)
		}
		for _, agent := range agents {
			s := scenario{"addresses", "m5.large", prefixes, agent}
			if prefixes {
				s.name = "prefixes"
			}
			o := s.run(t)
			fmt.Fprintf(table, "%s, %s\t%s\t%d\t%.1f%%\t%s\t%s\t%.2f\t%.2f\t%.2f\t\n", s.instance, s.name, agent,
				o.calls, o.throttledPercent(), o.took.Round(time.Second), o.least, o.times(), o.describes, o.mutating)
			if agent == ours {
				o.check(t, s.name)
			} else if o.unserved > 0 {
				t.Logf("%s, %s: %d nodes were not served in %s", s.name, agent, o.unserved, patience)
			}
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d nodes start at once, each with %d pods; targets: %.0f%% throttled, ratio %.1f, %.0f describes\n%s",
		*nodes, *pods, mostThrottled, mostTime, mostDescribes, text.String())
}

func (o outcome) check(t *testing.T, name string) {
	t.Helper()
	if o.unserved > 0 {
		t.Errorf("%s: %d nodes were not served in %s", name, o.unserved, patience)
	}
	if o.throttledPercent() >= mostThrottled {
		t.Errorf("%s: %.1f%% of calls were throttled, want under %.0f%%", name, o.throttledPercent(), mostThrottled)
	}
	if o.times() > mostTime {
		t.Errorf("%s: all pods had addresses after %s, want at most %.1f times the least time of %s", name, o.took, mostTime, o.least)
	}
	if o.describes > mostDescribes {
		t.Errorf("%s: %.2f describes per node and 10 minutes at rest, want at most %.0f", name, o.describes, mostDescribes)
	}
}

// run starts the fleet, and leaves it running for a while after all pods were
// served.
func (s scenario) run(t *testing.T) outcome {
	t.Helper()
	of, ok := limits.Of(s.instance)
	if !ok {
		t.Fatalf("instance type %s is unknown", s.instance)
	}
	began := time.Date(2025, 7, 1, 0, 0, 0, 0, time.UTC)
	c := &clock{now: began}
	a, err := newAccount(c, *seed)
	if err != nil {
		t.Fatal(err)
	}
	left, took := *nodes, time.Duration(0)
	served := func() { left--; took = c.now.Sub(began) }
	atRest := s.start(a, of, served)
	c.run(began.Add(patience), func() bool { return left == 0 })
	calls, throttled := sum(a.calls, ""), sum(a.throttled, "")
	o := outcome{calls: calls, throttled: throttled, unserved: left, took: took, least: s.least(a, of)}
	if testing.Verbose() {
		t.Logf("%s, %s: calls %v, throttled %v", s.name, s.agent, a.calls, a.throttled)
	}
	// What was begun is brought to its end before the fleet is at rest.
	c.run(c.now.Add(rest/2), func() bool { return false })
	atRest()
	reads, all := sum(a.calls, "Describe"), sum(a.calls, "")
	c.run(c.now.Add(rest), func() bool { return false })
	reads, all = sum(a.calls, "Describe")-reads, sum(a.calls, "")-all
	o.describes = float64(reads) / float64(*nodes) / rest.Minutes() * 10
	o.mutating = float64(all-reads) / float64(*nodes) / rest.Hours()
	return o
}

// start starts all nodes, and returns what is to be done when they are at rest.
func (s scenario) start(a *account, of pool.Limits, served func()) (atRest func()) {
	if s.agent == awsnode {
		for i := range *nodes {
			n := newAWSNode(a, i, of, s.prefixes, *pods, served)
			a.after(0, n.start)
		}
		return func() {}
	}
	settings := pool.Settings{Limits: of, CoolDown: 30 * time.Second, Headroom: 2, Prefixes: s.prefixes, ReleaseAfter: 5 * time.Minute}
	all := make([]*node, *nodes)
	for i := range all {
		all[i] = newNode(a, i, settings, *pods, served)
		if s.agent == ours {
			all[i].budget.Join(*nodes**told/100, a.now)
		}
		all[i].wake(0)
		a.after(0, all[i].lookAtVPC)
		a.after(time.Duration(all[i].rng.Int64N(int64(sweepEvery))), all[i].sweepInTurn)
	}
	return func() {
		for _, n := range all {
			n.served = func() {}
			var again func()
			again = func() {
				n.replace()
				a.after(replaced, again)
			}
			a.after(time.Duration(a.random.Int64N(int64(replaced))), again)
		}
	}
}

// least is how long the buckets take to serve the calls that nobody can do
// without: a look, and addresses for all pods on as few ENIs as have room.
func (s scenario) least(a *account, of pool.Limits) time.Duration {
	perENI := of.AddressesPerENI - 1
	if s.prefixes {
		perENI *= 16
	}
	further := (*pods+perENI-1)/perENI - 1
	var most time.Duration
	for action, calls := range map[string]int{
		"DescribeNetworkInterfaces": 1, "AssignPrivateIpAddresses": 1, "CreateNetworkInterface": further, "AttachNetworkInterface": further,
	} {
		kind := sim.Kind{}
		if strings.HasPrefix(action, "Describe") {
			kind = paged
		}
		most = max(most, a.buckets.Of(action, kind).Takes(*nodes*calls))
	}
	return most
}
