package services

import (
	"context"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Rules are written by proxy.Proxy.
type Rules interface {
	SyncServices(context.Context, proxy.Source, []service.Key, proxy.ServiceSettings) (proxy.ServiceSync, error)
	Untouched() (nat, services bool, err error)
}

// Audience hears what happens. Queued and Begun are
// called from any goroutine, the others from one.
type Audience interface {
	// Queued: something waits to be written, since the last round so many
	// changes of slices and of services. Begun: a round takes what waits by
	// now. Both are called under a lock, and must not call back.
	Queued(slices, services int)
	Begun()
	// Synced: what waited when the round began is written.
	Synced(Round)
	// Idle: the round found nothing to do.
	Idle()
	// Failed: the round ended in an error, which the daemon's loop logs.
	Failed(error)
	// SetNode tells of this node; nil: it is gone.
	SetNode(*service.Node)
	// SetChecks tells what a service's health check ports are to answer; nil:
	// it has none.
	SetChecks(service.Key, []service.HealthCheck)
	// Kept is told the settings by which rules were written.
	Kept(proxy.ServiceSettings)
}

// Round is one round of writing.
type Round struct {
	Took     time.Duration
	Services int // that were gone through
	Sync     proxy.ServiceSync
	// Repair says that others had changed rules.
	Repair bool
	// SliceChanges and ServiceChanges are how many were told since the last.
	SliceChanges, ServiceChanges int
	// Waited is how long each slice waited since the change that caused it.
	Waited []time.Duration
	// Refused is how many services are not served whole, at present.
	Refused int
}

// Services is safe for use by several goroutines; Step by one.
type Services struct {
	settings Settings
	rules    Rules
	audience Audience
	log      *slog.Logger

	mu      sync.Mutex
	tracker *service.Tracker
	inbox   inbox
	node    *service.Node
	known   bool // services, slices and node are

	// Of Step.
	refused map[service.Key]string
	written *proxy.ServiceSettings
	told    *service.Node
	checked map[service.Key]bool // services that have health checks
}

// inbox is what came since the last round.
type inbox struct {
	changed          map[service.Key]bool
	slices, services int
	triggered        []time.Time
	waiting          []chan struct{} // closed by a round that has all this
}

// New returns Services that know nothing yet.
func New(s Settings, rules Rules, audience Audience, log *slog.Logger) *Services {
	return &Services{
		settings: s, rules: rules, audience: audience, log: log, tracker: service.NewTracker(),
		inbox: newInbox(), refused: map[service.Key]string{}, checked: map[service.Key]bool{},
	}
}

func newInbox() inbox { return inbox{changed: map[service.Key]bool{}} }

// Step writes what changed, and repairs what others changed.
func (s *Services) Step(ctx context.Context) error {
	s.mu.Lock()
	if !s.known {
		s.mu.Unlock()
		return nil
	}
	box, node, settings := s.inbox, s.node, s.settings.of(s.tracker.Node())
	s.inbox = newInbox()
	s.audience.Begun()
	s.mu.Unlock()
	s.tellNode(node)
	_, untouched, err := s.rules.Untouched()
	same := s.written != nil && reflect.DeepEqual(*s.written, settings)
	if err == nil && untouched && same && len(box.changed) == 0 {
		box.answer()
		s.putBack(inbox{slices: box.slices, services: box.services})
		s.audience.Idle()
		return nil
	}
	began := s.settings.Now()
	did, err := s.rules.SyncServices(ctx, source{s}, slices.Collect(maps.Keys(box.changed)), settings)
	if err != nil {
		s.putBack(box)
		s.audience.Failed(err)
		return err
	}
	repair := s.written != nil && same && !untouched
	if !same {
		s.written = &settings
		s.audience.Kept(settings)
	}
	s.sayRefused(box.changed, did)
	s.tellChecks(box.changed, did.Full)
	s.audience.Synced(s.round(began, box, did, repair))
	box.answer()
	return nil
}

func (s *Services) round(began time.Time, box inbox, did proxy.ServiceSync, repair bool) Round {
	now := s.settings.Now()
	r := Round{
		Took: now.Sub(began), Services: len(box.changed), Sync: did, Repair: repair,
		SliceChanges: box.slices, ServiceChanges: box.services, Refused: len(s.refused),
	}
	for _, t := range box.triggered {
		r.Waited = append(r.Waited, now.Sub(t))
	}
	return r
}

// putBack keeps what could not be written for the next round.
func (s *Services) putBack(box inbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.inbox.changed, box.changed)
	s.inbox.slices += box.slices
	s.inbox.services += box.services
	s.inbox.triggered = append(box.triggered, s.inbox.triggered...)
	s.inbox.waiting = append(box.waiting, s.inbox.waiting...)
}

func (b inbox) answer() {
	for _, c := range b.waiting {
		close(c)
	}
}

// Await returns when all that was told by now is written, or when ctx ends.
func (s *Services) Await(ctx context.Context) error {
	done := make(chan struct{})
	s.mu.Lock()
	s.inbox.waiting = append(s.inbox.waiting, done)
	s.mu.Unlock()
	s.settings.Wake()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Names says whether an address that a pod of this node had is an endpoint of a
// service still.
func (s *Services) Names(a netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tracker.Names(a)
}

func (s *Services) tellNode(n *service.Node) {
	if n != s.told || n == nil {
		s.audience.SetNode(n)
		s.told = n
	}
}

// tellChecks tells of the health checks of the services gone through.
func (s *Services) tellChecks(changed map[service.Key]bool, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if full {
		for _, k := range s.tracker.Services() {
			changed[k] = true
		}
	}
	for k := range changed {
		checks := s.tracker.HealthChecks(k)
		if len(checks) > 0 || s.checked[k] {
			s.audience.SetChecks(k, checks)
		}
		if s.checked[k] = true; len(checks) == 0 {
			delete(s.checked, k)
		}
	}
}

// sayRefused logs what cannot be served, once for each cause.
func (s *Services) sayRefused(changed map[service.Key]bool, did proxy.ServiceSync) {
	for k := range s.refused {
		if _, still := did.Refused[k]; !still && (changed[k] || did.Full) {
			delete(s.refused, k)
			s.log.Info("the service is served whole again", "service", k)
		}
	}
	for k, err := range did.Refused {
		if why := err.Error(); s.refused[k] != why {
			s.refused[k] = why
			s.log.Warn("not all of the service can be served; all others are", "service", k, "error", why)
		}
	}
}

// source gives the proxy one service at a time, so that what is told of the
// cluster need not wait for rules.
type source struct{ s *Services }

func (f source) Services() []service.Key {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.s.tracker.Services()
}

func (f source) Resolve(k service.Key) ([]service.ServicePort, error) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.s.tracker.Resolve(k)
}
