package ec2

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// page asks for large pages: EC2 grants more calls that are paginated.
const page = 1000

// Describe returns the ENIs that are attached to this instance, or about to
// be, and with leftovers also those that this instance created and that are
// attached to nothing. An answer without the primary ENI is no answer, and
// fails as pool.Unavailable.
func (c *Cloud) Describe(ctx context.Context, leftovers bool) ([]pool.ENI, error) {
	found, err := c.interfaces(ctx, filter("attachment.instance-id", c.identity.InstanceID))
	if err != nil {
		return nil, fail(err, false, "describing the ENIs of instance %s", c.identity.InstanceID)
	}
	if err := c.learn(found); err != nil {
		return nil, fail(err, false, "describing the ENIs of instance %s", c.identity.InstanceID)
	}
	if leftovers {
		left, err := c.interfaces(ctx, filter("tag:"+pool.TagInstance, c.identity.InstanceID),
			filter("status", string(types.NetworkInterfaceStatusAvailable), string(pending)))
		if err != nil {
			return nil, fail(err, false, "describing the unattached ENIs of instance %s", c.identity.InstanceID)
		}
		found = append(found, left...)
	}
	return c.translate(ctx, found)
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: aws.String(name), Values: values}
}

func (c *Cloud) interfaces(ctx context.Context, filters ...types.Filter) ([]types.NetworkInterface, error) {
	pages := ec2.NewDescribeNetworkInterfacesPaginator(c.api,
		&ec2.DescribeNetworkInterfacesInput{Filters: filters, MaxResults: aws.Int32(page)},
		func(o *ec2.DescribeNetworkInterfacesPaginatorOptions) { o.StopOnDuplicateToken = true })
	var out []types.NetworkInterface
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, p.NetworkInterfaces...)
	}
	return out, nil
}

// learn takes from the primary ENI what the ENIs that we create shall share
// with it.
func (c *Cloud) learn(found []types.NetworkInterface) error {
	for _, e := range found {
		if aws.ToString(e.NetworkInterfaceId) != string(c.identity.PrimaryENI) {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tracking = nil
		if t := e.ConnectionTrackingConfiguration; t != nil {
			c.tracking = &types.ConnectionTrackingSpecificationRequest{
				TcpEstablishedTimeout: t.TcpEstablishedTimeout,
				UdpStreamTimeout:      t.UdpStreamTimeout,
				UdpTimeout:            t.UdpTimeout,
			}
		}
		return nil
	}
	return fmt.Errorf("EC2 answered with %d ENIs, and the primary one, %s, is not among them", len(found), c.identity.PrimaryENI)
}

// translate drops ENIs that were seen before (pages and calls are not of one
// moment), and those that contradict themselves.
func (c *Cloud) translate(ctx context.Context, found []types.NetworkInterface) ([]pool.ENI, error) {
	seen := map[string]bool{}
	var out []pool.ENI
	for _, e := range found {
		id := aws.ToString(e.NetworkInterfaceId)
		if id == "" || seen[id] {
			continue
		}
		seen[id] = true
		if e.Attachment == nil && !unattached(e.Status) {
			c.settings.Log.Debug("passing over an ENI that has a status of attached ENIs but no attachment", "eni", id, "status", e.Status)
			continue
		}
		subnet := pool.SubnetID(aws.ToString(e.SubnetId))
		block, err := c.subnet(ctx, subnet, strings.ToLower(aws.ToString(e.MacAddress)))
		if err != nil {
			return nil, err
		}
		eni, err := translate(e)
		if err != nil {
			return nil, fail(err, false, "reading the description of ENI %s", id)
		}
		eni.SubnetCIDR = block
		out = append(out, eni)
	}
	return out, nil
}
