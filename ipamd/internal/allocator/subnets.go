package allocator

import (
	"context"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// askSubnets says whether the subnets are to be described now; whoever asks does
// so.
func (a *Allocator) askSubnets() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pool.AskSubnets(time.Now())
}

// describeSubnets looks at the subnets of the node's zone. No pod waits for it:
// what is known of them, or the primary ENI's subnet, serves meanwhile.
func (a *Allocator) describeSubnets(ctx context.Context) *pool.Failure {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	subnets, err := a.cloud.Subnets(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		failure := failureOf(err)
		a.pool.SubnetsFailed(failure, time.Now())
		return failure
	}
	a.pool.SetSubnets(subnets, time.Now())
	return nil
}
