// Package throttle holds the token buckets of the EC2 API: one per action,
// shared by all callers of the account, with the documented sizes.
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

// Allow takes a token for a call, and reports false if there is none.
func (b *Buckets) Allow(action string, kind Kind, now time.Time) bool {
	if !b.config.Enabled {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	name, size := b.bucket(action, kind)
	l, ok := b.left[name]
	if !ok {
		l = &level{size.Size, now}
		b.left[name] = l
	}
	l.tokens = math.Min(size.Size, l.tokens+now.Sub(l.at).Seconds()*size.Refill)
	l.at = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// bucket names the bucket of a call and gives its size.
func (b *Buckets) bucket(action string, kind Kind) (string, topology.Bucket) {
	if own, ok := b.config.Buckets[action]; ok {
		return action, own
	}
	unfiltered := !kind.Filtered && (!kind.ByID || b.config.DescribeByIDSmall)
	if unfiltered && slices.Contains([]string{"DescribeInstances", "DescribeNetworkInterfaces", "DescribeSecurityGroups"}, action) {
		return action + " unfiltered", topology.Bucket{Size: 50, Refill: 10}
	}
	return action, Documented(action)
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
