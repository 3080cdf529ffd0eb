package allocator

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// A daemon that is killed in the middle of any call to EC2: before the call
// arrives, before its answer does, or just after. Five minutes after the next
// start no pod has lost its address, no ENI is left over or untagged, and none
// outlives the instance.
func TestKilledAtEachCall(t *testing.T) {
	for _, c := range []call{create, attach, protect, assign, unassign, detach, remove} {
		for _, when := range []string{"before it arrives", "before its answer", "after its answer"} {
			t.Run(fmt.Sprint(c, " ", when), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { killedAt(t, c, when) })
			})
		}
	}
}

func killedAt(t *testing.T, c call, when string) {
	s, dir := settingsFor(large), t.TempDir()
	s.Pool.ReleaseAfter, s.Pool.CoolDown = 20*time.Second, 5*time.Second
	ec2 := newEC2(large, 0)
	ec2.latency, ec2.device, ec2.lag = time.Second, time.Second, 2*time.Second
	ctx, kill := context.WithCancel(t.Context())
	defer kill()
	var killed atomic.Bool
	ec2.fault = func(got call, _ int) fault {
		if got != c || killed.Swap(true) {
			return none
		}
		switch when {
		case "before it arrives":
			time.AfterFunc(ec2.latency/2, kill)
			return unsent
		case "before its answer":
			time.AfterFunc(ec2.latency/2, kill)
		default:
			time.AfterFunc(ec2.latency+time.Millisecond, kill)
		}
		return none
	}
	n := boot(t, s, ec2, dir)
	go func() { <-ctx.Done(); n.stop() }()
	n.growAndShrink(ctx)
	if ctx.Err() == nil {
		t.Fatalf("EC2 was not called: %v", ec2.history())
	}
	n.stop()
	before := n.Assignments()
	again := boot(t, s, ec2, dir)
	again.settle(5 * time.Minute)
	if diff := cmp.Diff(before, again.Assignments(), cmpopts.EquateComparable(netip.Addr{}), cmpopts.IgnoreFields(pool.Assignment{}, "ENI", "Device")); diff != "" {
		t.Errorf("assignments after the kill (-before +after):\n%s", diff)
	}
	again.check()
	again.noneLeaked(27)
	again.allProtected()
	ec2.set(func(f *fakeEC2) {
		for _, e := range f.enis {
			if e.Tags[pool.TagInstance] != instance {
				t.Errorf("%s has the tags %v", e.ID, e.Tags)
			}
		}
	})
}

// growAndShrink runs pods, and ends most of them: nothing that a node asks of
// EC2 is missing. It ends with ctx.
func (n *node) growAndShrink(ctx context.Context) {
	for i := range 14 {
		if _, err := n.Assign(ctx, request(fmt.Sprint("p", i))); err != nil && ctx.Err() == nil {
			n.t.Error(err)
		}
	}
	for i := 13; i > 1 && ctx.Err() == nil; i-- {
		n.release(fmt.Sprint("p", i))
	}
	select {
	case <-ctx.Done():
	case <-time.After(3 * time.Minute):
	}
}
