package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/services"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/service"
)

// audience passes what happens to services on to health servers, metrics and
// the log.
type audience struct {
	log     *slog.Logger
	written func()                      // rules were written: stale flows may end
	keep    func(proxy.ServiceSettings) // over a restart
}

func (a *audience) Queued() {}

func (a *audience) Synced(r services.Round) {
	for _, c := range r.Sync.Removed {
		a.log.Info("services: " + c)
	}
	switch {
	case r.Repair:
		a.log.Warn("services: others changed rules; repaired", "changes", r.Sync.Changes, "took", r.Took.Round(time.Millisecond))
	case r.Sync.Full:
		a.log.Info("services: all are written", "changes", r.Sync.Changes, "took", r.Took.Round(time.Millisecond))
	default:
		a.log.Debug("services: written", "services", r.Services, "changes", r.Sync.Changes, "took", r.Took)
	}
	a.written()
}

func (a *audience) Failed(error) {}

func (a *audience) SetNode(*service.Node) {}

func (a *audience) SetChecks(service.Key, []service.HealthCheck) {}

func (a *audience) Kept(s proxy.ServiceSettings) { a.keep(s) }

func (a *audience) swept(ended int, took time.Duration, err error) {}

func (a *audience) run(ctx context.Context) error { <-ctx.Done(); return nil }
