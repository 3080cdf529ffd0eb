// Package throttle holds the token buckets of the EC2 API: one per action,
// shared by all callers of the account, with the documented sizes. Time is an
// argument, so that the EC2 endpoint can count in real time and a simulation
// of a fleet in its own.
package throttle

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Kind is what decides which bucket a Describe call takes from.
type Kind struct {
	Filtered bool // it has a filter or asks for pages
	ByID     bool // it names ids
}

// Bucket is what a call takes a token from: one for all calls of the account
// with the same Name.
type Bucket struct {
	Name   string  // the action, with " unfiltered" if it has a bucket of its own
	Size   float64 // tokens when full
	Refill float64 // tokens per second
}

// Takes is the least time in which a full bucket serves n calls, by its rate;
// the longest time there is if it never can.
func (b Bucket) Takes(n int) time.Duration {
	short := float64(n) - b.Size
	switch {
	case short <= 0:
		return 0
	case b.Refill <= 0:
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(short / b.Refill * float64(time.Second)))
}

// Buckets counts requests. It is safe for concurrent use.
type Buckets struct {
	config topology.Throttle

	mu   sync.Mutex
	left map[string]*level
}

type level struct {
	tokens float64
	at     time.Time
}

// New returns full buckets.
func New(config topology.Throttle) *Buckets {
	return &Buckets{config: config, left: map[string]*level{}}
}

// Allow takes a token for a call at a moment, and reports false if there is
// none. Moments of one bucket do not go back.
func (b *Buckets) Allow(action string, kind Kind, now time.Time) bool {
	if !b.config.Enabled {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.Of(action, kind)
	l, ok := b.left[bucket.Name]
	if !ok {
		l = &level{bucket.Size, now}
		b.left[bucket.Name] = l
	}
	l.tokens = math.Min(bucket.Size, l.tokens+now.Sub(l.at).Seconds()*bucket.Refill)
	l.at = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// Of is the bucket that a call takes from.
func (b *Buckets) Of(action string, kind Kind) Bucket {
	if own, ok := b.config.Buckets[action]; ok {
		return Bucket{action, own.Size, own.Refill}
	}
	unfiltered := !kind.Filtered && (!kind.ByID || b.config.DescribeByIDSmall)
	if unfiltered && slices.Contains([]string{"DescribeInstances", "DescribeNetworkInterfaces", "DescribeSecurityGroups"}, action) {
		return Bucket{action + " unfiltered", 50, 10}
	}
	documented := Documented(action)
	return Bucket{action, documented.Size, documented.Refill}
}

// Documented is the bucket that AWS documents for an action; for Describe
// actions that of filtered or paginated calls.
func Documented(action string) topology.Bucket {
	switch action {
	case "CreateNetworkInterface", "DeleteNetworkInterface", "ModifyNetworkInterfaceAttribute",
		"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "AssignIpv6Addresses":
		return topology.Bucket{Size: 100, Refill: 5}
	case "CreateTags", "DeleteTags":
		return topology.Bucket{Size: 100, Refill: 10}
	}
	if strings.HasPrefix(action, "Describe") {
		return topology.Bucket{Size: 100, Refill: 20}
	}
	return topology.Bucket{Size: 50, Refill: 5}
}
