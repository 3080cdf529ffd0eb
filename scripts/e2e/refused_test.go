package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestDeviceLate attaches ENIs whose devices appear seconds later: ADDs wait.
func TestDeviceLate(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	s.faults(`{action: device, effect: {deviceDelay: 3s}}`)
	node := s.start("n1")
	s.reach(s.addUntil(node, 1)...)
}

// TestDeviceNever attaches an ENI whose device never appears: the ADD says
// which one it is.
func TestDeviceNever(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	s.faults(`{action: device, effect: {deviceNever: true}}`)
	const wait = 3 * time.Second
	node := s.start("n1", "CAUSEWAY_ASSIGN_WAIT=3s")
	for i := range 3 {
		s.add(node, fmt.Sprintf("pod%d", i+1))
	}
	s.within(10*time.Second, func() error {
		status, err := node.Status(s.ctx)
		if err == nil && len(status.Interfaces) < 2 {
			err = errors.New("no second ENI")
		}
		return err
	})
	began := time.Now()
	refusal := s.refused(node, "late")
	if took := time.Since(began); took > wait+2*time.Second {
		t.Errorf("ADD failed after %s, want %s", took, wait)
	}
	status, err := node.Status(s.ctx)
	s.must(err)
	eni := status.Interfaces[1]
	if refusal.Details != "DeviceLate" || !strings.Contains(refusal.Msg, eni.ID) || !strings.Contains(refusal.Msg, eni.MAC) {
		t.Errorf("ADD: %q %q, want DeviceLate, %s and %s", refusal.Msg, refusal.Details, eni.ID, eni.MAC)
	}
}

// TestSubnetFull runs out of addresses, and has some again.
func TestSubnetFull(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "CAUSEWAY_ASSIGN_WAIT=4s")
	_, err := s.lab.Control.Take(s.ctx, control.Tenants{Subnet: "a", Addresses: -1})
	s.must(err)
	s.add(node, "pod1")
	s.add(node, "pod2")
	refusal := s.refused(node, "pod3")
	status, err := s.lab.Control.Status(s.ctx)
	s.must(err)
	if subnet := status.Subnets[0].ID; refusal.Details != "SubnetFull" || !strings.Contains(refusal.Msg, subnet) {
		t.Errorf("ADD: %q %q, want SubnetFull and %s", refusal.Msg, refusal.Details, subnet)
	}
	_, err = s.lab.Control.Give(s.ctx, "a", -1)
	s.must(err)
	s.reach(s.insist(node, "pod4")) // EC2 may have been asked just before
}

// refused adds a pod that must be told to come again later.
func (s *story) refused(node *harness.Node, name string) types.Error {
	s.Helper()
	pod, err := node.NewSandbox(s.ctx, name)
	s.must(err)
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	err = pod.Add(ctx)
	var refusal *types.Error
	if !errors.As(err, &refusal) || refusal.Code != types.ErrTryAgainLater {
		s.Fatalf("ADD of %s: %v, want code %d", name, err, types.ErrTryAgainLater)
	}
	s.Logf("ADD of %s: code %d: %s (%s)", name, refusal.Code, refusal.Msg, refusal.Details)
	s.must(pod.Del(s.ctx))
	return *refusal
}
