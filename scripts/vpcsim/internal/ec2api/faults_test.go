package ec2api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// inBubble runs a test where time moves only when all wait.
func inBubble(t *testing.T, topology string, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(start(t, topology)) })
}

func seconds(n int) span.Duration { return span.Duration(n) * span.Duration(time.Second) }

// attempts counts the requests of an action that reached the server.
func (w *world) attempts(action string) int {
	w.Helper()
	n := 0
	for _, r := range must(w.sim.Control().Requests(w.ctx))(w) {
		if r.Action == action {
			n++
		}
	}
	return n
}

// TestSDKRetries holds that injected failures look to the SDK's standard
// retryer as the real ones do.
func TestSDKRetries(t *testing.T) {
	tests := []struct {
		name     string
		effect   control.Effect
		attempts int
	}{
		{"throttle", control.Effect{Throttle: true}, 3},
		{"throttle with 400", control.Effect{Error: &control.Error{Code: "RequestLimitExceeded", Status: 400}}, 3},
		{"prefixed code with 400", control.Effect{Error: &control.Error{Code: "Client.RequestLimitExceeded", Status: 400}}, 1},
		{"internal error", control.Effect{Error: &control.Error{Code: "InternalError"}}, 3},
		{"unavailable", control.Effect{Error: &control.Error{Code: "Unavailable"}}, 3},
		{"html 502", control.Effect{HTML502: true}, 3},
		{"reset", control.Effect{Reset: true}, 3},
		{"lost", control.Effect{Lost: true}, 3},
		{"unauthorized", control.Effect{Error: &control.Error{Code: "UnauthorizedOperation"}}, 1},
		{"exhausted", control.Effect{Error: &control.Error{Code: "InsufficientFreeAddressesInSubnet"}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, "profile: none", func(w *world) {
				w.fault(control.Rule{Action: "DescribeVpcs", Effect: tt.effect})
				_, err := w.client("n1").DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{})
				if err == nil || w.attempts("DescribeVpcs") != tt.attempts {
					t.Errorf("%d attempts, want %d: %v", w.attempts("DescribeVpcs"), tt.attempts, err)
				}
			})
		})
	}
}

// enis counts the interfaces that exist.
func (w *world) enis() int {
	w.Helper()
	s := must(w.sim.Control().Status(w.ctx))(w)
	n := len(s.Detached)
	for _, node := range s.Nodes {
		n += len(node.Interfaces)
	}
	return n
}

// TestLostAnswers holds what the SDK's own retry makes of answers that were
// lost: Create is protected by its token, Assign assigns twice, Attach fails.
func TestLostAnswers(t *testing.T) {
	inBubble(t, "profile: none", func(w *world) {
		sdk, before := w.client("n1"), w.enis()
		w.fault(control.Rule{Action: "*NetworkInterface", Every: 2, Effect: control.Effect{Lost: true}})
		w.fault(control.Rule{Action: "AssignPrivateIpAddresses", Nth: 1, Effect: control.Effect{Lost: true}})
		w.fault(control.Rule{Action: "CreateNetworkInterface", Nth: 1, Effect: control.Effect{Lost: true}})
		eni := must(sdk.CreateNetworkInterface(w.ctx, &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(w.subnet("a"))}))(w).NetworkInterface
		if made := w.enis() - before; made != 1 {
			t.Errorf("%d ENIs made by a retried create", made)
		}
		must(sdk.AssignPrivateIpAddresses(w.ctx, &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: eni.NetworkInterfaceId, SecondaryPrivateIpAddressCount: aws.Int32(1)}))(w)
		if n := len(w.see(eni.NetworkInterfaceId).PrivateIpAddresses); n != 3 {
			t.Errorf("%d addresses after a retried assign of one, want the primary and two", n)
		}
	})
	inBubble(t, "profile: none", func(w *world) {
		eni := w.create()
		w.fault(control.Rule{Action: "AttachNetworkInterface", Nth: 1, Effect: control.Effect{Lost: true}})
		_, err := w.client("n1").AttachNetworkInterface(w.ctx, &ec2.AttachNetworkInterfaceInput{
			NetworkInterfaceId: eni.NetworkInterfaceId, InstanceId: aws.String(w.sim.Instance("n1")), DeviceIndex: aws.Int32(1),
		})
		w.refused(err, "InvalidNetworkInterface.InUse", 400, "Interface: ["+*eni.NetworkInterfaceId+"] in use.")
	})
}

func TestLatencyAndHang(t *testing.T) {
	inBubble(t, "profile: none", func(w *world) {
		w.fault(control.Rule{Action: "DescribeVpcs", Effect: control.Effect{Latency: seconds(60)}})
		began := time.Now()
		must(w.ec2.DescribeVpcs(w.ctx, &ec2.DescribeVpcsInput{}))(w)
		if took := time.Since(began); took != time.Minute {
			t.Errorf("took %v", took)
		}
		ctx, cancel := context.WithTimeout(w.ctx, time.Second)
		defer cancel()
		if _, err := w.ec2.DescribeVpcs(ctx, &ec2.DescribeVpcsInput{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a hanging call ended with %v", err)
		}
	})
}

// TestThrottling empties the real buckets through the SDK.
func TestThrottling(t *testing.T) {
	inBubble(t, "profile: none", func(w *world) {
		keep := *w.create().NetworkInterfaceId
		time.Sleep(time.Minute)
		drain := func(call func() error) int {
			for n := range 200 {
				if err := call(); err != nil {
					w.refused(err, "RequestLimitExceeded", 503, "Request limit exceeded.")
					return n
				}
			}
			return 200
		}
		all := drain(func() error {
			_, err := w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{})
			return err
		})
		paged := drain(func() error {
			_, err := w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{MaxResults: aws.Int32(5)})
			return err
		})
		tagged := drain(func() error {
			_, err := w.ec2.CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{keep}, Tags: tags("a", "b")})
			return err
		})
		if diff := cmp.Diff([]int{50, 100, 100}, []int{all, paged, tagged}); diff != "" {
			t.Errorf("bursts of unfiltered and paged describes and of tags (-want +got)\n%s", diff)
		}
		// The standard retryer waits for the bucket to refill.
		_, err := w.client("n2").CreateTags(w.ctx, &ec2.CreateTagsInput{Resources: []string{keep}, Tags: tags("a", "b")})
		w.ok(err)
	})
}

func TestCallTimes(t *testing.T) {
	inBubble(t, "{profile: none, delays: {create: 200ms, attachCall: 500ms, assign: 300ms}}", func(w *world) {
		took := func(call func()) time.Duration {
			began := time.Now()
			call()
			return time.Since(began)
		}
		id := w.primary().NetworkInterfaceId
		got := []time.Duration{
			took(func() { w.create() }),
			took(func() { w.primary() }),
			took(func() {
				must(w.ec2.AssignPrivateIpAddresses(w.ctx, &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: id, SecondaryPrivateIpAddressCount: aws.Int32(1)}))(w)
			}),
		}
		want := []time.Duration{200 * time.Millisecond, 0, 300 * time.Millisecond}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("create, describe, assign (-want +got)\n%s", diff)
		}
	})
}

// TestActionsAreNamed holds that rules can name every action there is.
func TestActionsAreNamed(t *testing.T) {
	w := start(t, "profile: none")
	for _, action := range fault.Actions() {
		if _, body := w.raw("POST", "Action="+action+"&Colour=red"); strings.Contains(body, "InvalidAction") {
			t.Errorf("a rule can name %s, which is not served", action)
		}
	}
}
