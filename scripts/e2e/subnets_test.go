package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestExternalServices has blocks that the main table routes also for the pods
// of a secondary ENI, for as long as the setting names them.
func TestExternalServices(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "AWS_EXTERNAL_SERVICE_CIDRS=203.0.113.0/24, 192.0.2.0/24")
	pods := s.addUntil(node, 1)
	pod := pods[len(pods)-1]
	leaves := func(destination, device string) error {
		route := s.shell(node, fmt.Sprintf("ip route get %s from %s iif %s", destination, pod.IP, link(pod)))
		if !strings.Contains(route, " dev "+device+" ") {
			return fmt.Errorf("from %s: %s, want by %s", pod.IP, route, device)
		}
		return nil
	}
	s.must(leaves("203.0.113.9", "eth0"))
	s.must(leaves("198.18.0.1", "eth1"))
	s.repairs(node, "ip rule | sort", watched, "ip rule del priority 1535; ip rule add priority 1535 to 198.18.0.0/15 lookup main")
	s.restart(node, "AWS_EXTERNAL_SERVICE_CIDRS=192.0.2.0/24")
	s.within(10*time.Second, func() error { return leaves("203.0.113.9", "eth1") })
	s.must(leaves("192.0.2.9", "eth0"))
	s.reach(pods...)
}

// TestCordonedNode has a node that is on its way out give back what is spare,
// keep its ENIs, and serve pods that come nonetheless from these.
func TestCordonedNode(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "CAUSEWAY_RELEASE_AFTER=1s", "CAUSEWAY_ASSIGN_WAIT=2s")
	pods := s.crowd(node, "pod", 2)
	s.holds(node, 2, 0, 4)
	s.cordon(node, true)
	s.holds(node, 2, 0, 2)
	pods = append(pods, s.crowd(node, "daemon", 4)...)
	s.holds(node, 2, 0, 6)
	if refusal := s.refused(node, "late"); refusal.Details != "NodeCordoned" {
		t.Errorf("ADD: %q %q, want NodeCordoned", refusal.Msg, refusal.Details)
	}
	s.cordon(node, false)
	s.holds(node, 3, 0, 8)
	s.reach(append(pods, s.add(node, "later"))...)
}

// cordon keeps new pods from a node, or no longer.
func (s *story) cordon(node *harness.Node, cordoned bool) {
	s.Helper()
	_, err := s.lab.Control.Apply(s.ctx, control.Object{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": node.Name},
		"spec": map[string]any{"unschedulable": cordoned},
	})
	s.must(err)
}

// zone is a node whose zone has a small subnet of its own, two that are tagged
// for pods, and one that is not.
const zone = `
subnets:
- {name: a, cidr: 10.0.0.0/28, zone: us-west-2a}
- {name: large, cidr: 10.0.4.0/24, zone: us-west-2a, tags: {kubernetes.io/role/cni: "1"}}
- {name: small, cidr: 10.0.5.0/26, zone: us-west-2a, tags: {kubernetes.io/role/cni: "1"}}
- {name: none, cidr: 10.0.8.0/22, zone: us-west-2a}
nodes: [{name: n1, subnet: a, type: t3.medium}]
`

// within counts the pods that have addresses of each block.
func within(pods []*harness.Pod, blocks ...string) []int {
	counts := make([]int, len(blocks))
	for _, p := range pods {
		for i, block := range blocks {
			if netip.MustParsePrefix(block).Contains(p.IP) {
				counts[i]++
			}
		}
	}
	return counts
}

// TestSubnetDiscovery makes ENIs in the tagged subnet that has most room, and in
// the next one when others have taken it.
func TestSubnetDiscovery(t *testing.T) {
	t.Parallel()
	s := raise(t, zone)
	node := s.start("n1")
	pods := s.crowd(node, "first", 8) // 5 of the primary ENI, and 3
	s.reach(pods...)
	if got := within(pods, "10.0.0.0/28", "10.0.4.0/24"); !slices.Equal(got, []int{5, 3}) {
		t.Errorf("%v pods are in the node's subnet and in that with most room, want 5 and 3", got)
	}
	_, err := s.lab.Control.Take(s.ctx, control.Tenants{Subnet: "large", Addresses: -1})
	s.must(err)
	more := s.crowd(node, "then", 6)
	s.reach(more...)
	if got := within(more, "10.0.5.0/26"); got[0] == 0 {
		t.Errorf("no pod is in the subnet that is left: %v", more)
	}
}

// TestExcludedSubnet gives pods no address of the node's own subnet, and says so
// where there is no other one until one is tagged.
func TestExcludedSubnet(t *testing.T) {
	t.Parallel()
	s := raise(t, `
subnets:
- {name: a, cidr: 10.0.0.0/24, zone: us-west-2a, tags: {kubernetes.io/role/cni: "0"}}
- {name: pods, cidr: 10.0.4.0/24, zone: us-west-2a}
nodes: [{name: n1, subnet: a, type: t3.small}]
`)
	node := s.start("n1", "CLUSTER_NAME=prod", "CAUSEWAY_ASSIGN_WAIT=2s")
	if refusal := s.refused(node, "early"); refusal.Details != "NoSubnet" || !strings.Contains(refusal.Msg, "kubernetes.io/role/cni") {
		t.Errorf("ADD: %q %q, want NoSubnet", refusal.Msg, refusal.Details)
	}
	status, err := s.lab.Control.Status(s.ctx)
	s.must(err)
	s.tag(node, status.Subnets[1].ID, "kubernetes.io/role/cni", "1")
	s.tag(node, status.Subnets[1].ID, "cni.networking.k8s.aws/cluster/prod", "1")
	s.restart(node, "CLUSTER_NAME=prod") // instead of the next look, in minutes
	pods := s.crowd(node, "pod", 6)
	s.reach(pods...)
	if got := within(pods, "10.0.4.0/24"); got[0] != 6 {
		t.Errorf("%d of 6 pods are in the subnet for pods", got[0])
	}
	s.holds(node, 3, 0, 6)
}

// tag writes a tag as an operator does.
func (s *story) tag(node *harness.Node, id, key, value string) {
	s.Helper()
	api, err := node.EC2(s.ctx)
	s.must(err)
	_, err = api.CreateTags(s.ctx, &ec2.CreateTagsInput{Resources: []string{id}, Tags: []types.Tag{{Key: &key, Value: &value}}})
	s.must(err)
}

// TestSubnetsUnknown has a role without ec2:DescribeSubnets: ENIs are made in
// the node's subnet, and the Node is told why.
func TestSubnetsUnknown(t *testing.T) {
	t.Parallel()
	s := raise(t, zone)
	s.faults(`{action: DescribeSubnets, effect: {error: {status: 403, code: UnauthorizedOperation}}}`)
	node := s.start("n1")
	pods := s.crowd(node, "pod", 6)
	s.reach(pods...)
	if got := within(pods, "10.0.0.0/28"); got[0] != 6 {
		t.Errorf("%d of 6 pods are in the node's subnet", got[0])
	}
	s.within(15*time.Second, func() error { return s.event("Node", "n1", "Unauthorized") })
	states, err := s.lab.Control.Faults(s.ctx)
	s.must(err)
	if asked := states[0].Fired; asked > 6 {
		t.Errorf("DescribeSubnets was called %d times", asked)
	}
}

// TestSecurityGroups gives the ENIs of a node the groups of the primary one when
// these change.
func TestSecurityGroups(t *testing.T) {
	t.Parallel()
	s := raise(t, `
securityGroups: [{name: web}, {name: db}]
nodes: [{name: n1, subnet: a, type: t3.small, securityGroups: [web]}]
`)
	node := s.start("n1", "WARM_IP_TARGET=3")
	s.crowd(node, "pod", 2)
	s.holds(node, 2, 0, 5)
	api, err := node.EC2(s.ctx)
	s.must(err)
	self, err := node.Status(s.ctx)
	s.must(err)
	described, err := api.DescribeSecurityGroups(s.ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"db", "web"}})
	s.must(err)
	both := []string{*described.SecurityGroups[0].GroupId, *described.SecurityGroups[1].GroupId}
	slices.Sort(both)
	_, err = api.ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &self.Interfaces[0].ID, Groups: both})
	s.must(err)
	s.within(30*time.Second, func() error {
		out, err := api.DescribeNetworkInterfaces(s.ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{self.Interfaces[1].ID}})
		if err != nil {
			return err
		}
		var got []string
		for _, g := range out.NetworkInterfaces[0].Groups {
			got = append(got, *g.GroupId)
		}
		if slices.Sort(got); !slices.Equal(got, both) {
			return fmt.Errorf("groups %v, want %v", got, both)
		}
		return nil
	})
}
