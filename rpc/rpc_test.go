package rpc

import "testing"

// TestCode holds the codes: alerts and runbooks of users have them.
func TestCode(t *testing.T) {
	want := []string{"Unspecified", "Starting", "AddressesComing", "AddressesCooling", "ENILimit", "SubnetFull", "Throttled",
		"Unauthorized", "EC2Unavailable", "DeviceLate", "StateNotWritten", "InvalidRequest", "HostPortTaken", "TooManyPods",
		"IMDSLate", "NoPrefix"}
	if len(Reason_name) != len(want) {
		t.Errorf("%d reasons, want %d", len(Reason_name), len(want))
	}
	for i, code := range want {
		if got := Reason(i).Code(); got != code {
			t.Errorf("reason %d: %s, want %s", i, got, code)
		}
	}
}
