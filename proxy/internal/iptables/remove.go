package iptables

import (
	"context"
	"fmt"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// RemoveServices deletes all chains of services, kube-proxy's too, with the
// jumps to them, and returns how many chains that were. What kubelet has stays.
// Services that were made before must not be used any more.
func (b *Backend) RemoveServices(ctx context.Context) (int, error) {
	chains := 0
	err := b.counters.write(ctx, func() error {
		have, err := b.Observe(ctx)
		if err != nil {
			return err
		}
		removal := ruleset.Removal(have, b.limit())
		if removal.Empty() {
			return nil
		}
		b.own.unsure = true
		chains += removal.Chains
		return b.feed(ctx, removal.Input())
	})
	if err != nil {
		return 0, fmt.Errorf("removing services: %w", err)
	}
	return chains, nil
}
