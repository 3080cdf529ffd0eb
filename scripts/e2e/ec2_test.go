package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// roomy is a node that needs a second ENI for the pods of these stories.
const roomy = `
nodes: [{name: n1, subnet: a, type: m5.large}]
`

const (
	headroom = 2  // free addresses that the daemon keeps
	crowd    = 12 // pods that come at once
)

// TestEC2Faults adds many pods at once while EC2 misbehaves. All get their
// network in the end, and no ENI is left that nobody uses.
func TestEC2Faults(t *testing.T) {
	for _, fault := range []struct {
		name, rules string
	}{
		{"throttled", `
- {action: AssignPrivateIpAddresses, window: {for: 3s}, effect: {throttle: true}}
- {action: CreateNetworkInterface, window: {for: 3s}, effect: {throttle: true}}`},
		{"slow", `
- {action: "*PrivateIpAddresses", effect: {latency: 2s}}
- {action: "*NetworkInterface", effect: {latency: 2s}}`},
		{"reset", `
- {action: "Assign*", nth: 1, effect: {reset: true}}
- {action: "Create*", nth: 1, effect: {reset: true}}
- {action: "Attach*", nth: 1, effect: {reset: true}}
- {action: "DescribeNetworkInterfaces", every: 2, effect: {reset: true}}`},
		{"lost", `
- {action: "Assign*", nth: 1, effect: {lost: true}}
- {action: "Create*", nth: 1, effect: {lost: true}}
- {action: "Attach*", nth: 1, effect: {lost: true}}`},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			s := raise(t, roomy)
			node := s.start("n1", "CAUSEWAY_RELEASE_AFTER=1s", "IP_COOLDOWN_PERIOD=1")
			s.faults(fault.rules)
			pods := s.addCrowd(node)
			s.reach(pods...)
			s.within(20*time.Second, func() error { return s.settled(node, len(pods)) })
			states, err := s.lab.Control.Faults(s.ctx)
			s.must(err)
			met := 0
			for _, f := range states {
				t.Logf("%s met %d calls", f.Rule.Action, f.Fired)
				met += f.Fired
			}
			if met == 0 {
				t.Error("no call met a fault")
			}
		})
	}
}

// addCrowd adds pods at once, each as kubelet does: a failed ADD is followed
// by DEL and tried again.
func (s *story) addCrowd(node *harness.Node) []*harness.Pod {
	s.Helper()
	pods := make([]*harness.Pod, crowd)
	var all sync.WaitGroup
	for i := range pods {
		all.Go(func() { pods[i] = s.insist(node, fmt.Sprintf("pod%d", i+1)) })
	}
	all.Wait()
	if s.Failed() {
		s.FailNow()
	}
	return pods
}

func addOrUndo(s *story, pod *harness.Pod) error {
	err := pod.Add(s.ctx)
	if err != nil {
		s.Logf("ADD of %s: %v", pod.Name, err)
		if err := pod.Del(s.ctx); err != nil {
			s.Errorf("DEL of %s: %v", pod.Name, err)
		}
	}
	return err
}

// settled says whether EC2 holds what this many pods need, and no ENI more; nor
// more or fewer addresses than are worth a call.
func (s *story) settled(node *harness.Node, pods int) error {
	status, err := s.lab.Control.Status(s.ctx)
	if err != nil {
		return err
	}
	if len(status.Detached) > 0 {
		return fmt.Errorf("ENIs that are attached to nothing: %+v", status.Detached)
	}
	self, err := node.Status(s.ctx)
	if err != nil {
		return err
	}
	have, each := 0, []string{}
	for _, e := range self.Interfaces {
		have += len(e.Addresses) - 1
		each = append(each, fmt.Sprintf("%s: %d", e.ID, len(e.Addresses)-1))
	}
	if len(self.Interfaces) != 2 {
		return fmt.Errorf("%d ENIs for %d pods, want 2 (%s)", len(self.Interfaces), pods, strings.Join(each, ", "))
	}
	spare := headroom + pods/10
	if least, most := pods+spare-spare/3, pods+spare+2; have < least || have > most {
		return fmt.Errorf("EC2 gave %d addresses for %d pods, want %d to %d (%s)", have, pods, least, most, strings.Join(each, ", "))
	}
	return nil
}

// TestLeftoverENI kills the daemon between the creation of an ENI and its
// attachment. The next one attaches it, or deletes it if nobody needs it.
func TestLeftoverENI(t *testing.T) {
	for _, needed := range []bool{true, false} {
		t.Run(map[bool]string{true: "needed", false: "idle"}[needed], func(t *testing.T) {
			t.Parallel()
			s := raise(t, small)
			node := s.start("n1", "IP_COOLDOWN_PERIOD=0")
			s.faults(`{action: AttachNetworkInterface, effect: {error: {code: InternalError}}}`)
			first, second := s.add(node, "pod1"), s.add(node, "pod2")
			var leftover string
			s.within(10*time.Second, func() error {
				status, err := s.lab.Control.Status(s.ctx)
				if err == nil && len(status.Detached) != 1 {
					err = fmt.Errorf("want one ENI that is not attached, have %+v", status.Detached)
				}
				if err == nil {
					leftover = status.Detached[0].ID
				}
				return err
			})
			s.must(node.Daemon().Kill())
			s.must(s.lab.Control.ClearFaults(s.ctx))
			if !needed {
				s.must(first.Del(s.ctx))
				s.must(second.Del(s.ctx))
			}
			s.start("n1", "IP_COOLDOWN_PERIOD=0")
			s.within(15*time.Second, func() error {
				status, err := node.Status(s.ctx)
				if err != nil {
					return err
				}
				attached := len(status.Interfaces) == 2 && status.Interfaces[1].ID == leftover
				if attached != needed {
					return fmt.Errorf("%s attached: %t, want %t", leftover, attached, needed)
				}
				all, err := s.lab.Control.Status(s.ctx)
				if err == nil && len(all.Detached) > 0 {
					err = fmt.Errorf("left behind: %+v", all.Detached)
				}
				return err
			})
		})
	}
}
