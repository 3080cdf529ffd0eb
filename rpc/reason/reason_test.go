package reason

import (
	"testing"

	"github.com/causeway-cni/causeway/rpc"
)

// TestCode holds the codes: alerts and runbooks of users have them.
func TestCode(t *testing.T) {
	want := []string{"Unspecified", "Starting", "AddressesComing", "AddressesCooling", "ENILimit", "SubnetFull", "Throttled",
		"Unauthorized", "EC2Unavailable", "DeviceLate", "StateNotWritten", "InvalidRequest", "HostPortTaken", "TooManyPods",
		"IMDSLate", "NoPrefix", "NoENIConfig", "NodeCordoned", "NoSubnet"}
	if len(rpc.Reason_name) != len(want) {
		t.Errorf("%d reasons, want %d", len(rpc.Reason_name), len(want))
	}
	for i, code := range want {
		if got := Code(rpc.Reason(i)); got != code {
			t.Errorf("reason %d: %s, want %s", i, got, code)
		}
	}
}
