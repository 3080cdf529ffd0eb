package iptables

import (
	"context"
	"fmt"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// Removed is what was there of services.
type Removed struct {
	Chains    int
	Jumps     int  // in built-in chains
	KubeProxy bool // they were kube-proxy's, or had been
}

// RemoveServices deletes all chains of services, kube-proxy's too, with the
// jumps to them. What kubelet has stays. Services that were made before must not
// be used any more.
func (b *Backend) RemoveServices(ctx context.Context) (Removed, error) {
	return b.remove(ctx, ruleset.Removal)
}

// RemoveKubeProxy deletes what kube-proxy alone has, so that its chains are ours:
// its canaries, and its jumps beside ours.
func (b *Backend) RemoveKubeProxy(ctx context.Context) (Removed, error) {
	return b.remove(ctx, ruleset.KubeProxyRemoval)
}

// RemoveOurs deletes what kube-proxy does not have, so that our chains are its
// own; all chains of a family in which it has nothing.
func (b *Backend) RemoveOurs(ctx context.Context) (Removed, error) {
	return b.remove(ctx, ruleset.OurRemoval)
}

func (b *Backend) remove(ctx context.Context, plan func(ruleset.Saved, int) ruleset.Batch) (Removed, error) {
	var did Removed
	err := b.counters.write(ctx, func() error {
		have, err := b.Observe(ctx)
		if err != nil {
			return err
		}
		removal := plan(have, b.limit())
		if removal.Empty() {
			return nil
		}
		b.own.unsure = true
		did = Removed{did.Chains + removal.Chains, did.Jumps + removal.Jumps, did.KubeProxy || have.HasKubeProxy()}
		return b.feed(ctx, removal.Input())
	})
	if err != nil {
		return Removed{}, fmt.Errorf("removing services: %w", err)
	}
	return did, nil
}
