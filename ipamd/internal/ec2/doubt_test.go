package ec2

import (
	"testing"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// TestDoubtStays has a creation whose first answer is lost, and further
// attempts that say nothing about the first.
func TestDoubtStays(t *testing.T) {
	tests := []struct {
		later string
		want  pool.Class
	}{
		{"throttle: true", pool.Ambiguous},
		{"error: {code: UnauthorizedOperation}", pool.Ambiguous},
		{"error: {code: RequestTimeout}", pool.Ambiguous},
		{"error: {code: InternalError}", pool.Ambiguous},
		{"error: {code: InsufficientFreeAddressesInSubnet}", pool.SubnetFull},
	}
	for _, tt := range tests {
		t.Run(tt.later, func(t *testing.T) {
			w := start(t, "profile: none")
			action := w.create("token", 1)
			w.fault("{action: CreateNetworkInterface, nth: 1, effect: {lost: true}}")
			for _, nth := range []string{"2", "3"} {
				w.fault("{action: CreateNetworkInterface, nth: " + nth + ", effect: {" + tt.later + "}}")
			}
			if f := w.refused(action); f.Class != tt.want {
				t.Errorf("%s (%v), want %s", f.Class, f, tt.want)
			}
		})
	}
}

// TestNoDoubt has calls that were answered, each time with a refusal.
func TestNoDoubt(t *testing.T) {
	w := start(t, "profile: none")
	action := w.create("token", 1)
	w.fault("{action: CreateNetworkInterface, effect: {throttle: true}}")
	if f := w.refused(action); f.Class != pool.Throttled {
		t.Errorf("%s (%v), want throttled", f.Class, f)
	}
}

// TestPendingLeftover finds an ENI whose creation is not over.
func TestPendingLeftover(t *testing.T) {
	w := start(t, "{profile: none, delays: {pending: 1h}}")
	created := w.apply(w.create("token", 2)).Created
	if got := w.eni(created.ID); got.Status != pool.Available || w.status().Detached[0].Status != "pending" {
		t.Errorf("%+v of %+v, want it available to us while EC2 calls it pending", got, w.status().Detached)
	}
}
