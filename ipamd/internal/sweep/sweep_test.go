package sweep

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

var now = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// left is an ENI that an instance which is gone left long ago.
func left(id string, change func(*pool.ENI)) pool.ENI {
	e := pool.ENI{ID: pool.ENIID(id), Status: pool.Available, Description: "aws-K8S-i-gone", Created: now.Add(-time.Hour),
		Tags: map[string]string{pool.TagInstance: "i-gone", pool.TagCluster: "ours"}}
	change(&e)
	return e
}

// Each thing that is not as it should be keeps an ENI.
func TestOnlyGarbageIsDeleted(t *testing.T) {
	exists := map[string]bool{"i-lives": true, "i-self": true}
	of := func(e *pool.ENI, instance string) {
		e.Tags[pool.TagInstance], e.Description = instance, "aws-K8S-"+instance
	}
	for _, c := range []struct {
		name    string
		change  func(*pool.ENI)
		deleted bool
	}{
		{"of an instance that is gone", func(*pool.ENI) {}, true},
		{"old enough", func(e *pool.ENI) { e.Created = now.Add(-SafeAge) }, true},
		{"of one that lives", func(e *pool.ENI) { of(e, "i-lives") }, false},
		{"our own", func(e *pool.ENI) { of(e, "i-self") }, false},
		{"of no instance", func(e *pool.ENI) { of(e, "") }, false},
		{"of what is no instance", func(e *pool.ENI) { of(e, "gone") }, false},
		{"of another cluster", func(e *pool.ENI) { e.Tags[pool.TagCluster] = "theirs" }, false},
		{"of no cluster", func(e *pool.ENI) { delete(e.Tags, pool.TagCluster) }, false},
		{"made by others", func(e *pool.ENI) { e.Description = "interface of mine" }, false},
		{"made for another instance than its tag says", func(e *pool.ENI) { e.Description = "aws-K8S-i-lives" }, false},
		{"not to be managed", func(e *pool.ENI) { e.Tags[pool.TagNoManage] = "true" }, false},
		{"young", func(e *pool.ENI) { e.Created = now.Add(-SafeAge + time.Second) }, false},
		{"of the future", func(e *pool.ENI) { e.Created = now.Add(time.Hour) }, false},
		{"of no age that can be read", func(e *pool.ENI) { e.Created = time.Time{} }, false},
		{"attached", func(e *pool.ENI) { e.Status, e.AttachmentID = pool.Attached, "eni-attach-1" }, false},
		{"about to be attached", func(e *pool.ENI) { e.Status, e.AttachmentID = pool.Attaching, "eni-attach-1" }, false},
	} {
		candidates := Candidates([]pool.ENI{left("eni-1", c.change)}, "ours", "i-self", now)
		if got := len(Plan(candidates, exists)) == 1; got != c.deleted {
			t.Errorf("%s: deleted %t, want %t", c.name, got, c.deleted)
		}
	}
}

// A sweep takes the oldest, and asks for each instance once.
func TestASweepIsBounded(t *testing.T) {
	var enis []pool.ENI
	for i := range 3 * Most {
		enis = append(enis, left(fmt.Sprintf("eni-%d", i), func(e *pool.ENI) { e.Created = e.Created.Add(-time.Duration(i) * time.Minute) }))
	}
	candidates := Candidates(enis, "ours", "i-self", now)
	if diff := cmp.Diff([]string{"i-gone"}, Owners(candidates)); diff != "" {
		t.Errorf("instances (-want +got):\n%s", diff)
	}
	actions := Plan(candidates, nil)
	if len(actions) != Most || actions[0].String() != "delete eni-299 (left by i-gone, which is gone)" {
		t.Errorf("%d are deleted, first %s; want %d, the oldest first", len(actions), actions[0], Most)
	}
}

// However many nodes there are, a few of them sweep in an hour, and what a node
// left is found within some hours.
func TestFleetReadsLittle(t *testing.T) {
	const hours = 1000
	for _, nodes := range []int{1, 2, 3, 10, 100, 1000, 5000} {
		random := rand.New(rand.NewPCG(uint64(nodes), 1))
		sweeps, most, idle, longest := 0, 0, 0, 0
		for range hours {
			swept := 0
			for range nodes {
				if Mine(nodes, random.Float64()) {
					swept++
				}
			}
			sweeps += swept
			most = max(most, swept)
			if idle++; swept > 0 {
				idle = 0
			}
			longest = max(longest, idle)
		}
		// Each reads ENIs and, if there are candidates, instances.
		reads := 2 * float64(sweeps) / hours
		t.Logf("%d nodes: %.2f reads an hour, in no hour more than %d, at most %d hours without", nodes, reads, 2*most, longest)
		if reads > 4.4 || most > 12 || longest > 8 {
			t.Errorf("%d nodes: want at most 4.4, 24 and 8", nodes)
		}
	}
}
