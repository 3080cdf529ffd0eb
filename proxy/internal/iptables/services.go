package iptables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Services writes the rules of one family's services. The first Sync takes over
// what is there, kube-proxy's included, and deletes the chains of services that
// are not set; those that follow write only what changed. What others change
// meanwhile is seen by making a new one. It is not safe for concurrent use.
type Services struct {
	backend  *Backend
	settings ruleset.Settings
	ledger   *ruleset.Ledger
	ports    map[service.Key][]service.PortName
	refused  Refused
}

// Services reads what the kernel holds; it changes nothing.
func (b *Backend) Services(ctx context.Context, s ruleset.Settings) (*Services, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("settings of services: %w", err)
	}
	if s.Family != b.family {
		return nil, fmt.Errorf("settings of services: family %s: %s writes %s", s.Family, b.program, b.family)
	}
	s.AffinityLists = affinityLists(b.listTotal)
	held, err := b.hold(ctx, s)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(b.tables, "filter") {
		b.tables = append(b.tables, "filter")
	}
	return &Services{
		backend:  b,
		settings: s,
		ledger:   ruleset.NewLedger(s, held),
		ports:    map[service.Key][]service.PortName{},
		refused:  Refused{},
	}, nil
}

// hold reads what the kernel holds of services.
func (b *Backend) hold(ctx context.Context, s ruleset.Settings) (held ruleset.Held, err error) {
	err = save(ctx, b.program, func(r io.Reader) error {
		held, err = ruleset.Hold(r, s)
		return err
	})
	if err != nil {
		return ruleset.Held{}, fmt.Errorf("reading rules of services: %w", err)
	}
	return held, nil
}

// Set says which ports a service is to have; none deletes it. Those of the
// other family are left out. It is written by the next Sync.
func (s *Services) Set(k service.Key, ports []service.ServicePort) {
	var names []service.PortName
	for _, p := range ports {
		if p.Family != s.settings.Family {
			continue
		}
		names = append(names, p.Name)
		delete(s.refused, p.Name)
		if err := s.ledger.Set(p); err != nil {
			s.refused[p.Name] = err
		}
	}
	for _, old := range s.ports[k] {
		if !slices.Contains(names, old) {
			s.ledger.Delete(old)
			delete(s.refused, old)
		}
	}
	s.ports[k] = names
	if len(names) == 0 {
		delete(s.ports, k)
	}
}

// Sync writes what was set and returns how many chains that were. With legacy
// the chains of a table change in one transaction; with nft, where a large one
// takes a time that grows with its square, those of each service. After an
// error the next one must be of a new Services; if it is a Refused, all others
// were written, and this one goes on.
func (s *Services) Sync(ctx context.Context) (chains int, err error) {
	plan := func() ruleset.Batch { return s.ledger.Batch(s.backend.limit()) }
	batch, err := s.write(ctx, plan)
	if rejected(err) {
		if sifted := s.sift(ctx, batch.Ports()); sifted != nil {
			return 0, sifted
		}
		batch, err = s.write(ctx, plan)
	}
	if err != nil {
		return 0, fmt.Errorf("writing %d chains of services: %w", batch.Chains, err)
	}
	if len(s.refused) > 0 {
		return batch.Chains, s.refused
	}
	return batch.Chains, nil
}

// nftChains is about how many chains iptables-nft-restore takes at once before
// its searching through them costs more than another transaction.
const nftChains = 256

func (b *Backend) limit() int {
	if b.variant == NFT {
		return nftChains
	}
	return 0
}

// write writes a batch, and takes note of what became of it. One of a single
// transaction that another program got in the way of was not written at all;
// of others some may have been, so that they are planned anew.
func (s *Services) write(ctx context.Context, plan func() ruleset.Batch) (batch ruleset.Batch, err error) {
	err = s.backend.counters.write(ctx, func() error {
		batch = plan()
		if batch.Empty() {
			return nil
		}
		err := s.backend.feed(ctx, batch.Input())
		if err == nil {
			s.backend.own.add(batch)
			return nil
		}
		if batch.Transactions() > 1 || patience(err) == 0 {
			s.backend.own.unsure = true
			now, readErr := s.backend.hold(ctx, s.settings)
			if readErr != nil {
				return errors.Join(err, readErr)
			}
			s.ledger.Failed(batch, now)
		}
		return err
	})
	if err == nil {
		s.ledger.Done(batch)
	}
	return batch, err
}
