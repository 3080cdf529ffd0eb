package iptables

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Refused are the service-ports that have no rules, and why: their chains have
// names that another one has, or iptables-restore does not take their rules.
// All others are as they should be.
type Refused map[service.PortName]error

// Error names every service-port.
func (r Refused) Error() string {
	var all []string
	for name, err := range r {
		all = append(all, fmt.Sprintf("service-port %s %s: %v", name, name.Protocol, err))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// Services are the services of the service-ports, each once.
func (r Refused) Services() []service.Key {
	keys := map[service.Key]bool{}
	for name := range r {
		keys[name.Key] = true
	}
	return slices.Collect(maps.Keys(keys))
}

// rejected says whether a program ran and did not like its input.
func rejected(err error) bool {
	var failed *programError
	return errors.As(err, &failed) && !lockHeld(err)
}

// sift finds by halves which of these service-ports the kernel refuses, and
// gives them up. The chains of the others are written.
func (s *Services) sift(ctx context.Context, ports []service.PortName) error {
	if len(ports) == 0 {
		return nil
	}
	_, err := s.write(ctx, func() ruleset.Batch { return s.ledger.Probe(ports, s.backend.limit()) })
	switch {
	case err == nil:
		return nil
	case !rejected(err):
		return fmt.Errorf("finding out which service is refused: %w", err)
	case len(ports) == 1:
		s.ledger.Delete(ports[0])
		s.refused[ports[0]] = err
		return nil
	}
	half := len(ports) / 2
	if err := s.sift(ctx, ports[:half]); err != nil {
		return err
	}
	return s.sift(ctx, ports[half:])
}
