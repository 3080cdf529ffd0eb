// Package sweep finds the ENIs that nodes of the cluster left behind which are
// gone: created and not attached yet when the instance ended, or detached. They
// cost addresses of the subnet, and nobody else deletes them.
//
// It is pure. It names an ENI only if all says that it is garbage: made by us
// or by aws-node, for this cluster, long ago, attached to nothing, and for an
// instance that EC2 does not have any more. What a node has left that lives is
// that node's own, whatever its state; and so is all of another cluster.
package sweep

import (
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

const (
	// SafeAge is how old an ENI must be: much older than what EC2 may show late
	// of a new instance.
	SafeAge = 15 * time.Minute
	// Most is how many ENIs one sweep deletes. A filter of EC2 takes 200 values.
	Most = 100
	// perPeriod is how many nodes of a cluster sweep in a period, on average:
	// with two of them, an ENI rarely stays for three periods.
	perPeriod = 2
)

// Mine says whether this node sweeps in this period, as one of so many that
// decide for themselves. chance is random, 0 or more and under 1.
func Mine(nodes int, chance float64) bool { return chance*float64(nodes) < perPeriod }

// Candidates are ENIs of other instances of the cluster that may be garbage, the
// oldest first. cluster is not empty.
func Candidates(enis []pool.ENI, cluster, instance string, now time.Time) []pool.ENI {
	var out []pool.ENI
	for _, e := range enis {
		if owner := Owner(e); e.Status == pool.Available && e.AttachmentID == "" && !e.Primary &&
			e.Tags[pool.TagCluster] == cluster && e.Tags[pool.TagNoManage] != "true" &&
			strings.HasPrefix(owner, "i-") && owner != instance && e.Description == pool.Description(owner) &&
			!e.Created.IsZero() && now.Sub(e.Created) >= SafeAge {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b pool.ENI) int {
		if older := a.Created.Compare(b.Created); older != 0 {
			return older
		}
		return strings.Compare(string(a.ID), string(b.ID))
	})
	return out[:min(len(out), Most)]
}

// Owner is the instance that an ENI was made for.
func Owner(e pool.ENI) string { return e.Tags[pool.TagInstance] }

// Owners are the instances whose state decides, each once.
func Owners(candidates []pool.ENI) []string {
	var out []string
	for _, e := range candidates {
		out = append(out, Owner(e))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Plan deletes what belongs to none of the instances that exist.
func Plan(candidates []pool.ENI, exists map[string]bool) []pool.DeleteENI {
	var out []pool.DeleteENI
	for _, e := range candidates {
		if owner := Owner(e); !exists[owner] {
			out = append(out, pool.DeleteENI{ENI: e.ID, Reason: "left by " + owner + ", which is gone"})
		}
	}
	return out
}
