package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// tiny is a node that can hold two pods.
const tiny = `
nodes: [{name: n1, subnet: a, type: t3.nano}]
`

// grow are rules for the calls by which a node grows.
func grow(effect string) string {
	return fmt.Sprintf("[{action: AssignPrivateIpAddresses, effect: %[1]s}, {action: CreateNetworkInterface, effect: %[1]s}]", effect)
}

// TestCauses provokes what keeps pods from addresses. Each has its code in the
// CNI error, in an event of the pod, in a metric and in the log.
func TestCauses(t *testing.T) {
	for _, c := range []struct {
		code, topology, faults string
		words                  []string // that the message must have
		pods                   int      // that are added before
		meddle                 func(*story, *harness.Node, []*harness.Pod)
	}{
		{code: "SubnetFull", meddle: func(s *story, _ *harness.Node, _ []*harness.Pod) {
			_, err := s.lab.Control.Take(s.ctx, control.Tenants{Subnet: "a", Addresses: -1})
			s.must(err)
		}, pods: 3, words: []string{"subnet-"}},
		{code: "Throttled", faults: grow("{throttle: true}"), pods: 2},
		{code: "Unauthorized", faults: grow("{error: {status: 403, code: UnauthorizedOperation}}"), pods: 2, words: []string{"operation error EC2"}},
		{code: "EC2Unavailable", faults: grow("{error: {status: 503, code: Unavailable}}"), pods: 2},
		{code: "ENILimit", faults: "[{action: CreateNetworkInterface, effect: {error: {status: 400, code: NetworkInterfaceLimitExceeded}}}]", pods: 3},
		{code: "AddressesComing", faults: grow("{latency: 20s}"), pods: 2},
		{code: "DeviceLate", faults: "[{action: device, effect: {deviceNever: true}}]", pods: 3, words: []string{"eni-", "device 1"}},
		{code: "TooManyPods", topology: tiny, pods: 2, words: []string{"2 pod addresses"}},
		{code: "AddressesCooling", topology: tiny, pods: 2, meddle: func(s *story, _ *harness.Node, pods []*harness.Pod) {
			s.must(pods[0].Del(s.ctx))
		}},
		{code: "StateNotWritten", pods: 1, meddle: func(s *story, node *harness.Node, _ []*harness.Pod) {
			s.shell(node, "mv /run/causeway/book /run/causeway/away")
		}},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			topology := c.topology
			if topology == "" {
				topology = small
			}
			s := raise(t, topology)
			if c.faults != "" && c.pods == 3 {
				s.faults(c.faults)
			}
			node := s.start("n1", "CAUSEWAY_ASSIGN_WAIT=3s")
			pods := s.crowd(node, "pod", c.pods)
			if c.faults != "" && c.pods != 3 {
				s.faults(c.faults)
			}
			if c.meddle != nil {
				c.meddle(s, node, pods)
			}
			s.told(node, c.code, c.words)
		})
	}
}

// TestCausesOfTheStart has those of a daemon that does not know its node yet.
func TestCausesOfTheStart(t *testing.T) {
	for _, c := range []struct{ code, faults, word string }{
		{"IMDSLate", outage, "metadata service"},
		{"Starting", "{action: DescribeNetworkInterfaces, effect: {latency: 30s}}", "EC2"},
	} {
		t.Run(c.code, func(t *testing.T) {
			t.Parallel()
			s := raise(t, small)
			s.faults(c.faults)
			node := s.lab.Node("n1")
			_, err := node.StartIpamd("CAUSEWAY_ASSIGN_WAIT=3s")
			s.must(err)
			s.within(10*time.Second, func() error {
				_, err := node.Exec(s.ctx, "test", "-S", "/run/causeway/ipamd.sock")
				return err
			})
			s.told(node, c.code, []string{c.word})
		})
	}
}

// TestCausesOfHostPorts refuses a host port that another pod has.
func TestCausesOfHostPorts(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	web := harness.HostPort{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"}
	_, err := node.AddPod(s.ctx, "web", web)
	s.must(err)
	s.told(node, "HostPortTaken", []string{"8080", "default/web"}, web)
}

// TestCausesOfRequests refuses a host port where services, and with them host
// ports, are another's.
func TestCausesOfRequests(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1", "PROXY_MODE=off")
	s.told(node, "InvalidRequest", []string{"port"}, harness.HostPort{HostPort: 8080, ContainerPort: 80, Protocol: "tcp"})
}

// TestMaxPods tells the Node that kubelet takes more pods than there can be
// addresses.
func TestMaxPods(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	s.start("n1")
	_, err := s.lab.Control.Apply(s.ctx, control.Object{
		"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": "n1"},
		"status": map[string]any{"capacity": map[string]any{"pods": "110"}},
	})
	s.must(err)
	s.within(10*time.Second, func() error { return s.event("Node", "n1", "TooManyPods") })
}

// told adds pods until one is refused, and looks for the cause everywhere.
func (s *story) told(node *harness.Node, code string, words []string, ports ...harness.HostPort) {
	s.Helper()
	name := ""
	var refusal *types.Error
	for i := 0; refusal == nil; i++ {
		if i == 4 {
			s.Fatalf("%d pods were added, and none refused", i)
		}
		name = strings.ToLower(fmt.Sprintf("%s%d", code, i))
		s.scheduled(node, name)
		pod, err := node.NewSandbox(s.ctx, name)
		s.must(err)
		pod.HostPorts = ports
		ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
		if err := pod.Add(ctx); err != nil && !errors.As(err, &refusal) {
			s.Fatal(err)
		}
		cancel()
	}
	for _, word := range append(words, "default/"+name) {
		if refusal.Details != code || !strings.Contains(refusal.Msg, word) {
			s.Errorf("CNI error: %s (%s), want %s and %q", refusal.Msg, refusal.Details, code, word)
		}
	}
	log, err := os.ReadFile(node.Daemon().Log)
	s.must(err)
	if !containsLine(string(log), []string{"level=WARN", "pod=default/" + name, "code=" + code}) {
		s.Errorf("no line of the log has %s", code)
	}
	metric := fmt.Sprintf("causeway_causes_total{code=%q}", code)
	if text, err := s.metrics(node); err != nil || !strings.Contains(text, metric) {
		s.Errorf("no metric %s: %v", metric, err)
	}
	s.within(10*time.Second, func() error { return s.event("Pod", name, code) })
}

// scheduled makes the API know a pod, as of a node.
func (s *story) scheduled(node *harness.Node, name string) {
	s.Helper()
	_, err := s.lab.Control.Apply(s.ctx, control.Object{
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": name, "namespace": "default"},
		"spec": map[string]any{"nodeName": node.Name, "containers": []any{map[string]any{"name": "c", "image": "pause"}}},
	})
	s.must(err)
}

// event looks for an event of an object.
func (s *story) event(kind, name, reason string) error {
	events, err := s.lab.Control.Objects(s.ctx, "events")
	if err != nil {
		return err
	}
	for _, e := range events {
		about, _ := e["involvedObject"].(map[string]any)
		if about["kind"] == kind && about["name"] == name && e["reason"] == reason && (kind != "Pod" || about["uid"] != nil && about["uid"] != "") {
			return nil
		}
	}
	return fmt.Errorf("no event %s of %s %s among %d: %v", reason, kind, name, len(events), events)
}

// TestScheduledPods has addresses for pods before they ask.
func TestScheduledPods(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	s.holds(node, 1, 0, 2)
	for i := range 5 {
		s.scheduled(node, fmt.Sprintf("pod%d", i+1))
	}
	s.holds(node, 3, 0, 7)
	s.reach(s.crowd(node, "pod", 5)...)
	s.holds(node, 3, 0, 7)
}
