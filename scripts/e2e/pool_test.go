package e2e

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// crowd adds so many pods that serve.
func (s *story) crowd(node *harness.Node, name string, n int) []*harness.Pod {
	s.Helper()
	var pods []*harness.Pod
	for i := range n {
		pods = append(pods, s.add(node, fmt.Sprintf("%s%d", name, i+1)))
	}
	return pods
}

// holds waits until EC2 has given a node so many ENIs, prefixes and single
// addresses for pods, and has nothing of it that is attached to nothing.
func (s *story) holds(node *harness.Node, enis, prefixes, addresses int) {
	s.Helper()
	s.within(30*time.Second, func() error {
		status, err := s.lab.Control.Status(s.ctx)
		if err != nil {
			return err
		}
		self, err := node.Status(s.ctx)
		if err != nil {
			return err
		}
		havePrefixes, haveAddresses := 0, 0
		for _, e := range self.Interfaces {
			havePrefixes += len(e.Prefixes)
			haveAddresses += len(e.Addresses) - 1
		}
		if len(status.Detached) > 0 || len(self.Interfaces) != enis || havePrefixes != prefixes || haveAddresses != addresses {
			return fmt.Errorf("%d ENIs, %d prefixes, %d addresses, %d ENIs attached to nothing; want %d, %d, %d, 0",
				len(self.Interfaces), havePrefixes, haveAddresses, len(status.Detached), enis, prefixes, addresses)
		}
		return nil
	})
}

// TestPrefixes serves pods from delegated prefixes, and switches a node that
// has pods from single addresses to prefixes and back.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	quick := []string{"CAUSEWAY_RELEASE_AFTER=1s", "IP_COOLDOWN_PERIOD=1"}
	node := s.start("n1", quick...)
	single := s.crowd(node, "single", 3)
	s.holds(node, 2, 0, 5)

	s.restart(node, append(quick, "ENABLE_PREFIX_DELEGATION=true")...)
	more := s.crowd(node, "prefix", 20)
	s.holds(node, 3, 2, 5)
	s.reach(append(single, more...)...)

	s.restart(node, quick...)
	s.reach(append(single, more...)...)
	for _, p := range more[:19] {
		s.must(p.Del(s.ctx))
	}
	s.holds(node, 2, 1, 3)
	s.reach(append(single, more[19])...)
	last := s.crowd(node, "last", 5) // of the prefix that is there
	s.holds(node, 2, 1, 3)
	s.reach(append(last, single...)...)
}

// TestGivingBack scales a node down: what is not needed any more goes back,
// ENIs included, and the pods that stay notice nothing.
func TestGivingBack(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "CAUSEWAY_RELEASE_AFTER=1s", "IP_COOLDOWN_PERIOD=1", "WARM_IP_TARGET=1")
	pods := s.crowd(node, "pod", 8)
	s.holds(node, 3, 0, 9)
	for _, p := range pods[1:] {
		s.must(p.Del(s.ctx))
	}
	s.holds(node, 1, 0, 2)
	s.reach(pods[0])
	s.reach(s.crowd(node, "again", 8)...)
}

// fragmented is a node in a subnet that has 500 free addresses, but not 16 in a
// row.
const fragmented = `
subnets: [{name: a, cidr: 10.0.0.0/22, tenants: {free: 500, pattern: scattered}}]
nodes: [{name: n1, subnet: a, type: m5.4xlarge}]
`

// TestFragmentedSubnet starts 100 pods at once where there is no prefix.
func TestFragmentedSubnet(t *testing.T) {
	t.Parallel()
	s := raise(t, fragmented)
	node := s.start("n1", "ENABLE_PREFIX_DELEGATION=true")
	pods := make([]*harness.Pod, 100)
	errs := make([]error, len(pods))
	var all sync.WaitGroup
	for i := range pods {
		all.Go(func() { pods[i], errs[i] = node.AddPod(s.ctx, fmt.Sprintf("pod%d", i+1)) })
	}
	all.Wait()
	s.must(errors.Join(errs...))
	for _, p := range []*harness.Pod{pods[0], pods[99]} {
		s.must(p.Serve(s.ctx))
		s.reach(p)
	}
	s.within(10*time.Second, func() error { return s.event("Node", "n1", "NoPrefix") })
	if n := len(s.book(node)); n != 100 {
		t.Errorf("%d addresses are in the book, want 100", n)
	}
}

// TestCustomNetworking makes ENIs where the node's ENIConfig says, once there is
// one; a pod that comes before is told so.
func TestCustomNetworking(t *testing.T) {
	t.Parallel()
	s := raise(t, `
vpc: {cidr: 10.0.0.0/16, secondaryCIDRs: [100.64.0.0/16]}
subnets: [{name: a, cidr: 10.0.0.0/24}, {name: pods, cidr: 100.64.0.0/24, zone: us-west-2a}]
nodes: [{name: n1, subnet: a, type: t3.small}]
`)
	node := s.start("n1", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=true", "ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone", "CAUSEWAY_ASSIGN_WAIT=2s")
	s.told(node, "NoENIConfig", []string{"ENIConfig"})
	status, err := s.lab.Control.Status(s.ctx)
	s.must(err)
	_, err = s.lab.Control.Apply(s.ctx, control.Object{
		"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": map[string]any{"name": "us-west-2a"},
		"spec": map[string]any{"subnet": status.Subnets[1].ID},
	})
	s.must(err)
	pods := s.crowd(node, "pod", 6)
	s.holds(node, 3, 0, 6)
	s.reach(pods...)
	for _, p := range pods {
		if !netip.MustParsePrefix("100.64.0.0/24").Contains(p.IP) {
			t.Errorf("%s has %s, want one of the ENIConfig's subnet", p.Name, p.IP)
		}
	}
}
