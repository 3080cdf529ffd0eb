package ec2

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// pending is what EC2 calls a new ENI that still gets its secondary addresses
// (examples in the reference of CreateNetworkInterface); the SDK has no name
// for it.
const pending types.NetworkInterfaceStatus = "pending"

func unattached(s types.NetworkInterfaceStatus) bool {
	return s == "" || s == types.NetworkInterfaceStatusAvailable || s == pending
}

// translate turns EC2's description into ours, but for the subnet's block.
// EC2 leaves out what an ENI does not have.
func translate(e types.NetworkInterface) (pool.ENI, error) {
	out := pool.ENI{
		ID:          pool.ENIID(aws.ToString(e.NetworkInterfaceId)),
		MAC:         strings.ToLower(aws.ToString(e.MacAddress)),
		Subnet:      pool.SubnetID(aws.ToString(e.SubnetId)),
		Type:        string(e.InterfaceType),
		Description: aws.ToString(e.Description),
		Tags:        map[string]string{},
	}
	for _, t := range e.TagSet {
		out.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	// A tag that is no time leaves Created zero.
	out.Created, _ = time.Parse(time.RFC3339, out.Tags[pool.TagCreated])
	for _, g := range e.Groups {
		out.SecurityGroups = append(out.SecurityGroups, aws.ToString(g.GroupId))
	}
	slices.Sort(out.SecurityGroups)
	if a := e.Attachment; a != nil {
		attach(&out, *a)
	}
	return out, addresses(&out, e)
}

func attach(out *pool.ENI, a types.NetworkInterfaceAttachment) {
	out.Status = status(a.Status)
	if out.Status == pool.Available {
		return
	}
	out.AttachmentID = aws.ToString(a.AttachmentId)
	out.Device = int(aws.ToInt32(a.DeviceIndex))
	out.Card = int(aws.ToInt32(a.NetworkCardIndex)) // absent is card 0
	out.DeleteOnTermination = aws.ToBool(a.DeleteOnTermination)
	out.Primary = a.DeviceIndex != nil && out.Device == 0 && out.Card == 0
}

func status(s types.AttachmentStatus) pool.Status {
	switch s {
	case types.AttachmentStatusAttaching:
		return pool.Attaching
	case types.AttachmentStatusDetaching:
		return pool.Detaching
	case types.AttachmentStatusDetached:
		return pool.Available
	}
	return pool.Attached
}

func addresses(out *pool.ENI, e types.NetworkInterface) error {
	own := aws.ToString(e.PrivateIpAddress)
	for _, a := range e.PrivateIpAddresses {
		if aws.ToBool(a.Primary) {
			own = aws.ToString(a.PrivateIpAddress)
		}
	}
	if own != "" { // an ENI in an IPv6-only subnet has none
		var err error
		if out.Address, err = netip.ParseAddr(own); err != nil {
			return fmt.Errorf("its primary address: %w", err)
		}
	}
	for _, a := range e.PrivateIpAddresses {
		text := aws.ToString(a.PrivateIpAddress)
		if text == "" || text == own {
			continue
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return fmt.Errorf("a secondary address: %w", err)
		}
		out.Addresses = append(out.Addresses, address)
	}
	for _, p := range e.Ipv4Prefixes {
		prefix, err := netip.ParsePrefix(aws.ToString(p.Ipv4Prefix))
		if err != nil {
			return fmt.Errorf("a delegated prefix: %w", err)
		}
		out.Prefixes = append(out.Prefixes, prefix)
	}
	for _, p := range e.Ipv6Prefixes {
		prefix, err := netip.ParsePrefix(aws.ToString(p.Ipv6Prefix))
		if err != nil {
			return fmt.Errorf("a delegated IPv6 prefix: %w", err)
		}
		out.Prefixes6 = append(out.Prefixes6, prefix)
	}
	return nil
}
