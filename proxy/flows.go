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
	due    conntrack.Sweep // of what is written
}

func (f *flows) set(k service.Key, ports []service.ServicePort) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ledger.Set(k, ports)
}

// written makes what was set due: before the rules are written, a flow that is
// ended comes back as it was.
func (f *flows) written() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.due = f.due.Then(f.ledger.Stale())
}

func (f *flows) leads(flow conntrack.Flow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ledger.Leads(flow)
}

// SweepFlows ends the UDP flows that lead where their service no longer does,
// and says how many. It looks at what SyncServices has written, and runs beside
// it. After an error the next call does the rest.
func (p *Proxy) SweepFlows(ctx context.Context) (ended int, err error) {
	f := &p.flows
	f.mu.Lock()
	sweep := f.due
	f.due = conntrack.Sweep{}
	f.mu.Unlock()
	ended, err = conntrack.Delete(ctx, sweep, f.leads)
	if err != nil {
		f.mu.Lock()
		f.due = sweep.Then(f.due)
		f.mu.Unlock()
		return ended, fmt.Errorf("ending stale UDP flows: %w", err)
	}
	return ended, nil
}
