package sim

import (
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/throttle"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Buckets are the token buckets of an account's EC2 API, as the simulator's
// own endpoint has them: Allow(action, kind, now) takes a token, Of names the
// bucket that a call takes from. They know no clock and do no work between
// calls, so that thousands of clients in virtual time can share them.
type Buckets = throttle.Buckets

// Bucket is one of them: name, size and refill per second.
type Bucket = throttle.Bucket

// Kind is what, besides its action, decides which bucket a Describe call takes
// from.
type Kind = throttle.Kind

// NewBuckets returns full buckets: those that AWS documents, with what the
// throttle section of the topology changes in them. An empty topology changes
// nothing.
func NewBuckets(topologyYAML string) (*Buckets, error) {
	topo, err := topology.Parse([]byte(topologyYAML))
	if err != nil {
		return nil, err
	}
	return throttle.New(topo.Throttle), nil
}
