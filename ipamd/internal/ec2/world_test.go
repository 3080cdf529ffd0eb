package ec2

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

var byValue = cmp.Options{cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}

// created is when the ENIs of the tests are created, by our clock.
var created = time.Date(2025, 7, 1, 10, 20, 30, 0, time.UTC)

// world is a simulated VPC and a Cloud of its node n1.
type world struct {
	*testing.T
	sim   *sim.Sim
	id    Identity
	cloud *Cloud
	calls *calls
}

// calls is a Recorder.
type calls struct {
	mu   sync.Mutex
	seen []string
}

func (c *calls) Call(operation, code string, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if took <= 0 {
		code += " in no time"
	}
	c.seen = append(c.seen, strings.TrimSpace(operation+" "+code))
}

func (c *calls) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

// simulate runs a simulator, and lets nothing of this machine's AWS settings
// reach the SDK.
func simulate(t *testing.T, topology string) *sim.Sim {
	t.Helper()
	s, err := sim.Start(sim.Options{Topology: topology})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.IMDSURL("n1"))
	return s
}

func start(t *testing.T, topology string, change ...func(*Settings)) *world {
	t.Helper()
	w := &world{T: t, sim: simulate(t, topology), calls: &calls{}}
	var err error
	if w.id, err = Discover(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	s := Settings{
		Endpoint: w.sim.EC2URL(), HTTPTimeout: 5 * time.Second, ClusterName: "story",
		ExtraTags: map[string]string{"team": "net", pool.TagInstance: "i-other"},
		Recorder:  w.calls,
		// Of an account that serves so much that no pause lasts.
		Budget: newBudget(budget.Limit{Size: 1e6, Refill: 1e6}),
	}
	for _, f := range change {
		f(&s)
	}
	if w.cloud, err = New(t.Context(), s, w.id); err != nil {
		t.Fatal(err)
	}
	return w
}

func newBudget(of budget.Limit) *budget.Budget {
	account := func(budget.Class) budget.Limit { return of }
	return budget.New(budget.Settings{Account: account}, rand.New(rand.NewPCG(1, 2)))
}

// fault puts rules in YAML in force.
func (w *world) fault(rules string) {
	w.Helper()
	parsed, err := control.ParseRules([]byte(rules))
	if err == nil {
		_, err = w.sim.Control().AddFaults(w.Context(), parsed...)
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) clear() {
	w.Helper()
	if err := w.sim.Control().ClearFaults(w.Context()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) status() control.Status {
	w.Helper()
	s, err := w.sim.Control().Status(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// attempts counts the requests of an action that reached the simulator.
func (w *world) attempts(action string) int {
	w.Helper()
	requests, err := w.sim.Control().Requests(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	n := 0
	for _, r := range requests {
		if r.Action == action {
			n++
		}
	}
	return n
}

func (w *world) describe(leftovers bool) []pool.ENI {
	w.Helper()
	enis, err := w.cloud.Describe(w.Context(), leftovers)
	if err != nil {
		w.Fatal(err)
	}
	return enis
}

// eni is the description of one ENI.
func (w *world) eni(id pool.ENIID) pool.ENI {
	w.Helper()
	enis := w.describe(true)
	i := slices.IndexFunc(enis, func(e pool.ENI) bool { return e.ID == id })
	if i < 0 {
		w.Fatalf("ENI %s is not described: %+v", id, enis)
	}
	return enis[i]
}

func (w *world) apply(a pool.Action) pool.Result {
	w.Helper()
	r, err := w.cloud.Apply(w.Context(), a)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// refused applies an action that shall fail, and returns its failure.
func (w *world) refused(a pool.Action) *pool.Failure {
	w.Helper()
	r, err := w.cloud.Apply(w.Context(), a)
	return w.failure(r, err)
}

func (w *world) failure(result any, err error) *pool.Failure {
	w.Helper()
	var f *pool.Failure
	if !errors.As(err, &f) {
		w.Fatalf("%+v and error %v, want a failure", result, err)
	}
	return f
}

// create asks for an ENI beside the primary one.
func (w *world) create(token string, addresses int) pool.CreateENI {
	w.Helper()
	return pool.CreateENI{Subnet: w.id.Subnet, SecurityGroups: w.eni(w.id.PrimaryENI).SecurityGroups, Addresses: addresses, Token: token, Created: created}
}
