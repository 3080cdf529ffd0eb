package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// TestKilledInEC2Calls kills the daemon when EC2 has carried out a call and its
// answer is not there yet, for each call that a node makes as it grows and as
// it gives back. No ENI is ever without our tag, the next daemon finds or
// removes what was left, and pods keep what they have.
func TestKilledInEC2Calls(t *testing.T) {
	for _, action := range []string{"AssignPrivateIpAddresses", "CreateNetworkInterface", "AttachNetworkInterface", "ModifyNetworkInterfaceAttribute",
		"UnassignPrivateIpAddresses", "DetachNetworkInterface", "DeleteNetworkInterface"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := raise(t, small)
			shrinks := strings.HasPrefix(action, "Un") || strings.HasPrefix(action, "De")
			env := []string{"CAUSEWAY_RELEASE_AFTER=1s", "IP_COOLDOWN_PERIOD=1", "WARM_IP_TARGET=1"}
			node := s.start("n1", env...)
			var pods []*harness.Pod
			if shrinks {
				pods = s.crowd(node, "pod", 8)
			}
			s.faults(fmt.Sprintf("{action: %s, nth: 1, effect: {lost: true, hang: true}}", action))
			var all sync.WaitGroup
			if shrinks {
				for _, p := range pods[1:] {
					s.must(p.Del(s.ctx))
				}
				pods = pods[:1]
			} else {
				pods = make([]*harness.Pod, 5)
				for i := range pods {
					all.Go(func() { pods[i] = s.insist(node, fmt.Sprintf("pod%d", i+1)) })
				}
			}
			s.within(20*time.Second, s.metFault)
			s.must(node.Daemon().Kill())
			s.tagged(node)
			s.must(s.lab.Control.ClearFaults(s.ctx))
			s.start("n1", env...)
			all.Wait()
			if shrinks {
				s.holds(node, 1, 0, 2)
			} else {
				s.holds(node, 2, 0, 6)
			}
			s.reach(pods...)
			s.tagged(node)
		})
	}
}

// insist adds a pod as kubelet does, until it has its network.
func (s *story) insist(node *harness.Node, name string) *harness.Pod {
	pod, err := node.NewSandbox(s.ctx, name)
	if err == nil {
		err = s.poll(time.Minute, func() error { return addOrUndo(s, pod) })
	}
	if err == nil {
		err = pod.Serve(s.ctx)
	}
	if err != nil {
		s.Error(err)
	}
	return pod
}

// metFault says whether each fault in force met a call.
func (s *story) metFault() error {
	states, err := s.lab.Control.Faults(s.ctx)
	for _, f := range states {
		if f.Fired == 0 {
			err = errors.Join(err, fmt.Errorf("no call of %s", f.Rule.Action))
		}
	}
	return err
}

// tagged: each ENI but the primary ones has the tags of the node.
func (s *story) tagged(node *harness.Node) {
	s.Helper()
	api, err := node.EC2(s.ctx)
	s.must(err)
	self, err := node.Status(s.ctx)
	s.must(err)
	all, err := api.DescribeNetworkInterfaces(s.ctx, &ec2.DescribeNetworkInterfacesInput{})
	s.must(err)
	for _, e := range all.NetworkInterfaces {
		if a := e.Attachment; a != nil && a.DeviceIndex != nil && *a.DeviceIndex == 0 {
			continue
		}
		tags := map[string]string{}
		for _, tag := range e.TagSet {
			tags[*tag.Key] = *tag.Value
		}
		if tags["node.k8s.amazonaws.com/instance_id"] != self.InstanceID || tags["node.k8s.amazonaws.com/createdAt"] == "" {
			s.Errorf("%s has the tags %v", *e.NetworkInterfaceId, tags)
		}
	}
}
