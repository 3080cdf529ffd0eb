package main

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/ec2rolecreds"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
)

// ec2From is the AWS SDK as a program on a node has it: credentials from the
// instance's role, endpoint from the environment.
func (s *sim) ec2From(node string) *ec2.Client {
	s.Helper()
	client := s.httpFrom(node)
	metadata := imds.New(imds.Options{HTTPClient: client})
	region, err := metadata.GetRegion(s.Context(), nil)
	if err != nil {
		s.Fatal(err)
	}
	role := ec2rolecreds.New(func(o *ec2rolecreds.Options) { o.Client = metadata })
	cfg := aws.Config{Region: region.Region, HTTPClient: client, Credentials: aws.NewCredentialsCache(role)}
	return ec2.NewFromConfig(cfg, func(o *ec2.Options) { o.BaseEndpoint = aws.String("http://169.254.171.1") })
}

// TestENI attaches an ENI through the EC2 API, sends from its address, and
// detaches it again: the fabric follows.
func TestENI(t *testing.T) {
	s := raise(t, "eni", "")
	api := s.ec2From("n1")
	n1 := s.status().Nodes[0]
	created, err := api.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(subnetID(s, n1.Subnet)), SecondaryPrivateIpAddressCount: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	eni := created.NetworkInterface
	attached, err := api.AttachNetworkInterface(t.Context(), &ec2.AttachNetworkInterfaceInput{
		DeviceIndex: aws.Int32(1), InstanceId: aws.String(n1.InstanceID), NetworkInterfaceId: eni.NetworkInterfaceId,
	})
	if err != nil {
		t.Fatal(err)
	}
	links := func() string { return s.shell("n1", "ip -o link") }
	s.eventually("the device appears", func() bool { return strings.Contains(links(), *eni.MacAddress) })

	secondary := *eni.PrivateIpAddresses[1].PrivateIpAddress
	s.shell("n1", `
		sysctl -qw net.ipv4.conf.all.rp_filter=2
		ip link set eth1 up
		ip addr add `+secondary+`/32 dev lo
		ip route add 10.0.0.1 dev eth1 table 2
		ip route add default via 10.0.0.1 dev eth1 table 2`)
	wrong, code := s.run("exec", "n1", "--", program, "probe", "tcp", "172.31.0.10:80", "--bind", secondary, "--timeout", "300ms")
	if code != 1 {
		t.Errorf("a secondary ENI's address sent by the primary ENI: exit code %d\n%s", code, wrong)
	}
	drops, err := s.Drops(t.Context())
	if err != nil || len(drops) != 1 || drops[0].Node != "n1" || drops[0].ENI != n1.Interfaces[0].ID || drops[0].Reason != "source-address" {
		t.Errorf("drops: %+v, %v", drops, err)
	}
	s.shell("n1", "ip rule add from "+secondary+" lookup 2")
	s.must("exec", "n1", "--", program, "probe", "tcp", "172.31.0.10:80", "--bind", secondary)

	if _, err := api.DetachNetworkInterface(t.Context(), &ec2.DetachNetworkInterfaceInput{AttachmentId: attached.AttachmentId}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the device goes", func() bool { return !strings.Contains(links(), *eni.MacAddress) })
	if out := s.must("drops"); !strings.Contains(out, "source-address") {
		t.Errorf("drops after the detach:\n%s", out)
	}
}

// TestDeviceBehindTheBack lets the guest rename and configure a new device, and
// an operator detach it.
func TestDeviceBehindTheBack(t *testing.T) {
	s := raise(t, "dev", "")
	s.must("fault", "add", "{node: n1, action: device, effect: {deviceRename: true, deviceDHCP: true, deviceGone: 2s}}")
	api := s.ec2From("n1")
	n1 := s.status().Nodes[0]
	created, err := api.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(subnetID(s, n1.Subnet))})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.AttachNetworkInterface(t.Context(), &ec2.AttachNetworkInterfaceInput{
		DeviceIndex: aws.Int32(1), InstanceId: aws.String(n1.InstanceID), NetworkInterfaceId: created.NetworkInterface.NetworkInterfaceId,
	})
	if err != nil {
		t.Fatal(err)
	}
	configured := *created.NetworkInterface.PrivateIpAddress + "/24"
	s.eventually("the device appears as ens6 with its address", func() bool {
		addresses := s.shell("n1", "ip -o -4 addr")
		return strings.Contains(addresses, "ens6 ") && strings.Contains(addresses, configured)
	})
	s.eventually("an operator takes it away", func() bool { return !strings.Contains(s.shell("n1", "ip -o link"), "ens6") })
}

func subnetID(s *sim, name string) string {
	for _, n := range s.status().Subnets {
		if n.Name == name {
			return n.ID
		}
	}
	s.Fatalf("no subnet %s", name)
	return ""
}

// TestChangesAtRunTime changes egress, blocks, faults and free addresses by
// the command line.
func TestChangesAtRunTime(t *testing.T) {
	s := raise(t, "run", "")
	public := s.status().Nodes[0].Interfaces[0].Public[s.status().Nodes[0].Address.String()]
	source := func() string { return s.probe("n1", "tcp", "203.0.113.10:80").Source.Addr().String() }
	if got := source(); got != public {
		t.Errorf("through the internet gateway the source is %s, want %s", got, public)
	}
	s.must("egress", "a", "nat")
	s.eventually("the NAT gateway's address is seen", func() bool { return source() == "198.51.100.2" })
	s.must("cidr", "add", "100.64.0.0/16")
	s.eventually("the new block is reached", func() bool {
		_, code := s.run("exec", "n1", "--", program, "probe", "udp", "100.64.0.10:7", "--timeout", "200ms")
		return code == 0
	})

	if out := s.must("tenant", "take", "a", "all"); !strings.Contains(out, "has 0 free") {
		t.Errorf("tenant take: %s", out)
	}
	if out := s.must("tenant", "give", "a", "10"); !strings.Contains(out, "has 10 free") {
		t.Errorf("tenant give: %s", out)
	}
	id := strings.TrimSpace(s.must("fault", "add", "{node: n1, action: DescribeVpcs, effect: {error: {code: UnauthorizedOperation}}}"))
	_, err := s.ec2From("n1").DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{})
	if err == nil || !strings.Contains(err.Error(), "UnauthorizedOperation") {
		t.Errorf("DescribeVpcs under a fault: %v", err)
	}
	if out := s.must("fault", "list"); !strings.Contains(out, id) || !strings.Contains(out, "DescribeVpcs") {
		t.Errorf("fault list:\n%s", out)
	}
	s.must("fault", "clear", id)
	if _, err := s.ec2From("n1").DescribeVpcs(t.Context(), &ec2.DescribeVpcsInput{}); err != nil {
		t.Errorf("DescribeVpcs after the fault was cleared: %v", err)
	}
}
