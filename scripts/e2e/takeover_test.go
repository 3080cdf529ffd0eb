package e2e

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// TestTakeOver starts the daemon on a node where another agent has wired pods,
// one on each ENI. They never lose their network, nobody else gets their
// addresses, and DEL releases them.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.lab.Node("n1")
	onSecondary := s.attachByHand(node)
	onPrimary := s.assignByHand(node)
	old := []*harness.Pod{s.wireByHand(node, "old1", onPrimary, 0), s.wireByHand(node, "old2", onSecondary, 1)}
	s.reach(old...)
	before := s.shell(node, "ip -4 rule; ip -4 route; ip -4 route show table 2; ip -br link | grep ^eni")

	s.start("n1")
	s.reach(old...)
	after := s.shell(node, "ip -4 rule; ip -4 route; ip -4 route show table 2; ip -br link | grep ^eni")
	for _, line := range lines(before) {
		if !strings.Contains(after, line) {
			t.Errorf("the take-over lost %q:\n%s", line, after)
		}
	}
	for _, p := range old {
		if e := s.book(node)[p.IP.String()]; e.State != "assigned" || !e.Adopted {
			t.Errorf("%s is %+v, want it assigned and adopted", p.IP, e)
		}
	}
	var fresh []*harness.Pod // all that the node can hold besides
	for i := range 3*3 - len(old) {
		p := s.add(node, fmt.Sprintf("pod%d", i+1))
		if p.IP == onPrimary || p.IP == onSecondary {
			t.Errorf("%s was given %s, which another pod has", p.Name, p.IP)
		}
		fresh = append(fresh, p)
	}
	s.reach(append(fresh, old...)...)
	peer := netip.MustParseAddrPort("203.0.113.10:7")
	for _, p := range old {
		if _, err := p.Probe(s.ctx, "udp", peer, 1); err != nil {
			t.Errorf("%s to the internet: %v", p.Name, err)
		}
		s.must(p.Del(s.ctx))
		if e := s.book(node)[p.IP.String()]; e.State != "cooling" {
			t.Errorf("%s after DEL: %+v", p.IP, e)
		}
		if left := s.traces(node, p.IP.String()); len(left) > 0 {
			t.Errorf("DEL of %s leaves\n%s", p.Name, strings.Join(left, "\n"))
		}
		s.must(p.Remove(s.ctx))
	}
	s.reach(fresh...)
}

// attachByHand gives the node a second ENI as aws-node does, and returns one of
// its addresses.
func (s *story) attachByHand(node *harness.Node) netip.Addr {
	s.Helper()
	api, err := node.EC2(s.ctx)
	s.must(err)
	self, err := node.Status(s.ctx)
	s.must(err)
	all, err := s.lab.Control.Status(s.ctx)
	s.must(err)
	created, err := api.CreateNetworkInterface(s.ctx, &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(all.Subnets[0].ID), SecondaryPrivateIpAddressCount: aws.Int32(1), Description: aws.String("aws-K8S-" + self.InstanceID),
	})
	s.must(err)
	_, err = api.AttachNetworkInterface(s.ctx, &ec2.AttachNetworkInterfaceInput{
		DeviceIndex: aws.Int32(1), InstanceId: aws.String(self.InstanceID), NetworkInterfaceId: created.NetworkInterface.NetworkInterfaceId,
	})
	s.must(err)
	s.within(10*time.Second, func() error {
		_, err := node.Exec(s.ctx, "ip", "link", "show", "dev", "eth1")
		return err
	})
	s.shell(node, `
		sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.rp_filter=2
		ip link set eth1 up mtu 9001
		ip route add 10.0.0.1 dev eth1 scope link table 2
		ip route add default via 10.0.0.1 dev eth1 table 2
		ip rule add priority 1024 fwmark 0x80/0x80 lookup main`)
	return netip.MustParseAddr(*created.NetworkInterface.PrivateIpAddresses[1].PrivateIpAddress)
}

// assignByHand gives the primary ENI another address.
func (s *story) assignByHand(node *harness.Node) netip.Addr {
	s.Helper()
	api, err := node.EC2(s.ctx)
	s.must(err)
	self, err := node.Status(s.ctx)
	s.must(err)
	out, err := api.AssignPrivateIpAddresses(s.ctx, &ec2.AssignPrivateIpAddressesInput{
		NetworkInterfaceId: aws.String(self.Interfaces[0].ID), SecondaryPrivateIpAddressCount: aws.Int32(1),
	})
	s.must(err)
	return netip.MustParseAddr(*out.AssignedPrivateIpAddresses[0].PrivateIpAddress)
}

// wireByHand makes a pod's network as aws-node does.
func (s *story) wireByHand(node *harness.Node, name string, address netip.Addr, device int) *harness.Pod {
	s.Helper()
	p, err := node.NewSandbox(s.ctx, name)
	s.must(err)
	p.IP = address
	link := podnet.VethName("eni", "default", name)
	s.must(p.Remember(fmt.Sprintf(`{"cniVersion": "0.4.0", "interfaces": [{"name": %q},
		{"name": "eth0", "sandbox": %q, "mac": "%d"}, {"name": "dummy%s", "mac": "0", "sandbox": "%d"}],
		"ips": [{"version": "4", "interface": 1, "address": "%s/32"}]}`, link, p.Netns(), 254, link[3:], device, address)))
	sum := sha1.Sum([]byte("default." + name))
	host := "eni" + hex.EncodeToString(sum[:])[:11]
	script := `
		set -e
		ip link add HOST type veth peer name eth0 netns POD
		ip link set HOST up
		ip netns exec POD ip link set eth0 up
		ip netns exec POD ip addr add ADDR/32 dev eth0
		ip netns exec POD ip route add 169.254.1.1 dev eth0 scope link
		ip netns exec POD ip route add default via 169.254.1.1 dev eth0
		ip netns exec POD ip neigh add 169.254.1.1 dev eth0 lladdr $(cat /sys/class/net/HOST/address) nud permanent
		ip route add ADDR dev HOST scope link
		ip rule add priority 512 to ADDR lookup main`
	if device > 0 {
		script += fmt.Sprintf("\nip rule add priority 1536 from ADDR lookup %d", device+1)
	}
	s.shell(node, strings.NewReplacer("HOST", host, "POD", name, "ADDR", address.String()).Replace(script))
	s.must(p.Serve(s.ctx))
	return p
}
