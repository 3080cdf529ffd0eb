package iptables

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Services writes the rules of one family's services. The first Sync takes over what
// is there, kube-proxy's included, and deletes the chains of services that are
// not set; those that follow write only what changed. What others change
// meanwhile is seen by making a new one. It is not safe for concurrent use.
type Services struct {
	backend  *Backend
	settings ruleset.Settings
	ledger   *ruleset.Ledger
	jumps    []ruleset.Change // still to be put in
	ports    map[service.Key][]service.PortName
}

// Services reads what the kernel holds; it changes nothing.
func (b *Backend) Services(ctx context.Context, s ruleset.Settings) (*Services, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("settings of services: %w", err)
	}
	if s.Family != b.family {
		return nil, fmt.Errorf("settings of services: family %s: %s writes %s", s.Family, b.program, b.family)
	}
	have, err := b.Observe(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading rules of services: %w", err)
	}
	if !slices.Contains(b.tables, "filter") {
		b.tables = append(b.tables, "filter")
	}
	return &Services{
		backend:  b,
		settings: s,
		ledger:   ruleset.NewLedger(s, have),
		jumps:    ruleset.MissingJumps(s, have),
		ports:    map[service.Key][]service.PortName{},
	}, nil
}

// Set says which ports a service is to have; none deletes it. Those of
// the other family are left out. It is written by the next Sync.
func (s *Services) Set(k service.Key, ports []service.ServicePort) {
	var names []service.PortName
	for _, p := range ports {
		if p.Family == s.settings.Family {
			names = append(names, p.Name)
			s.ledger.Set(p.Name, ruleset.Compile(p, s.settings))
		}
	}
	for _, old := range s.ports[k] {
		if !slices.Contains(names, old) {
			s.ledger.Set(old, ruleset.ServiceRules{})
		}
	}
	s.ports[k] = names
	if len(names) == 0 {
		delete(s.ports, k)
	}
}

// Sync writes what was set and returns how many chains that were. The chains
// of a table change in one transaction. After an error it may be called again.
func (s *Services) Sync(ctx context.Context) (chains int, err error) {
	batch := s.ledger.Batch()
	if batch.Input != "" {
		err := s.backend.counters.write(ctx, func() error {
			_, err := run(ctx, batch.Input, s.backend.program+"-restore", "--noflush", "-w", strconv.Itoa(lockSeconds))
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("writing %d chains of services: %w", batch.Chains, err)
		}
	}
	s.ledger.Done(batch)
	done, err := s.backend.Apply(ctx, s.jumps)
	s.jumps = s.jumps[done:]
	if err != nil {
		return batch.Chains, fmt.Errorf("leading to services: %w", err)
	}
	return batch.Chains, nil
}
