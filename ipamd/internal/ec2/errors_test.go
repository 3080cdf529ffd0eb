package ec2

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestClasses injects what EC2 answers, into a mutating call and into a
// description.
func TestClasses(t *testing.T) {
	tests := []struct {
		effect          string
		mutating, query pool.Class
	}{
		{"throttle: true", pool.Throttled, pool.Throttled},
		{"error: {code: RequestLimitExceeded}", pool.Throttled, pool.Throttled},
		{"error: {code: RequestLimitExceeded, status: 400}", pool.Throttled, pool.Throttled},
		{"error: {code: Throttling, status: 400}", pool.Throttled, pool.Throttled},
		{"error: {code: NewKindOfThrottle, status: 429}", pool.Throttled, pool.Throttled},
		{"error: {code: UnauthorizedOperation}", pool.Unauthorized, pool.Unauthorized},
		{"error: {code: AuthFailure}", pool.Unauthorized, pool.Unauthorized},
		{"error: {code: ExpiredToken}", pool.Unauthorized, pool.Unauthorized},
		{"error: {code: RequestExpired}", pool.Unauthorized, pool.Unauthorized},
		{"error: {code: InsufficientFreeAddressesInSubnet}", pool.SubnetFull, pool.SubnetFull},
		{"error: {code: InsufficientCidrBlocks}", pool.SubnetFull, pool.SubnetFull},
		{`error: {code: InvalidParameterValue, message: "There aren't sufficient free Ipv4 addresses or prefixes"}`, pool.SubnetFull, pool.SubnetFull},
		{"error: {code: PrivateIpAddressLimitExceeded}", pool.AddressLimit, pool.AddressLimit},
		{"error: {code: InvalidInterface.IpAddressLimitExceeded}", pool.AddressLimit, pool.AddressLimit},
		{"error: {code: AttachmentLimitExceeded}", pool.ENILimit, pool.ENILimit},
		{"error: {code: NetworkInterfaceLimitExceeded}", pool.ENILimit, pool.ENILimit},
		{"error: {code: InvalidNetworkInterfaceID.NotFound}", pool.NotFound, pool.NotFound},
		{"error: {code: InvalidAttachmentID.NotFound}", pool.NotFound, pool.NotFound},
		{"error: {code: InvalidSubnetID.NotFound}", pool.Refused, pool.Refused},
		{"error: {code: InvalidGroup.NotFound}", pool.Refused, pool.Refused},
		{"error: {code: InvalidSecurityGroupID.NotFound}", pool.Refused, pool.Refused},
		{"error: {code: InvalidInstanceID.NotFound}", pool.NotFound, pool.NotFound},
		{"error: {code: InvalidNetworkInterface.InUse}", pool.InUse, pool.InUse},
		{"error: {code: InvalidIPAddress.InUse}", pool.InUse, pool.InUse},
		{"error: {code: IncorrectState}", pool.InUse, pool.InUse},
		{"error: {code: IncorrectInstanceState}", pool.InUse, pool.InUse},
		{"error: {code: ConcurrentTagAccess}", pool.InUse, pool.InUse},
		{`error: {code: InvalidParameterValue, message: "Instance 'i-1' already has an interface attached at device index '1'."}`, pool.InUse, pool.InUse},
		{`error: {code: InvalidParameterValue, message: "Network interface 'eni-1' is currently in use."}`, pool.InUse, pool.InUse},
		{"error: {code: InvalidParameterValue, message: anything else}", pool.Refused, pool.Refused},
		{"error: {code: OperationNotPermitted}", pool.Refused, pool.Refused},
		{"error: {code: IdempotentParameterMismatch}", pool.InUse, pool.InUse},
		{"error: {code: MissingParameter}", pool.Refused, pool.Refused},
		{"error: {code: InternalError}", pool.Ambiguous, pool.Unavailable},
		{"error: {code: Unavailable}", pool.Ambiguous, pool.Unavailable},
		{"html502: true", pool.Ambiguous, pool.Unavailable},
		{"reset: true", pool.Ambiguous, pool.Unavailable},
		{"lost: true", pool.Ambiguous, pool.Unavailable},
		{"truncate: true", pool.Ambiguous, pool.Unavailable},
		{"latency: 1s", pool.Ambiguous, pool.Unavailable},
	}
	w := start(t, "{profile: none, throttle: {enabled: false}}", func(s *Settings) { s.HTTPTimeout = 700 * time.Millisecond })
	assign := pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 1}
	for _, tt := range tests {
		t.Run(tt.effect, func(t *testing.T) {
			in := world{T: t, sim: w.sim, id: w.id, cloud: w.cloud, calls: w.calls}
			defer in.clear()
			in.fault(fmt.Sprintf("[{action: AssignPrivateIpAddresses, effect: {%s}}, {action: DescribeNetworkInterfaces, effect: {%s}}]", tt.effect, tt.effect))
			in.calls.take()
			f := in.refused(assign)
			if f.Class != tt.mutating || !strings.Contains(f.Error(), "assigning 1 addresses to ENI "+string(w.id.PrimaryENI)+": ") {
				t.Errorf("mutating call: %s (%v), want %s", f.Class, f, tt.mutating)
			}
			if sent := in.calls.take(); len(sent) != 1 {
				t.Errorf("sent %q, want one call", sent)
			}
			enis, err := in.cloud.Describe(t.Context(), false)
			if f := in.failure(enis, err); f.Class != tt.query || !strings.Contains(f.Error(), w.id.InstanceID) {
				t.Errorf("description: %s (%v), want %s", f.Class, f, tt.query)
			}
		})
	}
}

// TestRealRefusals lets the simulator refuse by its own rules.
func TestRealRefusals(t *testing.T) {
	w := start(t, "profile: none")
	absent := pool.ENIID("eni-00000000000000000")
	first := w.apply(w.create("first", 0)).Created.ID
	second := w.apply(w.create("second", 0)).Created.ID
	third := w.apply(w.create("third", 0)).Created.ID
	w.apply(pool.AttachENI{ENI: first, Device: 1})
	refuse := func(what string, a pool.Action, want pool.Class) {
		t.Helper()
		if f := w.refused(a); f.Class != want {
			t.Errorf("%s: %s (%v), want %s", what, f.Class, f, want)
		}
	}
	refuse("device number taken", pool.AttachENI{ENI: second, Device: 1}, pool.InUse)
	refuse("ENI attached", pool.AttachENI{ENI: first, Device: 2}, pool.InUse)
	w.apply(pool.AttachENI{ENI: second, Device: 2})
	refuse("too many ENIs", pool.AttachENI{ENI: third, Device: 3}, pool.ENILimit)
	refuse("too many addresses", pool.AssignAddresses{ENI: first, Count: 10}, pool.AddressLimit)
	refuse("no such ENI", pool.AssignAddresses{ENI: absent, Count: 1}, pool.NotFound)
	refuse("no such ENI", pool.AttachENI{ENI: absent, Device: 2}, pool.NotFound)
	refuse("no such attachment", pool.ProtectENI{ENI: first, AttachmentID: "eni-attach-00000000000000000"}, pool.NotFound)
	refuse("no such subnet", pool.CreateENI{Subnet: "subnet-00000000000000000", Token: "t"}, pool.Refused)
	action := w.create("first", 3)
	refuse("token of other parameters", action, pool.InUse)
	if _, err := w.sim.Control().Take(t.Context(), control.Tenants{Subnet: "a", Addresses: -1}); err != nil {
		t.Fatal(err)
	}
	action.Token = "fourth"
	refuse("subnet full", action, pool.SubnetFull)
	refuse("subnet full", pool.AssignAddresses{ENI: first, Count: 1}, pool.SubnetFull)
}

// TestLostAnswers loses the answer of a call that was carried out.
func TestLostAnswers(t *testing.T) {
	t.Run("creation is replayed", func(t *testing.T) {
		w := start(t, "profile: none")
		action := w.create("token", 2)
		w.fault("{action: CreateNetworkInterface, times: 2, effect: {lost: true}}")
		eni := w.apply(action).Created
		left := w.status().Detached
		if len(left) != 1 || left[0].ID != string(eni.ID) || w.attempts("CreateNetworkInterface") != 3 {
			t.Errorf("created %+v in %d attempts, but EC2 has %+v", eni, w.attempts("CreateNetworkInterface"), left)
		}
		if again := w.apply(action).Created; again.ID != eni.ID {
			t.Errorf("the same token gave %s, then %s", eni.ID, again.ID)
		}
	})
	t.Run("creation is repeated with the time of its plan", func(t *testing.T) {
		w := start(t, "profile: none")
		action := w.create("token", 0)
		action.Created = created.Add(-time.Hour)
		eni := w.apply(action).Created
		if again := w.apply(action).Created; again.ID != eni.ID || !eni.Created.Equal(action.Created) {
			t.Errorf("%s of %s, then %s; want one of %s", eni.ID, eni.Created, again.ID, action.Created)
		}
		action.Created = created
		if f := w.refused(action); f.Class != pool.InUse {
			t.Errorf("with another time: %s (%v), want in use", f.Class, f)
		}
	})
	t.Run("creation stays unknown", func(t *testing.T) {
		w := start(t, "profile: none")
		action := w.create("token", 0)
		w.fault("{action: CreateNetworkInterface, effect: {lost: true}}")
		if f := w.refused(action); f.Class != pool.Ambiguous {
			t.Errorf("%s (%v), want outcome unknown", f.Class, f)
		}
		if enis := w.describe(true); len(enis) != 2 {
			t.Errorf("%+v, want the new ENI beside the primary one", enis)
		}
	})
	t.Run("assignment is not repeated", func(t *testing.T) {
		w := start(t, "profile: none")
		w.fault("{action: AssignPrivateIpAddresses, effect: {lost: true}}")
		if f := w.refused(pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 2}); f.Class != pool.Ambiguous {
			t.Errorf("%s (%v), want outcome unknown", f.Class, f)
		}
		if eni := w.eni(w.id.PrimaryENI); len(eni.Addresses) != 2 {
			t.Errorf("assigned %v, want 2 addresses", eni.Addresses)
		}
	})
	t.Run("attachment is not repeated", func(t *testing.T) {
		w := start(t, "profile: none")
		eni := w.apply(w.create("token", 0)).Created
		w.fault("{action: AttachNetworkInterface, effect: {lost: true}}")
		if f := w.refused(pool.AttachENI{ENI: eni.ID, Device: 1}); f.Class != pool.Ambiguous {
			t.Errorf("%s (%v), want outcome unknown", f.Class, f)
		}
		if got := w.eni(eni.ID); got.Status != pool.Attached || w.attempts("AttachNetworkInterface") != 1 {
			t.Errorf("%+v after %d attempts, want attached after 1", got, w.attempts("AttachNetworkInterface"))
		}
	})
	t.Run("protection and return are repeated", func(t *testing.T) {
		w := start(t, "profile: none")
		eni := w.apply(w.create("token", 1)).Created
		attachment := w.apply(pool.AttachENI{ENI: eni.ID, Device: 1}).AttachmentID
		w.fault("[{action: ModifyNetworkInterfaceAttribute, times: 1, effect: {lost: true}}, {action: UnassignPrivateIpAddresses, times: 1, effect: {reset: true}}]")
		w.apply(pool.ProtectENI{ENI: eni.ID, AttachmentID: attachment})
		w.apply(pool.UnassignAddresses{ENI: eni.ID, Addresses: eni.Addresses})
		if got := w.eni(eni.ID); !got.DeleteOnTermination || len(got.Addresses) != 0 {
			t.Errorf("%+v, want it protected and without addresses", got)
		}
	})
}

// TestNothingSent has calls that never leave the machine: they failed, beyond
// doubt.
func TestNothingSent(t *testing.T) {
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		closed := "http://" + l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		w := start(t, "profile: none", func(s *Settings) { s.Endpoint = closed })
		if f := w.refused(pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 1}); f.Class != pool.Unavailable {
			t.Errorf("%s (%v), want EC2 unavailable", f.Class, f)
		}
	})
	t.Run("no credentials", func(t *testing.T) {
		w := start(t, "profile: none")
		w.fault("{action: '/latest/meta-data/iam/*', effect: {error: {status: 404}}}")
		if f := w.refused(pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 1}); f.Class != pool.Unavailable {
			t.Errorf("%s (%v), want EC2 unavailable", f.Class, f)
		}
		if n := w.attempts("AssignPrivateIpAddresses"); n != 0 {
			t.Errorf("%d requests were sent, want none", n)
		}
	})
	t.Run("refused by the SDK", func(t *testing.T) {
		w := start(t, "profile: none")
		_, err := w.cloud.api.AttachNetworkInterface(t.Context(), &ec2.AttachNetworkInterfaceInput{})
		if class := classify(err, false); class != pool.Refused {
			t.Errorf("%s (%v), want refused", class, err)
		}
	})
}

// TestRecorder is told of every attempt.
func TestRecorder(t *testing.T) {
	w := start(t, "profile: none", func(s *Settings) { s.HTTPTimeout = 700 * time.Millisecond })
	action := w.create("token", 0)
	w.calls.take()
	w.fault(`[{action: CreateNetworkInterface, nth: 1, effect: {throttle: true}},
		{action: CreateNetworkInterface, nth: 2, effect: {lost: true}},
		{action: AssignPrivateIpAddresses, nth: 1, effect: {latency: 1s}},
		{action: AssignPrivateIpAddresses, nth: 2, effect: {truncate: true}},
		{action: AssignPrivateIpAddresses, nth: 3, effect: {html502: true}}]`)
	w.apply(action)
	for range 3 {
		w.refused(pool.AssignAddresses{ENI: w.id.PrimaryENI, Count: 1})
	}
	want := []string{
		"CreateNetworkInterface RequestLimitExceeded", "CreateNetworkInterface NoAnswer", "CreateNetworkInterface",
		"AssignPrivateIpAddresses Timeout", "AssignPrivateIpAddresses BadAnswer", "AssignPrivateIpAddresses UnknownError",
	}
	if diff := cmp.Diff(want, w.calls.take()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestStaleDescription takes an answer without the primary ENI for no answer.
func TestStaleDescription(t *testing.T) {
	w := start(t, "profile: none")
	id := w.id
	id.PrimaryENI = "eni-00000000000000000"
	cloud, err := New(t.Context(), w.cloud.settings, id)
	if err != nil {
		t.Fatal(err)
	}
	enis, err := cloud.Describe(t.Context(), false)
	if f := w.failure(enis, err); f.Class != pool.Unavailable || !strings.Contains(f.Error(), "eni-00000000000000000") {
		t.Errorf("%s (%v), want EC2 unavailable", f.Class, f)
	}
}

// TestClassesAreWorded keeps the table free of classes that no code can have
// by its name alone.
func TestClassesAreWorded(t *testing.T) {
	for code, class := range classes {
		if slices.Contains([]pool.Class{pool.Unavailable, pool.Ambiguous, pool.Refused}, class) {
			t.Errorf("%s is %s: that follows from the call, not from the code", code, class)
		}
	}
}
