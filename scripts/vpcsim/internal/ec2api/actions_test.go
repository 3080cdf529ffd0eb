package ec2api_test

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// TestCreateNetworkInterface holds the whole shape of an ENI, as answered and
// as described.
func TestCreateNetworkInterface(t *testing.T) {
	w := start(t, "{profile: none, securityGroups: [{name: nodes}], nodes: [{name: n1, subnet: a, address: 10.0.0.10}]}")
	group := must(w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{GroupNames: []string{"nodes"}}))(w).SecurityGroups[0].GroupId
	out := must(w.ec2.CreateNetworkInterface(w.ctx, &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(w.subnet("a")), Description: aws.String("aws-K8S-i-1"), Groups: []string{*group},
		PrivateIpAddresses: []types.PrivateIpAddressSpecification{
			{PrivateIpAddress: aws.String("10.0.0.77"), Primary: aws.Bool(true)},
			{PrivateIpAddress: aws.String("10.0.0.78")},
		},
		TagSpecifications:               []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: tags("k", "v")}},
		ConnectionTrackingSpecification: &types.ConnectionTrackingSpecificationRequest{UdpTimeout: aws.Int32(45)},
		ClientToken:                     aws.String("token"),
	}))(w)
	keys := must(w.sim.Credentials("n1"))(w)
	want := types.NetworkInterface{
		AvailabilityZone: aws.String("us-west-2a"), Description: aws.String("aws-K8S-i-1"),
		Groups:        []types.GroupIdentifier{{GroupId: group, GroupName: aws.String("nodes")}},
		InterfaceType: "interface", OwnerId: aws.String("123456789012"), RequesterId: aws.String(keys.AccessKeyID),
		RequesterManaged: aws.Bool(false), SourceDestCheck: aws.Bool(true), Status: "pending", SubnetId: aws.String(w.subnet("a")),
		PrivateDnsName: aws.String("ip-10-0-0-77.us-west-2.compute.internal"), PrivateIpAddress: aws.String("10.0.0.77"),
		PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{
			{Primary: aws.Bool(true), PrivateIpAddress: aws.String("10.0.0.77"), PrivateDnsName: aws.String("ip-10-0-0-77.us-west-2.compute.internal")},
			{Primary: aws.Bool(false), PrivateIpAddress: aws.String("10.0.0.78"), PrivateDnsName: aws.String("ip-10-0-0-78.us-west-2.compute.internal")},
		},
		Ipv4Prefixes: []types.Ipv4PrefixSpecification{}, Ipv6Addresses: []types.NetworkInterfaceIpv6Address{}, Ipv6Prefixes: []types.Ipv6PrefixSpecification{},
		ConnectionTrackingConfiguration: &types.ConnectionTrackingConfiguration{UdpTimeout: aws.Int32(45)},
		TagSet:                          tags("k", "v"),
	}
	random := cmp.FilterPath(func(p cmp.Path) bool {
		return p.String() == "NetworkInterfaceId" || p.String() == "MacAddress" || p.String() == "VpcId"
	}, cmp.Ignore())
	unexported := cmpopts.IgnoreUnexported(
		types.NetworkInterface{}, types.GroupIdentifier{}, types.NetworkInterfacePrivateIpAddress{}, types.ConnectionTrackingConfiguration{}, types.Tag{})
	if diff := cmp.Diff(want, *out.NetworkInterface, random, unexported); diff != "" {
		t.Errorf("created (-want +got)\n%s", diff)
	}
	want.Status = "available"
	if diff := cmp.Diff(want, w.see(out.NetworkInterface.NetworkInterfaceId), random, unexported); diff != "" {
		t.Errorf("described (-want +got)\n%s", diff)
	}
	if *out.ClientToken != "token" {
		t.Errorf("client token %q", *out.ClientToken)
	}
}

func TestClientToken(t *testing.T) {
	w := start(t, "profile: none")
	in := &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(w.subnet("a")), ClientToken: aws.String("x"), Ipv4PrefixCount: aws.Int32(1)}
	first := must(w.ec2.CreateNetworkInterface(w.ctx, in))(w).NetworkInterface
	again := must(w.ec2.CreateNetworkInterface(w.ctx, in))(w).NetworkInterface
	if *first.NetworkInterfaceId != *again.NetworkInterfaceId {
		t.Error("the same client token made two ENIs")
	}
	in.Ipv4PrefixCount = aws.Int32(2)
	_, err := w.ec2.CreateNetworkInterface(w.ctx, in)
	w.refused(err, "IdempotentParameterMismatch", 400, "The client token 'x' was used with other parameters")
}

func TestAttachModifyDetachDelete(t *testing.T) {
	w := start(t, "profile: none")
	eni := w.create()
	if eni.Attachment != nil || eni.Status != types.NetworkInterfaceStatusAvailable {
		t.Errorf("a new ENI has attachment %v and is %s", eni.Attachment, eni.Status)
	}
	id := w.attach(eni, 1)
	got := w.see(eni.NetworkInterfaceId)
	if got.Status != "in-use" || got.Attachment == nil || *got.Attachment.DeleteOnTermination || *got.Attachment.DeviceIndex != 1 ||
		got.Attachment.Status != "attached" || *got.Attachment.InstanceId != w.sim.Instance("n1") {
		t.Fatalf("attached: %s %+v", got.Status, got.Attachment)
	}
	change := func(in *ec2.ModifyNetworkInterfaceAttributeInput) {
		t.Helper()
		in.NetworkInterfaceId = eni.NetworkInterfaceId
		_, err := w.ec2.ModifyNetworkInterfaceAttribute(w.ctx, in)
		w.ok(err)
	}
	change(&ec2.ModifyNetworkInterfaceAttributeInput{Attachment: &types.NetworkInterfaceAttachmentChanges{AttachmentId: id, DeleteOnTermination: aws.Bool(true)}})
	change(&ec2.ModifyNetworkInterfaceAttributeInput{SourceDestCheck: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
	change(&ec2.ModifyNetworkInterfaceAttributeInput{Description: &types.AttributeValue{Value: aws.String("mine")}})
	change(&ec2.ModifyNetworkInterfaceAttributeInput{Groups: []string{*eni.Groups[0].GroupId}})
	change(&ec2.ModifyNetworkInterfaceAttributeInput{EnablePrimaryIpv6: aws.Bool(true)})
	change(&ec2.ModifyNetworkInterfaceAttributeInput{ConnectionTrackingSpecification: &types.ConnectionTrackingSpecificationRequest{UdpTimeout: aws.Int32(31)}})
	got = w.see(eni.NetworkInterfaceId)
	if !*got.Attachment.DeleteOnTermination || *got.SourceDestCheck || *got.Description != "mine" || *got.ConnectionTrackingConfiguration.UdpTimeout != 31 {
		t.Errorf("modified: %+v", got)
	}
	_, err := w.ec2.DetachNetworkInterface(w.ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: id})
	w.ok(err)
	if got = w.see(eni.NetworkInterfaceId); got.Attachment != nil || got.Status != "available" {
		t.Errorf("detached: %s %v", got.Status, got.Attachment)
	}
	_, err = w.ec2.DeleteNetworkInterface(w.ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: eni.NetworkInterfaceId})
	w.ok(err)
}

// TestNetworkCards holds that a device index is one of its card.
func TestNetworkCards(t *testing.T) {
	w := start(t, "{profile: none, nodes: [{name: n1, subnet: a, type: p4d.24xlarge}]}")
	for card := range int32(4) {
		out := must(w.ec2.AttachNetworkInterface(w.ctx, &ec2.AttachNetworkInterfaceInput{
			NetworkInterfaceId: w.create().NetworkInterfaceId, InstanceId: aws.String(w.sim.Instance("n1")), DeviceIndex: aws.Int32(1), NetworkCardIndex: aws.Int32(card),
		}))(w)
		if *out.NetworkCardIndex != card {
			t.Errorf("attached to card %d, want %d", *out.NetworkCardIndex, card)
		}
	}
	e := must(w.sim.Control().Status(w.ctx))(w).Nodes[0].Interfaces
	if len(e) != 5 || e[4].NetworkCard != 3 || e[4].DeviceIndex != 1 {
		t.Errorf("interfaces %+v", e)
	}
}

func TestAssignIPv4(t *testing.T) {
	w := start(t, "profile: none")
	id := w.primary().NetworkInterfaceId
	count := must(w.ec2.AssignPrivateIpAddresses(w.ctx, &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: id, SecondaryPrivateIpAddressCount: aws.Int32(2)}))(w)
	if len(count.AssignedPrivateIpAddresses) != 2 || count.AssignedIpv4Prefixes != nil || *count.NetworkInterfaceId != *id {
		t.Errorf("by count: %+v", count)
	}
	prefixes := must(w.ec2.AssignPrivateIpAddresses(w.ctx, &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: id, Ipv4PrefixCount: aws.Int32(2)}))(w)
	for _, p := range prefixes.AssignedIpv4Prefixes {
		parsed := must(netip.ParsePrefix(*p.Ipv4Prefix))(w)
		if parsed.Bits() != 28 || parsed.Masked() != parsed || parsed.Contains(netip.MustParseAddr("10.0.0.0")) || parsed.Contains(netip.MustParseAddr("10.0.0.255")) {
			t.Errorf("prefix %s", parsed)
		}
	}
	got := w.see(id)
	if len(got.PrivateIpAddresses) != 3 || len(got.Ipv4Prefixes) != 2 || !*got.PrivateIpAddresses[0].Primary {
		t.Errorf("%d addresses and %d prefixes, the first primary %v", len(got.PrivateIpAddresses), len(got.Ipv4Prefixes), *got.PrivateIpAddresses[0].Primary)
	}
	free := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{w.subnet("a")}}))(w).Subnets[0].AvailableIpAddressCount
	if *free != 251-1-2-32 {
		t.Errorf("%d addresses free, want 216", *free)
	}
	_, err := w.ec2.UnassignPrivateIpAddresses(w.ctx, &ec2.UnassignPrivateIpAddressesInput{
		NetworkInterfaceId: id, PrivateIpAddresses: []string{*got.PrivateIpAddresses[1].PrivateIpAddress}, Ipv4Prefixes: []string{*got.Ipv4Prefixes[0].Ipv4Prefix},
	})
	w.ok(err)
	if got = w.see(id); len(got.PrivateIpAddresses) != 2 || len(got.Ipv4Prefixes) != 1 {
		t.Errorf("%d addresses and %d prefixes left", len(got.PrivateIpAddresses), len(got.Ipv4Prefixes))
	}
}

func TestReassign(t *testing.T) {
	w := start(t, "profile: none")
	from := w.create(func(in *ec2.CreateNetworkInterfaceInput) { in.SecondaryPrivateIpAddressCount = aws.Int32(1) })
	to, moved := w.create(), *from.PrivateIpAddresses[1].PrivateIpAddress
	in := &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: to.NetworkInterfaceId, PrivateIpAddresses: []string{moved}}
	_, err := w.ec2.AssignPrivateIpAddresses(w.ctx, in)
	w.refused(err, "InvalidIPAddress.InUse", 400, "Address "+moved+" is in use.")
	in.AllowReassignment = aws.Bool(true)
	must(w.ec2.AssignPrivateIpAddresses(w.ctx, in))(w)
	if a, b := w.see(from.NetworkInterfaceId), w.see(to.NetworkInterfaceId); len(a.PrivateIpAddresses) != 1 || len(b.PrivateIpAddresses) != 2 {
		t.Errorf("%d addresses where it was, %d where it went", len(a.PrivateIpAddresses), len(b.PrivateIpAddresses))
	}
}

func TestIPv6(t *testing.T) {
	w := start(t, `{profile: none, vpc: {ipv6CIDRs: ["2001:db8::/56"]}, subnets: [{name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8:0:1::/64"}]}`)
	eni := w.create(func(in *ec2.CreateNetworkInterfaceInput) { in.Ipv6AddressCount = aws.Int32(1) })
	id := eni.NetworkInterfaceId
	out := must(w.ec2.AssignIpv6Addresses(w.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: id, Ipv6PrefixCount: aws.Int32(1)}))(w)
	if len(out.AssignedIpv6Prefixes) != 1 || len(out.AssignedIpv6Addresses) != 0 {
		t.Fatalf("assigned %v %v", out.AssignedIpv6Prefixes, out.AssignedIpv6Addresses)
	}
	if p := must(netip.ParsePrefix(out.AssignedIpv6Prefixes[0]))(w); p.Bits() != 80 || !netip.MustParsePrefix("2001:db8:0:1::/64").Contains(p.Addr()) {
		t.Errorf("prefix %s", p)
	}
	must(w.ec2.AssignIpv6Addresses(w.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: id, Ipv6Addresses: []string{"2001:db8:0:1::99"}}))(w)
	if got := w.see(id); len(got.Ipv6Addresses) != 2 || len(got.Ipv6Prefixes) != 1 {
		t.Errorf("%d addresses, %d prefixes", len(got.Ipv6Addresses), len(got.Ipv6Prefixes))
	}
	gone := must(w.ec2.UnassignIpv6Addresses(w.ctx, &ec2.UnassignIpv6AddressesInput{
		NetworkInterfaceId: id, Ipv6Addresses: []string{"2001:db8:0:1::99"}, Ipv6Prefixes: out.AssignedIpv6Prefixes,
	}))(w)
	if diff := cmp.Diff([][]string{{"2001:db8:0:1::99"}, out.AssignedIpv6Prefixes}, [][]string{gone.UnassignedIpv6Addresses, gone.UnassignedIpv6Prefixes}); diff != "" {
		t.Errorf("unassigned (-want +got)\n%s", diff)
	}
	_, err := w.ec2.AssignIpv6Addresses(w.ctx, &ec2.AssignIpv6AddressesInput{NetworkInterfaceId: id, Ipv6Addresses: []string{"2001:db8:9::1"}})
	w.refused(err, "InvalidParameterValue", 400, "invalid value for parameter address: 2001:db8:9::1")
}

func TestDescribeInstances(t *testing.T) {
	w := start(t, "{profile: none, nodes: [{name: n1, subnet: a, tags: {Name: one}}]}")
	eni := w.create()
	w.attach(eni, 2)
	out := must(w.ec2.DescribeInstances(w.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{w.sim.Instance("n1")}}))(w)
	if len(out.Reservations) != 1 || len(out.Reservations[0].Instances) != 1 {
		t.Fatalf("%d reservations", len(out.Reservations))
	}
	i, primary := out.Reservations[0].Instances[0], w.primary()
	var devices []int32
	for _, e := range i.NetworkInterfaces {
		devices = append(devices, *e.Attachment.DeviceIndex)
	}
	if diff := cmp.Diff([]int32{0, 2}, devices); diff != "" {
		t.Errorf("devices (-want +got)\n%s", diff)
	}
	if i.State.Name != "running" || *i.State.Code != 16 || i.InstanceType != "m5.large" || *i.PrivateIpAddress != *primary.PrivateIpAddress ||
		*i.PublicIpAddress != *primary.Association.PublicIp || *i.Placement.AvailabilityZone != "us-west-2a" || *i.Tags[0].Value != "one" ||
		i.MetadataOptions.HttpTokens != "required" || *i.MetadataOptions.HttpPutResponseHopLimit != 1 || *i.VpcId != *primary.VpcId {
		t.Errorf("instance %+v", i)
	}
}

func TestDescribeInstanceTypes(t *testing.T) {
	w := start(t, "instanceTypes: {new.large: {ipv4: 7, hypervisor: nitro, cards: [{index: 0, max_eni: 2}, {index: 1, max_eni: 2}]}}")
	out := must(w.ec2.DescribeInstanceTypes(w.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"new.large", "m5.metal"}}))(w)
	if len(out.InstanceTypes) != 2 {
		t.Fatalf("%d types", len(out.InstanceTypes))
	}
	metal, fresh := out.InstanceTypes[0], out.InstanceTypes[1]
	if metal.Hypervisor != "" || !*metal.BareMetal || *metal.NetworkInfo.Ipv4AddressesPerInterface != 50 {
		t.Errorf("m5.metal: %+v", metal)
	}
	n := fresh.NetworkInfo
	if fresh.Hypervisor != "nitro" || *n.MaximumNetworkInterfaces != 4 || *n.MaximumNetworkCards != 2 || *n.Ipv4AddressesPerInterface != 7 ||
		*n.DefaultNetworkCardIndex != 0 || *n.NetworkCards[1].NetworkCardIndex != 1 || *n.NetworkCards[1].MaximumNetworkInterfaces != 2 {
		t.Errorf("new.large: %+v", n)
	}
	_, err := w.ec2.DescribeInstanceTypes(w.ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{"m5.huge"}})
	w.refused(err, "InvalidInstanceType", 400, "The following supplied instance types do not exist: [m5.huge]")
}

func TestDescribeNetwork(t *testing.T) {
	w := start(t, "vpc: {secondaryCIDRs: [100.64.0.0/16], tags: {Name: main}}")
	v := must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{}))(w).Vpcs[0]
	var blocks []string
	for _, b := range v.CidrBlockAssociationSet {
		blocks = append(blocks, *b.CidrBlock)
	}
	if diff := cmp.Diff([]string{"10.0.0.0/16", "100.64.0.0/16"}, blocks); diff != "" || *v.CidrBlock != "10.0.0.0/16" || *v.Tags[0].Value != "main" {
		t.Errorf("vpc %+v\n%s", v, diff)
	}
	subnets := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{Filters: []types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{*v.VpcId}}, {Name: aws.String("availability-zone"), Values: []string{"us-west-2b"}},
	}}))(w).Subnets
	if len(subnets) != 1 || *subnets[0].CidrBlock != "10.0.1.0/24" || *subnets[0].AvailableIpAddressCount != 250 || *subnets[0].AvailabilityZoneId != "usw2-az2" {
		t.Errorf("subnets %+v", subnets)
	}
	groups := must(w.ec2.DescribeSecurityGroups(w.ctx, &ec2.DescribeSecurityGroupsInput{}))(w).SecurityGroups
	if len(groups) != 1 || *groups[0].GroupName != "default" || *groups[0].VpcId != *v.VpcId {
		t.Errorf("groups %+v", groups)
	}
}

func TestTags(t *testing.T) {
	w := start(t, "profile: none")
	id := *w.create().NetworkInterfaceId
	resources := []string{id, w.subnet("a"), w.sim.Instance("n1")}
	_, err := w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: resources, Tags: tags("a", "1", "b", "2")})
	w.ok(err)
	_, err = w.ec2.DeleteTags(w.ctx, &ec2.DeleteTagsInput{Resources: resources, Tags: []types.Tag{{Key: aws.String("a")}, {Key: aws.String("b"), Value: aws.String("other")}}})
	w.ok(err)
	out := must(w.ec2.DescribeTags(w.ctx, &ec2.DescribeTagsInput{Filters: []types.Filter{{Name: aws.String("resource-id"), Values: []string{id}}}}))(w)
	want := []types.TagDescription{{Key: aws.String("b"), Value: aws.String("2"), ResourceId: aws.String(id), ResourceType: "network-interface"}}
	if diff := cmp.Diff(want, out.Tags, cmpopts.IgnoreUnexported(types.TagDescription{})); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := w.see(&id).TagSet; len(got) != 1 || *got[0].Key != "b" {
		t.Errorf("the ENI has tags %v", got)
	}
}
