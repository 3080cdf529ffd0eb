package proxy

import (
	"context"
	"fmt"
	"sync"

	"github.com/causeway-cni/causeway/proxy/internal/conntrack"
	"github.com/causeway-cni/causeway/proxy/service"
)

// flows are the UDP flows that services lead. They have a lock of their own,
// so that sweeping delays no rule.
type flows struct {
	mu     sync.Mutex
	ledger conntrack.Ledger
}

func (f *flows) set(k service.Key, ports []service.ServicePort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ledger.Set(k, ports)
}

// SweepFlows ends the UDP flows that lead where their service no longer does,
// and says how many. It is called after SyncServices, and runs beside it: the
// rules must be written by then, or a flow comes back as it was. After an error
// the next call does the rest.
func (p *Proxy) SweepFlows(ctx context.Context) (ended int, err error) {
	p.flows.mu.Lock()
	sweep := p.flows.ledger.Stale()
	p.flows.mu.Unlock()
	if sweep.Empty() {
		return 0, nil
	}
	ended, err = conntrack.Delete(ctx, sweep)
	if err != nil {
		p.flows.mu.Lock()
		p.flows.ledger.Redo(sweep)
		p.flows.mu.Unlock()
		return ended, fmt.Errorf("ending stale UDP flows: %w", err)
	}
	return ended, nil
}
