package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// ServiceSettings are what all services have in common.
type ServiceSettings = ruleset.Settings

// Detector tells pods from other sources.
type Detector = ruleset.Detector

// ServiceSync is what SyncServices did.
type ServiceSync struct {
	// Chains is how many were written or deleted.
	Chains int
	// Full says that the kernel was read, and all services were gone through.
	Full bool
	// Refused names what cannot be served of the services gone through, and
	// why; nil if there is nothing. Everything else was written.
	Refused error
}

// SyncServices makes the rules of services what the tracker says. It goes
// through the changed ones; the first call, one after a failure, and one with
// other settings read the kernel and go through all. So does a call with redo,
// which repairs what Check saw others change.
//
// The tracker must know all services and slices before the first call, which
// deletes the chains of all others. Cleanup leaves services as they are, so
// that connections survive until another proxy takes over.
func (p *Proxy) SyncServices(ctx context.Context, t *service.Tracker, changed []service.Key, s ServiceSettings, redo bool) (ServiceSync, error) {
	var did ServiceSync
	if _, err := p.open(ctx); err != nil {
		return did, err
	}
	before, err := p.backend.Fingerprint()
	if err != nil {
		return did, fmt.Errorf("reading rules: %w", err)
	}
	if did.Full = redo || p.services == nil || !p.settings.Equal(s); did.Full {
		if p.services, err = p.backend.Services(ctx, s); err != nil {
			return did, err
		}
		p.settings, changed = s, t.Services()
	}
	var refused []error
	for _, k := range changed {
		ports, err := t.Resolve(k)
		refused = append(refused, err)
		p.services.Set(k, ports)
	}
	did.Refused = errors.Join(refused...)
	if did.Chains, err = p.services.Sync(ctx); err != nil {
		p.services = nil
		return did, err
	}
	return did, p.ownChange(before)
}

// ownChange keeps Check from taking our own change of services for another's.
func (p *Proxy) ownChange(before iptables.Fingerprint) error {
	after, err := p.backend.Fingerprint()
	if err != nil {
		return fmt.Errorf("reading rules: %w", err)
	}
	if before == p.seen {
		p.seen = after
	}
	return nil
}
