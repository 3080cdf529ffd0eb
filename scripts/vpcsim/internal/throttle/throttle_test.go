package throttle

import (
	"math"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// TestDocumentedSizes empties each bucket at one moment, and again after ten
// seconds of refill.
func TestDocumentedSizes(t *testing.T) {
	tests := []struct {
		action       string
		kind         Kind
		size, refill int
	}{
		{"CreateNetworkInterface", Kind{}, 100, 5},
		{"DeleteNetworkInterface", Kind{}, 100, 5},
		{"ModifyNetworkInterfaceAttribute", Kind{}, 100, 5},
		{"AssignPrivateIpAddresses", Kind{}, 100, 5},
		{"UnassignPrivateIpAddresses", Kind{}, 100, 5},
		{"AssignIpv6Addresses", Kind{}, 100, 5},
		{"UnassignIpv6Addresses", Kind{}, 50, 5},
		{"AttachNetworkInterface", Kind{}, 50, 5},
		{"DetachNetworkInterface", Kind{}, 50, 5},
		{"CreateTags", Kind{}, 100, 10},
		{"DeleteTags", Kind{}, 100, 10},
		{"DescribeNetworkInterfaces", Kind{}, 50, 10},
		{"DescribeNetworkInterfaces", Kind{ByID: true}, 50, 10},
		{"DescribeNetworkInterfaces", Kind{Filtered: true}, 100, 20},
		{"DescribeInstances", Kind{}, 50, 10},
		{"DescribeSecurityGroups", Kind{}, 50, 10},
		{"DescribeSubnets", Kind{}, 100, 20},
		{"DescribeInstanceTypes", Kind{}, 100, 20},
	}
	for _, tt := range tests {
		b := New(topology.Throttle{Enabled: true, DescribeByIDSmall: true})
		now := time.Unix(0, 0)
		if got := drain(b, tt.action, tt.kind, now); got != tt.size {
			t.Errorf("%s %+v: a burst of %d, want %d", tt.action, tt.kind, got, tt.size)
		}
		want := min(tt.size, 10*tt.refill)
		if got := drain(b, tt.action, tt.kind, now.Add(10*time.Second)); got != want {
			t.Errorf("%s %+v: %d calls after 10 s, want %d", tt.action, tt.kind, got, want)
		}
	}
}

func drain(b *Buckets, action string, kind Kind, now time.Time) int {
	for n := range 1000 {
		if !b.Allow(action, kind, now) {
			return n
		}
	}
	return 1000
}

func TestSettings(t *testing.T) {
	now := time.Unix(0, 0)
	if got := drain(New(topology.Throttle{}), "CreateTags", Kind{}, now); got != 1000 {
		t.Errorf("throttled after %d calls though it is off", got)
	}
	b := New(topology.Throttle{Enabled: true, Buckets: map[string]topology.Bucket{"CreateTags": {Size: 2}}})
	if got := drain(b, "CreateTags", Kind{}, now); got != 2 {
		t.Errorf("own bucket of 2 allowed %d", got)
	}
	if got := drain(b, "DescribeInstances", Kind{ByID: true}, now); got != 100 {
		t.Errorf("describe by id took from a bucket of %d, want the large one", got)
	}
	if got := drain(b, "DescribeInstances", Kind{}, now); got != 50 {
		t.Errorf("the small bucket is not its own: %d", got)
	}
}

// TestTakes holds that the least time for a number of calls is what asking
// for them as early as possible takes.
func TestTakes(t *testing.T) {
	b := New(topology.Throttle{Enabled: true})
	attach := b.Of("AttachNetworkInterface", Kind{})
	if attach != (Bucket{"AttachNetworkInterface", 50, 5}) {
		t.Errorf("attachments take from %+v", attach)
	}
	start := time.Unix(0, 0)
	now, done := start, 0
	for ; done < 200; now = now.Add(100 * time.Millisecond) {
		for b.Allow("AttachNetworkInterface", Kind{}, now) {
			done++
		}
	}
	if took, want := now.Sub(start), attach.Takes(200); took < want || took > want+time.Second {
		t.Errorf("200 attachments took %v, want %v", took, want)
	}
	if got := attach.Takes(50); got != 0 {
		t.Errorf("a full bucket serves its size in %v", got)
	}
	if got := (Bucket{Size: 1}).Takes(2); got != math.MaxInt64 {
		t.Errorf("a bucket without refill serves more than its size in %v", got)
	}
}
