package e2e

import (
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// What aws-node does on a node, done by hand: its ENIs, its pods and its book.

// attachByHand gives the node a further ENI, and returns its addresses for
// pods.
func (s *story) attachByHand(node *harness.Node, device, addresses int) []netip.Addr {
	s.Helper()
	api, err := node.EC2(s.ctx)
	s.must(err)
	self, err := node.Status(s.ctx)
	s.must(err)
	all, err := s.lab.Control.Status(s.ctx)
	s.must(err)
	created, err := api.CreateNetworkInterface(s.ctx, &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(all.Subnets[0].ID), SecondaryPrivateIpAddressCount: aws.Int32(int32(addresses)), Description: aws.String("aws-K8S-" + self.InstanceID),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: []types.Tag{
			{Key: aws.String("node.k8s.amazonaws.com/instance_id"), Value: aws.String(self.InstanceID)},
			{Key: aws.String("node.k8s.amazonaws.com/createdAt"), Value: aws.String(time.Now().Format(time.RFC3339))},
		}}},
	})
	s.must(err)
	attached, err := api.AttachNetworkInterface(s.ctx, &ec2.AttachNetworkInterfaceInput{
		DeviceIndex: aws.Int32(int32(device)), InstanceId: aws.String(self.InstanceID), NetworkInterfaceId: created.NetworkInterface.NetworkInterfaceId,
	})
	s.must(err)
	_, err = api.ModifyNetworkInterfaceAttribute(s.ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: created.NetworkInterface.NetworkInterfaceId,
		Attachment:         &types.NetworkInterfaceAttachmentChanges{AttachmentId: attached.AttachmentId, DeleteOnTermination: aws.Bool(true)},
	})
	s.must(err)
	link := fmt.Sprintf("eth%d", device)
	s.within(10*time.Second, func() error {
		_, err := node.Exec(s.ctx, "ip", "link", "show", "dev", link)
		return err
	})
	s.shell(node, strings.NewReplacer("LINK", link, "TABLE", fmt.Sprint(device+1)).Replace(`
		sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.rp_filter=2
		ip link set LINK up mtu 9001
		ip route add 10.0.0.1 dev LINK scope link table TABLE
		ip route add default via 10.0.0.1 dev LINK table TABLE
		ip rule | grep -q ^1024: || ip rule add priority 1024 fwmark 0x80/0x80 lookup main`))
	var out []netip.Addr
	for _, a := range created.NetworkInterface.PrivateIpAddresses {
		if !aws.ToBool(a.Primary) {
			out = append(out, netip.MustParseAddr(*a.PrivateIpAddress))
		}
	}
	return out
}

// assignByHand gives the primary ENI more addresses.
func (s *story) assignByHand(node *harness.Node, addresses int) []netip.Addr {
	s.Helper()
	api, err := node.EC2(s.ctx)
	s.must(err)
	self, err := node.Status(s.ctx)
	s.must(err)
	assigned, err := api.AssignPrivateIpAddresses(s.ctx, &ec2.AssignPrivateIpAddressesInput{
		NetworkInterfaceId: aws.String(self.Interfaces[0].ID), SecondaryPrivateIpAddressCount: aws.Int32(int32(addresses)),
	})
	s.must(err)
	var out []netip.Addr
	for _, a := range assigned.AssignedPrivateIpAddresses {
		out = append(out, netip.MustParseAddr(*a.PrivateIpAddress))
	}
	return out
}

// wireByHand makes a pod's network as aws-node does.
func (s *story) wireByHand(node *harness.Node, name string, address netip.Addr, device int) *harness.Pod {
	s.Helper()
	p, err := node.NewSandbox(s.ctx, name)
	s.must(err)
	p.IP = address
	host := "eni" + hostHash(name)
	table := 254
	if device > 0 {
		table = device + 1
	}
	s.must(p.Remember(fmt.Sprintf(`{"cniVersion": "0.4.0", "interfaces": [{"name": %q},
		{"name": "eth0", "sandbox": %q, "mac": "%d"}, {"name": "dummy%s", "mac": "0", "sandbox": "%d"}],
		"ips": [{"version": "4", "interface": 1, "address": "%s/32"}]}`, host, p.Netns(), table, host[3:], device, address)))
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
		script += fmt.Sprintf("\nip rule add priority 1536 from ADDR lookup %d", table)
	}
	s.shell(node, strings.NewReplacer("HOST", host, "POD", name, "ADDR", address.String()).Replace(script))
	return p
}

// hostHash is what follows the prefix in the name of a pod's link on the host.
func hostHash(pod string) string {
	sum := sha1.Sum([]byte("default." + pod))
	return hex.EncodeToString(sum[:])[:11]
}

// ipam is aws-node's book.
type ipam struct {
	Version     string      `json:"version"`
	Allocations []ipamEntry `json:"allocations"`
}

type ipamEntry struct {
	Network   string     `json:"networkName"`
	Container string     `json:"containerID"`
	Interface string     `json:"ifName"`
	IPv4      netip.Addr `json:"ipv4"`
	Timestamp int64      `json:"allocationTimestamp"`
	Metadata  struct {
		Namespace  string `json:"k8sPodNamespace"`
		Pod        string `json:"k8sPodName"`
		Interfaces int    `json:"interfacesCount"`
	} `json:"metadata"`
}

// ipamOf is how aws-node keeps a pod.
func ipamOf(pod string, address netip.Addr) ipamEntry {
	e := ipamEntry{Network: "aws-cni", Container: pod, Interface: "eth0", IPv4: address, Timestamp: time.Now().UnixNano()}
	e.Metadata.Namespace, e.Metadata.Pod, e.Metadata.Interfaces = "default", pod, 1
	return e
}

const ipamFile = "/var/run/aws-node/ipam.json"

func (s *story) writeIPAM(node *harness.Node, entries []ipamEntry) {
	s.Helper()
	text, err := json.Marshal(ipam{Version: "vpc-cni-ipam/1", Allocations: entries})
	s.must(err)
	s.shell(node, fmt.Sprintf("mkdir -p /var/run/aws-node && cat > %s <<'END'\n%s\nEND", ipamFile, text))
}

func (s *story) readIPAM(node *harness.Node) ipam {
	s.Helper()
	var book ipam
	s.must(json.Unmarshal([]byte(s.shell(node, "cat "+ipamFile)), &book))
	return book
}
