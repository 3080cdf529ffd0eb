package ec2

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Unattached returns the ENIs of all nodes of this cluster in this VPC that are
// attached to nothing, without their subnets' blocks. The cluster has a name.
func (c *Cloud) Unattached(ctx context.Context) ([]pool.ENI, error) {
	const doing = "describing the unattached ENIs of cluster %s"
	found, err := c.interfaces(ctx, filter("tag:"+pool.TagCluster, c.settings.ClusterName), filter("tag-key", pool.TagInstance),
		filter("vpc-id", c.identity.VPC), filter("status", string(types.NetworkInterfaceStatusAvailable)))
	if err != nil {
		return nil, fail(err, false, doing, c.settings.ClusterName)
	}
	var out []pool.ENI
	for _, e := range found {
		eni, err := translate(e)
		if err != nil {
			return nil, fail(err, false, doing, c.settings.ClusterName)
		}
		out = append(out, eni)
	}
	return out, nil
}

// Exist says which of these instances exist, up to 199: one that was terminated
// does not. An answer without this instance is no answer, and fails.
func (c *Cloud) Exist(ctx context.Context, instances []string) (map[string]bool, error) {
	const doing = "describing %d instances"
	exist := map[string]bool{}
	pages := ec2.NewDescribeInstancesPaginator(c.api,
		&ec2.DescribeInstancesInput{Filters: []types.Filter{filter("instance-id", append([]string{c.identity.InstanceID}, instances...)...)}, MaxResults: aws.Int32(page)},
		func(o *ec2.DescribeInstancesPaginatorOptions) { o.StopOnDuplicateToken = true })
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fail(err, false, doing, len(instances))
		}
		for _, r := range p.Reservations {
			for _, i := range r.Instances {
				if i.State == nil || i.State.Name != types.InstanceStateNameTerminated {
					exist[aws.ToString(i.InstanceId)] = true
				}
			}
		}
	}
	if !exist[c.identity.InstanceID] {
		return nil, fail(fmt.Errorf("EC2 answered without this instance, %s", c.identity.InstanceID), false, doing, len(instances))
	}
	return exist, nil
}
