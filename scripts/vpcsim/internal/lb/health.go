package lb

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// State is the health of a target, in the words of the ELB API.
type State string

// The states of a target.
const (
	Initial   State = "initial"
	Healthy   State = "healthy"
	Unhealthy State = "unhealthy"
	Draining  State = "draining"
	Unused    State = "unused"
)

// Health is the state of a target and why it is that.
type Health struct {
	State               State
	Reason, Description string
}

// What a target can be; the descriptions are AWS's.
var (
	registering  = Health{Initial, "Elb.RegistrationInProgress", "Target registration is in progress"}
	firstChecks  = Health{Initial, "Elb.InitialHealthChecking", "Initial health checks in progress"}
	healthy      = Health{State: Healthy}
	draining     = Health{Draining, "Target.DeregistrationInProgress", "Target deregistration is in progress"}
	notRunning   = Health{Unused, "Target.InvalidState", "Target is in the terminated state"}
	zoneDisabled = Health{Unused, "Target.NotInUse", "Target is in an Availability Zone that is not enabled for the load balancer"}
	groupUnused  = Health{Unused, "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"}
	timedOut     = Health{Unhealthy, "Target.Timeout", "Request timed out"}
	refused      = Health{Unhealthy, "Target.FailedHealthChecks", "Health checks failed"}
)

func wrongStatus(code int) Health {
	return Health{Unhealthy, "Target.ResponseCodeMismatch", fmt.Sprintf("Health checks failed with these codes: [%d]", code)}
}

// target is a registered target. Its methods are its state machine; they are
// told the time.
type target struct {
	topology.Target
	addr netip.Addr // where packets go; zero while it is unused
	zone string     // empty is every zone

	health   Health
	ready    time.Time // when registration is done
	gone     time.Time // when draining is done
	next     time.Time // when it is checked again
	checking bool
	streak   int // checks in a row with the same outcome
	passed   bool
}

// newTarget begins with registration, which takes a while.
func newTarget(t topology.Target, now time.Time, registration time.Duration) *target {
	out := &target{Target: t}
	out.register(now, registration)
	return out
}

func (t *target) register(now time.Time, takes time.Duration) {
	t.health, t.ready, t.next, t.streak = registering, now.Add(takes), now.Add(takes), 0
}

func (t *target) endpoint() netip.AddrPort { return netip.AddrPortFrom(t.addr, t.Port) }

// drain takes the target out of service. An unused one goes at once.
func (t *target) drain(now time.Time, delay time.Duration) {
	if t.health.State == Draining {
		return
	}
	if t.health.State == Unused {
		delay = 0
	}
	t.health, t.gone = draining, now.Add(delay)
}

// place tells the target where it is, or why it is of no use.
func (t *target) place(addr netip.Addr, zone string, unused Health, now time.Time) {
	switch {
	case t.health.State == Draining:
		// Existing flows know where it is.
	case unused.State == Unused:
		t.addr, t.zone, t.health = netip.Addr{}, zone, unused
	default:
		if t.health.State == Unused {
			t.register(now, 0)
		}
		t.addr, t.zone = addr, zone
	}
}

// checked reports whether health checks go on.
func (t *target) checked() bool { return t.addr.IsValid() && t.health.State != Draining }

// begin starts a check that is due and returns whether there is one.
func (t *target) begin(now time.Time, interval time.Duration) bool {
	if !t.checked() || t.checking || now.Before(t.next) {
		return false
	}
	if t.health == registering {
		t.health = firstChecks
	}
	t.checking, t.next = true, now.Add(interval)
	return true
}

// end takes the outcome of a check: healthy, or what is wrong.
func (t *target) end(outcome Health, h topology.HealthCheck) {
	t.checking = false
	if !t.checked() {
		return
	}
	if passed := outcome.State == Healthy; passed != t.passed || t.streak == 0 {
		t.passed, t.streak = passed, 0
	}
	t.streak++
	switch {
	case t.passed && t.streak >= h.HealthyThreshold:
		t.health = healthy
	case !t.passed && t.streak >= h.UnhealthyThreshold:
		t.health = outcome
	}
}

// pick returns the endpoints that an address of the balancer sends new flows
// to: the healthy ones in its zone, or in all zones. With none healthy it fails
// open and sends to the unhealthy ones.
func pick(targets []*target, zone string, crossZone bool) []netip.AddrPort {
	var good, bad []netip.AddrPort
	for _, t := range targets {
		switch near := crossZone || t.zone == "" || t.zone == zone; {
		case near && t.health.State == Healthy:
			good = append(good, t.endpoint())
		case near && t.health.State == Unhealthy:
			bad = append(bad, t.endpoint())
		}
	}
	if len(good) > 0 {
		return good
	}
	return bad
}
