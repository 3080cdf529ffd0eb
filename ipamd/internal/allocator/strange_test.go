package allocator

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// An address that somebody assigned by hand is nobody's: no pod gets it, it is
// not given back, and a restart does not change that. It is forgotten when it is
// taken away by hand.
func TestStrangeAddress(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(map[bool]string{false: "found by a slow look", true: "found at a start"}[restarted], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, dir := settingsFor(large), t.TempDir()
				s.Pool.ReleaseAfter, s.Pool.MaxENIs = time.Minute, 1
				n := boot(t, s, newEC2(large, 0), dir)
				n.settle(time.Hour)
				strange := n.ec2.byHand("eni-0")
				n.settle(time.Second)
				if restarted {
					n = crash(t, n, s, dir)
					n.settle(time.Minute)
				} else {
					n.settle(calm)
				}
				if got := n.Snapshot().Count; got.Quarantined != 1 || got.MaxAddresses != 8 {
					t.Errorf("%d addresses are in quarantine, %d at most for pods; want 1 and 8", got.Quarantined, got.MaxAddresses)
				}
				n = crash(t, n, s, dir)
				for i := range 8 {
					if got := n.mustAdd(fmt.Sprint("p", i)); got.Address == strange {
						t.Errorf("%s is a stranger's and was handed out", strange)
					}
				}
				if got := n.add("more"); got.err == nil {
					t.Errorf("%s was handed out beyond the limit", got.Address)
				}
				for i := range 8 {
					n.release(fmt.Sprint("p", i))
				}
				n.settle(time.Hour)
				if _, _, left := n.ec2.has(); len(left) != 3 { // the headroom, and the stranger's
					t.Errorf("%v are left, want the stranger's and 2", left)
				}
				n.check()
				n.ec2.takeByHand("eni-0", strange)
				n.settle(time.Hour)
				if got := n.Snapshot().Count.Quarantined; got != 0 {
					t.Errorf("%d addresses are in quarantine, want none", got)
				}
			})
		})
	}
}

// What a call brought whose answer was lost is ours, also if describes waver:
// they do not show an ENI, or show it late.
func TestLostAnswersBringNoStrangers(t *testing.T) {
	ec2 := newEC2(large, 0)
	ec2.lag = 20 * time.Second
	ec2.fault = func(c call, n int) fault {
		if c == assign && n%2 == 1 {
			return lost
		}
		return none
	}
	inTime(t, settingsFor(large), func() *fakeEC2 { return ec2 }, func(t *testing.T, n *node) {
		var got []netip.Addr
		for i := range 12 {
			if a := n.add(fmt.Sprint("p", i)); a.err == nil {
				got = append(got, a.Address)
			}
			n.check()
		}
		n.settle(10 * time.Minute)
		n.ec2.hide("eni-1", true)
		n.settle(calm + time.Minute)
		n.ec2.hide("eni-1", false)
		n.settle(calm + time.Minute)
		if len(got) < 6 || n.Snapshot().Count.Quarantined != 0 {
			t.Errorf("%d pods have addresses, %d addresses are in quarantine; want 6 or more, and none", len(got), n.Snapshot().Count.Quarantined)
		}
	})
}
