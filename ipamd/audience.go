package main

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/causeway-cni/causeway/ipamd/internal/health"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/services"
	"github.com/causeway-cni/causeway/ipamd/internal/telemetry"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/service"
)

// audience passes what happens to services on to health servers, metrics and
// the log.
type audience struct {
	log     *slog.Logger
	rules   *proxy.Proxy
	health  *health.State
	checks  *health.Checks
	metrics *telemetry.Proxy
	retry   *loop.Loop
	written func()                      // rules were written: stale flows may end
	alone   func()                      // another proxy has ended
	keep    func(proxy.ServiceSettings) // over a restart
}

// lateAfter is how many sync periods a change may wait before the node is
// unhealthy, as with kube-proxy.
const lateAfter = 2

func newAudience(rules *proxy.Proxy, mode string, syncPeriod time.Duration, m *telemetry.Metrics, log *slog.Logger) *audience {
	state := health.NewState(lateAfter*syncPeriod, time.Now)
	a := &audience{
		log: log, rules: rules, health: state, checks: health.NewChecks(state.Healthy, log),
		metrics: telemetry.NewProxy(m, mode, func() float64 { return float64(rules.Counts().Contended) }),
	}
	a.retry = loop.New(loop.Settings{Name: "health checks", Resync: listenEvery, Pause: time.Second, LongestPause: listenEvery},
		func(context.Context) (time.Duration, error) { a.checks.Retry(); return 0, nil }, log, m.StepFailed)
	return a
}

// run serves health until ctx ends.
func (a *audience) run(ctx context.Context, address string) error {
	defer a.checks.Close()
	tasks, ctx := errgroup.WithContext(ctx)
	tasks.Go(func() error { return a.retry.Run(ctx) })
	tasks.Go(func() error {
		listener, taken := listen(ctx, a.log, "CAUSEWAY_HEALTHZ_BIND_ADDRESS", address)
		if taken { // by another proxy, which has ended
			a.alone()
		}
		return serveOn(ctx, listener, a.health.Handler(a.metrics.Health))
	})
	return tasks.Wait()
}

// Queued implements services.Audience, as do the methods below.
func (a *audience) Queued(slices, services int) {
	a.health.Queued()
	a.metrics.Pending(slices, services)
	a.metrics.Queued(time.Now())
}

func (a *audience) Synced(r services.Round) {
	a.say(r)
	a.health.Synced()
	a.metrics.Synced(time.Now(), r.Took, r.Sync.Full, r.Repair, r.Sync.Changes, r.Refused)
	a.metrics.Changed(r.SliceChanges, r.ServiceChanges)
	for _, d := range r.Waited {
		a.metrics.Programmed(d)
	}
	tally := a.rules.Tally()
	a.metrics.NoLocal(tally.NoLocalInternal, tally.NoLocalExternal)
	a.written()
}

func (a *audience) say(r services.Round) {
	for _, c := range r.Sync.Found {
		a.log.Info("services: " + c)
	}
	took := r.Took.Round(time.Millisecond)
	switch {
	case r.Repair && len(r.Sync.Found) > 0:
		a.log.Info("services: taken over from another proxy", "changes", r.Sync.Changes, "took", took)
	case r.Repair && r.Sync.Full:
		a.log.Warn("services: others changed rules; they are repaired", "changes", r.Sync.Changes, "took", took)
	case r.Sync.Full:
		a.log.Info("services: all are written", "changes", r.Sync.Changes, "took", took)
	default:
		a.log.Debug("services: written", "services", r.Services, "changes", r.Sync.Changes, "took", r.Took)
	}
}

// Begun and the methods around it tell health servers how a round went.
func (a *audience) Begun() { a.health.Begun() }

func (a *audience) Idle() { a.health.Idle() }

// Failed also counts as something that waits: what others changed is not
// repaired.
func (a *audience) Failed(error) {
	a.health.Failed()
	a.health.Queued()
	a.metrics.Failed()
}

func (a *audience) SetNode(n *service.Node) { a.health.SetNode(n) }

func (a *audience) SetChecks(k service.Key, checks []service.HealthCheck) { a.checks.Set(k, checks) }

func (a *audience) Kept(s proxy.ServiceSettings) { a.keep(s) }

func (a *audience) swept(ended int, took time.Duration, err error) {
	a.metrics.Swept(ended, took, err)
}
