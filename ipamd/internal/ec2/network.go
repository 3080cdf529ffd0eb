package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/ipamd/internal/limits"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Subnets returns the subnets of this instance's VPC and zone that have IPv4
// addresses.
func (c *Cloud) Subnets(ctx context.Context) ([]pool.Subnet, error) {
	const doing = "describing the subnets of VPC %s in %s"
	pages := ec2.NewDescribeSubnetsPaginator(c.api, &ec2.DescribeSubnetsInput{
		Filters:    []types.Filter{filter("vpc-id", c.identity.VPC), filter("availability-zone", c.identity.Zone)},
		MaxResults: aws.Int32(page),
	}, func(o *ec2.DescribeSubnetsPaginatorOptions) { o.StopOnDuplicateToken = true })
	var out []pool.Subnet
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fail(err, false, doing, c.identity.VPC, c.identity.Zone)
		}
		for _, s := range p.Subnets {
			if aws.ToString(s.CidrBlock) == "" {
				continue // of IPv6 alone
			}
			if err := c.keepBlock(s); err != nil {
				return nil, fail(err, false, doing, c.identity.VPC, c.identity.Zone)
			}
			subnet := pool.Subnet{ID: pool.SubnetID(aws.ToString(s.SubnetId)), Free: int(aws.ToInt32(s.AvailableIpAddressCount)), Tags: map[string]string{}}
			for _, t := range s.Tags {
				subnet.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
			}
			out = append(out, subnet)
		}
	}
	return out, nil
}

func (c *Cloud) keepBlock(s types.Subnet) error {
	block, err := netip.ParsePrefix(aws.ToString(s.CidrBlock))
	if err != nil {
		return fmt.Errorf("the IPv4 block of %s: %w", aws.ToString(s.SubnetId), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.subnets[pool.SubnetID(aws.ToString(s.SubnetId))] = block
	return nil
}

// subnet returns the IPv4 block of a subnet that the interface with this MAC is
// in, and asks EC2 once for each. Where EC2 may not be asked, the metadata
// service knows those of attached interfaces.
func (c *Cloud) subnet(ctx context.Context, id pool.SubnetID, mac string) (netip.Prefix, error) {
	block, err := c.describeSubnet(ctx, id)
	if failure := (*pool.Failure)(nil); !errors.As(err, &failure) || failure.Class != pool.Unauthorized || mac == "" {
		return block, err
	}
	text, hint := read(ctx, c.metadata, "network/interfaces/macs/"+mac+"/subnet-ipv4-cidr-block")
	if hint == nil {
		hint = c.keepBlock(types.Subnet{SubnetId: aws.String(string(id)), CidrBlock: aws.String(text)})
	}
	if hint != nil {
		return netip.Prefix{}, errors.Join(err, hint)
	}
	return c.describeSubnet(ctx, id)
}

func (c *Cloud) describeSubnet(ctx context.Context, id pool.SubnetID) (netip.Prefix, error) {
	c.mu.Lock()
	block, known := c.subnets[id]
	c.mu.Unlock()
	if known {
		return block, nil
	}
	out, err := c.api.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{string(id)}})
	if err != nil {
		return netip.Prefix{}, fail(err, false, "describing subnet %s", id)
	}
	if len(out.Subnets) != 1 {
		return netip.Prefix{}, fail(fmt.Errorf("EC2 answered with %d subnets, want 1", len(out.Subnets)), false, "describing subnet %s", id)
	}
	if err := c.keepBlock(out.Subnets[0]); err != nil {
		return netip.Prefix{}, fail(err, false, "describing subnet %s", id)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subnets[id], nil
}

// VPCCIDRs returns the IPv4 blocks of the VPC, the primary one first and the
// others sorted. EC2 is asked; the metadata service, which may lag behind it,
// answers where EC2 may not be asked or never answered.
func (c *Cloud) VPCCIDRs(ctx context.Context) ([]netip.Prefix, error) {
	blocks, err := c.described(ctx)
	if err == nil {
		c.mu.Lock()
		c.asked = true
		c.mu.Unlock()
		c.settings.Log.Debug("blocks of the VPC, by EC2", "vpc", c.identity.VPC, "blocks", blocks)
		return blocks, nil
	}
	c.mu.Lock()
	asked := c.asked
	c.mu.Unlock()
	if failure := (*pool.Failure)(nil); asked && errors.As(err, &failure) && failure.Class != pool.Unauthorized {
		return nil, err
	}
	blocks, hint := c.VPCCIDRHint(ctx)
	if hint != nil {
		return nil, fail(errors.Join(err, hint), false, "finding the IPv4 blocks of VPC %s", c.identity.VPC)
	}
	c.settings.Log.Debug("blocks of the VPC, by the metadata service", "vpc", c.identity.VPC, "blocks", blocks, "not_by_ec2", err)
	return blocks, nil
}

// described asks EC2 for the blocks of the VPC.
func (c *Cloud) described(ctx context.Context) ([]netip.Prefix, error) {
	const doing = "describing VPC %s"
	out, err := c.api.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{VpcIds: []string{c.identity.VPC}})
	if err != nil {
		return nil, fail(err, false, doing, c.identity.VPC)
	}
	if len(out.Vpcs) != 1 {
		return nil, fail(fmt.Errorf("EC2 answered with %d VPCs, want 1", len(out.Vpcs)), false, doing, c.identity.VPC)
	}
	primary := aws.ToString(out.Vpcs[0].CidrBlock)
	texts := []string{primary}
	for _, a := range out.Vpcs[0].CidrBlockAssociationSet {
		if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated {
			texts = append(texts, aws.ToString(a.CidrBlock))
		}
	}
	blocks, err := parseBlocks(primary, texts)
	if err != nil {
		return nil, fail(err, false, doing, c.identity.VPC)
	}
	return blocks, nil
}

// VPCCIDRHint asks the metadata service for the blocks of the VPC. It costs no
// EC2 call, and may lag behind EC2.
func (c *Cloud) VPCCIDRHint(ctx context.Context) ([]netip.Prefix, error) {
	text, err := read(ctx, c.metadata, "network/interfaces/macs/"+c.identity.PrimaryMAC+"/vpc-ipv4-cidr-blocks")
	if err != nil {
		return nil, err
	}
	texts := strings.Fields(text) // never none: read refuses an empty answer
	return parseBlocks(texts[0], texts)
}

// GroupsHint asks the metadata service for the security groups of the primary
// ENI, sorted. It costs no EC2 call, and may lag behind EC2.
func (c *Cloud) GroupsHint(ctx context.Context) ([]string, error) {
	text, err := read(ctx, c.metadata, "network/interfaces/macs/"+c.identity.PrimaryMAC+"/security-group-ids")
	if err != nil {
		return nil, err
	}
	return slices.Sorted(slices.Values(strings.Fields(text))), nil
}

// parseBlocks sorts and compacts, with the primary block first.
func parseBlocks(primary string, texts []string) ([]netip.Prefix, error) {
	first, err := netip.ParsePrefix(primary)
	if err != nil {
		return nil, fmt.Errorf("the primary IPv4 block: %w", err)
	}
	out := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		block, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("a further IPv4 block: %w", err)
		}
		out = append(out, block)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	out = slices.DeleteFunc(slices.Compact(out), func(block netip.Prefix) bool { return block == first })
	return slices.Insert(out, 0, first), nil
}

// Limits returns the limits of an instance type: from the table, or from EC2
// if the type is younger than the table.
func (c *Cloud) Limits(ctx context.Context, instanceType string) (pool.Limits, error) {
	if known, ok := limits.Of(instanceType); ok {
		return known, nil
	}
	out, err := c.api.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{
		InstanceTypes: []types.InstanceType{types.InstanceType(instanceType)},
	})
	if err != nil {
		return pool.Limits{}, fail(err, false, "describing instance type %s", instanceType)
	}
	for _, t := range out.InstanceTypes {
		if l, ok := interfaceLimits(t); ok && string(t.InstanceType) == instanceType {
			return l, nil
		}
	}
	return pool.Limits{}, fail(errors.New("EC2 answered without its number of ENIs and addresses"), false, "describing instance type %s", instanceType)
}

// interfaceLimits reads the limits of the default network card.
func interfaceLimits(t types.InstanceTypeInfo) (pool.Limits, bool) {
	info := t.NetworkInfo
	if info == nil {
		return pool.Limits{}, false
	}
	enis := aws.ToInt32(info.MaximumNetworkInterfaces) // of all cards
	for _, card := range info.NetworkCards {
		if card.MaximumNetworkInterfaces != nil && aws.ToInt32(card.NetworkCardIndex) == aws.ToInt32(info.DefaultNetworkCardIndex) {
			enis = *card.MaximumNetworkInterfaces
		}
	}
	l := pool.Limits{
		ENIs: int(enis), AddressesPerENI: int(aws.ToInt32(info.Ipv4AddressesPerInterface)),
		Prefixes: t.Hypervisor == types.InstanceTypeHypervisorNitro || aws.ToBool(t.BareMetal),
	}
	return l, l.ENIs > 0 && l.AddressesPerENI > 0
}
