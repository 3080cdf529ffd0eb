package sim_test

import (
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// TestBucketsOfAFleet lets a thousand clients create an interface each, one
// retry per second, in virtual time.
func TestBucketsOfAFleet(t *testing.T) {
	b, err := sim.NewBuckets("{throttle: {buckets: {AttachNetworkInterface: {size: 10, refill: 1}}}}")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(0, 0)
	left := 1000
	for ; left > 0; now = now.Add(time.Second) {
		for n := left; n > 0 && b.Allow("CreateNetworkInterface", sim.Kind{}, now); n-- {
			left--
		}
	}
	if took, want := now.Sub(time.Unix(0, 0)), b.Of("CreateNetworkInterface", sim.Kind{}).Takes(1000); took < want || took > want+2*time.Second {
		t.Errorf("a thousand creates took %v, want %v", took, want)
	}
	if got, want := b.Of("AttachNetworkInterface", sim.Kind{}), (sim.Bucket{Name: "AttachNetworkInterface", Size: 10, Refill: 1}); got != want {
		t.Errorf("attachments take from %+v, want %+v", got, want)
	}
	if got := b.Of("DescribeNetworkInterfaces", sim.Kind{ByID: true}).Name; got != "DescribeNetworkInterfaces unfiltered" {
		t.Errorf("a describe by id takes from %q", got)
	}
	if _, err := sim.NewBuckets("{throttle: {buckets: {Nothing: {size: 1}}}}"); err == nil {
		t.Error("buckets of an action that is not there")
	}
}
