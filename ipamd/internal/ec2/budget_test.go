package ec2

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// within makes a world whose node may make one call of an action at once, and
// so many per second.
func within(t *testing.T, perSecond float64) *world {
	t.Helper()
	return start(t, "{profile: none, throttle: {enabled: false}}", func(s *Settings) {
		s.Budget = newBudget(budget.Limit{Size: 10, Refill: 5 * perSecond})
	})
}

// state is the budget of an action that was called for.
func (w *world) state(action string) budget.State {
	w.Helper()
	for _, s := range w.cloud.Budget() {
		if s.Action == action {
			return s
		}
	}
	w.Fatalf("%s is not among %+v", action, w.cloud.Budget())
	return budget.State{}
}

// assign asks for one more address, with so long to do it.
func (w *world) assign(limit time.Duration) *pool.Failure {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), limit)
	defer cancel()
	_, err := w.cloud.Apply(ctx, pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 1})
	var f *pool.Failure
	if err != nil && !errors.As(err, &f) {
		w.Fatalf("error %v, want a failure", err)
	}
	return f
}

// TestBudgetIsKept makes calls as fast as they are let.
func TestBudgetIsKept(t *testing.T) {
	w := within(t, 20)
	began := time.Now()
	for range 5 {
		if f := w.assign(time.Minute); f != nil {
			t.Fatal(f)
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("5 calls in %s, want no more than one each 50 ms", took)
	}
	for _, seen := range w.calls.take() {
		if seen != "AssignPrivateIpAddresses" {
			t.Errorf("recorded %q", seen)
		}
	}
}

// TestBudgetSpent asks for what is due after the call's time is over.
func TestBudgetSpent(t *testing.T) {
	w := within(t, 0.01)
	if f := w.assign(time.Minute); f != nil {
		t.Fatal(f)
	}
	began := time.Now()
	f := w.assign(time.Minute)
	if f == nil || f.Class != pool.Throttled || !strings.Contains(f.Error(), "this node waits for its turn of AssignPrivateIpAddresses") {
		t.Errorf("%v, want it throttled by ourselves", f)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("refused after %s, want at once", took)
	}
	if sent := w.attempts("AssignPrivateIpAddresses"); sent != 1 {
		t.Errorf("%d calls were sent, want 1", sent)
	}
}

// TestBudgetKeepsDoubt lets the first attempt of a creation be lost, and has no
// token for a second one.
func TestBudgetKeepsDoubt(t *testing.T) {
	w := within(t, 0.01)
	action := pool.CreateENI{Subnet: w.id.Subnet, Token: "token", Created: created}
	w.fault("{action: CreateNetworkInterface, effect: {lost: true}}")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := w.cloud.Apply(ctx, action)
	if f := w.failure(r, err); f.Class != pool.Ambiguous {
		t.Errorf("%s (%v), want outcome unknown", f.Class, f)
	}
	if sent := w.attempts("CreateNetworkInterface"); sent != 1 {
		t.Errorf("%d calls were sent, want 1", sent)
	}
}

// TestBudgetWaitEnds cancels a call while it waits for its token.
func TestBudgetWaitEnds(t *testing.T) {
	w := within(t, 0.01)
	w.assign(time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	r, err := w.cloud.Apply(ctx, pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 1})
	if f := w.failure(r, err); f.Class != pool.Unavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("%s (%v), want EC2 unavailable", f.Class, f)
	}
	if sent := w.attempts("AssignPrivateIpAddresses"); sent != 1 {
		t.Errorf("%d calls were sent, want 1", sent)
	}
}

// TestBudgetLearns tells throttled answers from refusals, which come from
// behind the account's bucket, and from no answer at all.
func TestBudgetLearns(t *testing.T) {
	for _, tt := range []struct {
		effect    string
		throttled int
	}{
		{"throttle: true", 1},
		{"error: {code: NewKindOfThrottle, status: 429}", 1},
		{"error: {code: InsufficientFreeAddressesInSubnet}", 0},
		{"error: {code: InternalError}", 0},
		{"lost: true", 0},
		{"html502: true", 0},
	} {
		t.Run(tt.effect, func(t *testing.T) {
			w := within(t, 100)
			w.fault("{action: AssignPrivateIpAddresses, times: 1, effect: {" + tt.effect + "}}")
			if f := w.assign(time.Minute); f == nil {
				t.Fatal("the call did not fail")
			}
			s := w.state("AssignPrivateIpAddresses")
			if cut := s.Rate < s.Ceiling; s.Throttled != tt.throttled || cut != (tt.throttled > 0) {
				t.Errorf("%+v, want %d throttled answers", s, tt.throttled)
			}
			if f := w.assign(time.Minute); f != nil {
				t.Errorf("afterwards: %v", f)
			}
		})
	}
}

// TestThrottledAttempts has the SDK's own attempts wait for their tokens.
func TestThrottledAttempts(t *testing.T) {
	w := within(t, 100)
	action := w.create("token", 0)
	w.fault("{action: CreateNetworkInterface, times: 2, effect: {throttle: true}}")
	if created := w.apply(action).Created; created == nil || w.attempts("CreateNetworkInterface") != 3 {
		t.Errorf("%+v in %d attempts, want an ENI in 3", created, w.attempts("CreateNetworkInterface"))
	}
	if s := w.state("CreateNetworkInterface"); s.Throttled != 2 {
		t.Errorf("%+v, want 2 throttled answers", s)
	}
}

// TestJoin takes turns with others before anything is throttled.
func TestJoin(t *testing.T) {
	w := within(t, 100)
	w.cloud.Join(1e6)
	if f := w.assign(time.Second); f == nil || f.Class != pool.Throttled {
		t.Errorf("%v, want it to be another's turn", f)
	}
	if sent := w.attempts("AssignPrivateIpAddresses"); sent != 0 {
		t.Errorf("%d calls were sent, want none", sent)
	}
}

func TestSwitches(t *testing.T) {
	w := start(t, "profile: none")
	eni := w.apply(w.create("token", 0)).Created.ID
	w.cloud.Switch(budget.Switches{StopReleasing: true})
	if f := w.refused(pool.DeleteENI{ENI: eni}); !strings.Contains(f.Error(), `the switch "stop-releasing" is on`) {
		t.Errorf("%s: %v", f.Class, f)
	}
	w.describe(true)
	w.cloud.Switch(budget.Switches{StopCalling: true})
	enis, err := w.cloud.Describe(t.Context(), false)
	if f := w.failure(enis, err); f.Class != pool.Unavailable || !strings.Contains(f.Error(), `the switch "stop-calling-ec2" is on`) {
		t.Errorf("%s: %v", f.Class, f)
	}
	w.cloud.Switch(budget.Switches{})
	w.apply(pool.DeleteENI{ENI: eni})
	if sent := w.attempts("DeleteNetworkInterface"); sent != 1 {
		t.Errorf("%d calls were sent, want 1", sent)
	}
}
