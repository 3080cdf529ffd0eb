package ec2

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Tags of the ENIs that we create, besides those that pool names.
const (
	tagOwner = "eks:eni:owner"
	owner    = "amazon-vpc-cni" // what EKS looks for when it cleans up a cluster
)

// Apply carries out one action with one mutating call. Its error is a
// *pool.Failure.
func (c *Cloud) Apply(ctx context.Context, action pool.Action) (pool.Result, error) {
	switch a := action.(type) {
	case pool.CreateENI:
		return c.create(ctx, a)
	case pool.AttachENI:
		return c.attach(ctx, a)
	case pool.ProtectENI:
		return pool.Result{}, c.protect(ctx, a)
	case pool.SetSecurityGroups:
		return pool.Result{}, c.setSecurityGroups(ctx, a)
	case pool.AssignAddresses:
		if a.Prefixes6 > 0 {
			return c.assign6(ctx, a)
		}
		return c.assign(ctx, a)
	case pool.UnassignAddresses:
		return pool.Result{}, c.unassign(ctx, a)
	case pool.DetachENI:
		return pool.Result{}, c.detach(ctx, a)
	case pool.DeleteENI:
		return pool.Result{}, c.delete(ctx, a)
	}
	return pool.Result{}, &pool.Failure{Class: pool.Refused, Err: fmt.Errorf("%T is no action of EC2", action)}
}

// create may be sent again: the token makes EC2 answer with the ENI that it
// created the first time, if all parameters are the same.
func (c *Cloud) create(ctx context.Context, a pool.CreateENI) (pool.Result, error) {
	// Asked first: after the ENI exists, nothing else may fail.
	block, err := c.subnet(ctx, a.Subnet, "")
	if err != nil {
		return pool.Result{}, err
	}
	in := &ec2.CreateNetworkInterfaceInput{
		ClientToken: aws.String(a.Token),
		SubnetId:    aws.String(string(a.Subnet)),
		Groups:      a.SecurityGroups,
		Description: aws.String(pool.Description(c.identity.InstanceID)),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeNetworkInterface, Tags: c.tags(a.Created),
		}},
		ConnectionTrackingSpecification: c.connectionTracking(),
	}
	if a.Addresses > 0 {
		in.SecondaryPrivateIpAddressCount = aws.Int32(int32(a.Addresses))
	}
	if a.Prefixes > 0 {
		in.Ipv4PrefixCount = aws.Int32(int32(a.Prefixes))
	}
	if a.Prefixes6 > 0 {
		in.Ipv6PrefixCount = aws.Int32(int32(a.Prefixes6))
	}
	var w wire
	out, err := c.api.CreateNetworkInterface(ctx, in, w.follow)
	const doing = "creating an ENI with %s in subnet %s"
	if err != nil {
		return pool.Result{}, fail(err, w.doubt, doing, a.Amount(), a.Subnet)
	}
	if out.NetworkInterface == nil || aws.ToString(out.NetworkInterface.NetworkInterfaceId) == "" {
		return pool.Result{}, fail(fmt.Errorf("EC2 answered without the ENI"), true, doing, a.Amount(), a.Subnet)
	}
	eni, err := translate(*out.NetworkInterface)
	if err != nil {
		return pool.Result{}, fail(err, true, doing, a.Amount(), a.Subnet)
	}
	eni.SubnetCIDR = block
	return pool.Result{Created: &eni}, nil
}

func (c *Cloud) connectionTracking() *types.ConnectionTrackingSpecificationRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tracking
}

// tags are sorted by key; an extra tag does not replace one of ours.
func (c *Cloud) tags(created time.Time) []types.Tag {
	all := maps.Clone(c.settings.ExtraTags)
	if all == nil {
		all = map[string]string{}
	}
	if c.settings.ClusterName != "" {
		all[pool.TagCluster] = c.settings.ClusterName
		all[tagOwner] = owner
	}
	all[pool.TagInstance] = c.identity.InstanceID
	all[pool.TagCreated] = created.UTC().Format(time.RFC3339)
	var out []types.Tag
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, types.Tag{Key: aws.String(key), Value: aws.String(all[key])})
	}
	return out
}

// attach is sent once: sent again after its answer was lost, it would be
// refused, and hide that it was carried out.
func (c *Cloud) attach(ctx context.Context, a pool.AttachENI) (pool.Result, error) {
	var w wire
	out, err := c.api.AttachNetworkInterface(ctx, &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: aws.String(string(a.ENI)),
		InstanceId:         aws.String(c.identity.InstanceID),
		DeviceIndex:        aws.Int32(int32(a.Device)),
		// Always sent: without it EC2 may refuse a device number that is in
		// use on another card.
		NetworkCardIndex: aws.Int32(int32(a.Card)),
	}, w.follow, once)
	if err != nil {
		return pool.Result{}, fail(err, w.doubt, "attaching ENI %s as device %d", a.ENI, a.Device)
	}
	return pool.Result{AttachmentID: aws.ToString(out.AttachmentId)}, nil
}

func (c *Cloud) protect(ctx context.Context, a pool.ProtectENI) error {
	var w wire
	_, err := c.api.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(string(a.ENI)),
		Attachment: &types.NetworkInterfaceAttachmentChanges{
			AttachmentId: aws.String(a.AttachmentID), DeleteOnTermination: aws.Bool(true),
		},
	}, w.follow)
	if err != nil {
		return fail(err, w.doubt, "setting delete-on-termination on ENI %s", a.ENI)
	}
	return nil
}

func (c *Cloud) setSecurityGroups(ctx context.Context, a pool.SetSecurityGroups) error {
	var w wire
	_, err := c.api.ModifyNetworkInterfaceAttribute(ctx, &ec2.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: aws.String(string(a.ENI)), Groups: a.SecurityGroups,
	}, w.follow)
	if err != nil {
		return fail(err, w.doubt, "setting the security groups of ENI %s to %v", a.ENI, a.SecurityGroups)
	}
	return nil
}

// assign is sent once: sent again after its answer was lost, it would assign
// twice.
func (c *Cloud) assign(ctx context.Context, a pool.AssignAddresses) (pool.Result, error) {
	in := &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: aws.String(string(a.ENI))}
	if a.Count > 0 {
		in.SecondaryPrivateIpAddressCount = aws.Int32(int32(a.Count))
	}
	if a.Prefixes > 0 {
		in.Ipv4PrefixCount = aws.Int32(int32(a.Prefixes))
	}
	var w wire
	out, err := c.api.AssignPrivateIpAddresses(ctx, in, w.follow, once)
	const doing = "assigning %s to ENI %s"
	if err != nil {
		return pool.Result{}, fail(err, w.doubt, doing, a.Amount(), a.ENI)
	}
	var result pool.Result
	for _, got := range out.AssignedPrivateIpAddresses {
		address, err := netip.ParseAddr(aws.ToString(got.PrivateIpAddress))
		if err != nil {
			return pool.Result{}, fail(err, true, doing, a.Amount(), a.ENI)
		}
		result.Assigned = append(result.Assigned, address)
	}
	for _, got := range out.AssignedIpv4Prefixes {
		prefix, err := netip.ParsePrefix(aws.ToString(got.Ipv4Prefix))
		if err != nil {
			return pool.Result{}, fail(err, true, doing, a.Amount(), a.ENI)
		}
		result.AssignedPrefixes = append(result.AssignedPrefixes, prefix)
	}
	return result, nil
}

// assign6 is sent once, for the same reason.
func (c *Cloud) assign6(ctx context.Context, a pool.AssignAddresses) (pool.Result, error) {
	var w wire
	out, err := c.api.AssignIpv6Addresses(ctx, &ec2.AssignIpv6AddressesInput{
		NetworkInterfaceId: aws.String(string(a.ENI)), Ipv6PrefixCount: aws.Int32(int32(a.Prefixes6)),
	}, w.follow, once)
	const doing = "assigning %s to ENI %s"
	if err != nil {
		return pool.Result{}, fail(err, w.doubt, doing, a.Amount(), a.ENI)
	}
	var result pool.Result
	for _, got := range out.AssignedIpv6Prefixes {
		prefix, err := netip.ParsePrefix(got)
		if err != nil {
			return pool.Result{}, fail(err, true, doing, a.Amount(), a.ENI)
		}
		result.AssignedPrefixes6 = append(result.AssignedPrefixes6, prefix)
	}
	return result, nil
}

func (c *Cloud) unassign(ctx context.Context, a pool.UnassignAddresses) error {
	in := &ec2.UnassignPrivateIpAddressesInput{NetworkInterfaceId: aws.String(string(a.ENI))}
	for _, address := range a.Addresses {
		in.PrivateIpAddresses = append(in.PrivateIpAddresses, address.String())
	}
	for _, prefix := range a.Prefixes {
		in.Ipv4Prefixes = append(in.Ipv4Prefixes, prefix.String())
	}
	var w wire
	if _, err := c.api.UnassignPrivateIpAddresses(ctx, in, w.follow); err != nil {
		return fail(err, w.doubt, "unassigning %v and %v from ENI %s", a.Addresses, a.Prefixes, a.ENI)
	}
	return nil
}

func (c *Cloud) detach(ctx context.Context, a pool.DetachENI) error {
	var w wire
	_, err := c.api.DetachNetworkInterface(ctx, &ec2.DetachNetworkInterfaceInput{AttachmentId: aws.String(a.AttachmentID)}, w.follow)
	if err != nil {
		return fail(err, w.doubt, "detaching ENI %s (attachment %s)", a.ENI, a.AttachmentID)
	}
	return nil
}

func (c *Cloud) delete(ctx context.Context, a pool.DeleteENI) error {
	var w wire
	_, err := c.api.DeleteNetworkInterface(ctx, &ec2.DeleteNetworkInterfaceInput{NetworkInterfaceId: aws.String(string(a.ENI))}, w.follow)
	if err != nil {
		return fail(err, w.doubt, "deleting ENI %s", a.ENI)
	}
	return nil
}
