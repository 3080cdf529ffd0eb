package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// metrics are those of a node's daemon, one a line.
func (s *story) metrics(node *harness.Node) (string, error) {
	const get = `exec 3<>/dev/tcp/127.0.0.1/61678; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3`
	return node.Exec(s.ctx, "bash", "-c", get)
}

// shows waits until the metrics of a node have these samples.
func (s *story) shows(node *harness.Node, limit time.Duration, samples ...string) {
	s.Helper()
	s.within(limit, func() error {
		text, err := s.metrics(node)
		for _, sample := range samples {
			if err == nil && !containsLine(text, []string{sample}) {
				err = fmt.Errorf("the metrics have no %s", sample)
			}
		}
		return err
	})
}

// calls is how many requests of the EC2 API were made.
func (s *story) calls() int {
	s.Helper()
	counts, err := s.lab.Control.Calls(s.ctx)
	s.must(err)
	n := 0
	for _, c := range counts {
		if c.Service == "ec2" {
			n += c.Calls
		}
	}
	return n
}

// TestSwitches keeps what a node has, and then keeps it from calling EC2, while
// the daemon runs. A value that is none changes nothing.
func TestSwitches(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	dir := filepath.Join(s.dir, "switches")
	s.must(os.Mkdir(dir, 0o700))
	turn := func(name, value string) {
		s.Helper()
		s.must(os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600))
	}
	turn("stop-releasing", "true")
	node := s.start("n1", "CAUSEWAY_SWITCHES="+dir, "CAUSEWAY_RELEASE_AFTER=1s", "IP_COOLDOWN_PERIOD=1", "WARM_IP_TARGET=1", "CAUSEWAY_ASSIGN_WAIT=2s")
	pods := s.crowd(node, "pod", 4)
	s.holds(node, 2, 0, 5)
	for _, p := range pods[1:] {
		s.must(p.Del(s.ctx))
	}
	turn("stop-calling-ec2", "perhaps")
	s.within(10*time.Second, func() error {
		text, err := os.ReadFile(node.Daemon().Log)
		if err == nil && !strings.Contains(string(text), "perhaps") {
			err = fmt.Errorf("the log does not name the bad value")
		}
		return err
	})
	s.shows(node, 10*time.Second, `causeway_switch_on{switch="stop-releasing"} 1`, `causeway_switch_on{switch="stop-calling-ec2"} 0`)
	s.holds(node, 2, 0, 5) // the cool-down and the delay of releases are over

	turn("stop-calling-ec2", "true")
	s.shows(node, 10*time.Second, `causeway_switch_on{switch="stop-calling-ec2"} 1`)
	before := s.calls()
	s.reach(append(s.crowd(node, "free", 4), pods[0])...) // all that there is
	if refusal := s.refused(node, "more"); !strings.Contains(refusal.Msg, "stop-calling-ec2") {
		t.Errorf("ADD: %q, want the switch to be named", refusal.Msg)
	}
	if after := s.calls(); after != before {
		t.Errorf("%d calls of EC2 with the switch on", after-before)
	}

	s.must(os.RemoveAll(dir))
	s.shows(node, 10*time.Second, `causeway_switch_on{switch="stop-calling-ec2"} 0`)
	s.shows(node, time.Minute, "awscni_total_ip_addresses 6") // one to spare
	s.must(pods[0].Del(s.ctx))
	s.shows(node, time.Minute, "awscni_total_ip_addresses 5")
}

// leave creates an ENI as the agent of an instance does, and attaches it to
// nothing.
func (s *story) leave(api *ec2.Client, instance, cluster string, created time.Time) string {
	s.Helper()
	all, err := s.lab.Control.Status(s.ctx)
	s.must(err)
	made, err := api.CreateNetworkInterface(s.ctx, &ec2.CreateNetworkInterfaceInput{
		SubnetId: aws.String(all.Subnets[0].ID), Description: aws.String("aws-K8S-" + instance),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeNetworkInterface, Tags: []types.Tag{
			{Key: aws.String("node.k8s.amazonaws.com/instance_id"), Value: aws.String(instance)},
			{Key: aws.String("cluster.k8s.amazonaws.com/name"), Value: aws.String(cluster)},
			{Key: aws.String("node.k8s.amazonaws.com/createdAt"), Value: aws.String(created.UTC().Format(time.RFC3339))},
		}}},
	})
	s.must(err)
	return aws.ToString(made.NetworkInterface.NetworkInterfaceId)
}

// unattached waits until these ENIs, and no others, are attached to nothing.
func (s *story) unattached(want ...string) {
	s.Helper()
	slices.Sort(want)
	s.within(20*time.Second, func() error {
		status, err := s.lab.Control.Status(s.ctx)
		var got []string
		for _, e := range status.Detached {
			got = append(got, e.ID)
		}
		slices.Sort(got)
		if err == nil && !slices.Equal(want, got) {
			err = fmt.Errorf("%q are attached to nothing, want %q", got, want)
		}
		return err
	})
}

// TestSweep ends a node between the creation of an ENI and its attachment.
// Another node of the cluster deletes the ENI when it is old enough, and touches
// neither another cluster's nor one of a node that lives.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := raise(t, `
nodes: [{name: n1, subnet: a, type: t3.small}, {name: n2, subnet: a, type: t3.small}, {name: n3, subnet: a, type: t3.small}]
`)
	dying := s.start("n2", "CLUSTER_NAME=story")
	s.faults(`{action: AttachNetworkInterface, effect: {error: {code: InternalError}}}`)
	s.add(dying, "pod1").StopServing()
	s.add(dying, "pod2").StopServing()
	var leaked string
	s.within(20*time.Second, func() error {
		status, err := s.lab.Control.Status(s.ctx)
		if err == nil && len(status.Detached) != 1 {
			return fmt.Errorf("%d ENIs are attached to nothing, want 1", len(status.Detached))
		}
		leaked = status.Detached[0].ID
		return err
	})
	dead, err := dying.Status(s.ctx)
	s.must(err)
	s.must(dying.Daemon().Kill())
	s.must(s.lab.Control.Terminate(s.ctx, "n2"))
	s.must(s.lab.Control.ClearFaults(s.ctx))

	node := s.lab.Node("n1")
	api, err := node.EC2(s.ctx)
	s.must(err)
	living, err := s.lab.Node("n3").Status(s.ctx)
	s.must(err)
	yesterday := time.Now().Add(-24 * time.Hour)
	others := s.leave(api, dead.InstanceID, "other", yesterday)
	onItsWay := s.leave(api, living.InstanceID, "story", yesterday)
	old := s.leave(api, dead.InstanceID, "story", yesterday)
	s.unattached(leaked, others, onItsWay, old)

	s.start("n1", "CLUSTER_NAME=story", "CAUSEWAY_SWEEP_EVERY=1s")
	s.unattached(leaked, others, onItsWay) // the leaked one is too young
	_, err = api.CreateTags(s.ctx, &ec2.CreateTagsInput{Resources: []string{leaked}, Tags: []types.Tag{
		{Key: aws.String("node.k8s.amazonaws.com/createdAt"), Value: aws.String(yesterday.UTC().Format(time.RFC3339))}}})
	s.must(err)
	s.unattached(others, onItsWay)
	s.shows(node, 10*time.Second, "causeway_swept_enis_total 2")
}

// TestStrangeAddress assigns an address to the node's ENI by hand, and gives the
// node itself one that is free: no pod gets either, and both are told of.
func TestStrangeAddress(t *testing.T) {
	t.Parallel()
	s := raise(t, roomy)
	env := []string{"MAX_ENI=1", "CAUSEWAY_RELEASE_AFTER=1s", "WARM_IP_TARGET=3"}
	node := s.start("n1", env...)
	s.holds(node, 1, 0, 3)
	self, err := node.Status(s.ctx)
	s.must(err)
	used := self.Interfaces[0].Addresses[1]
	s.shell(node, fmt.Sprintf("ip addr add %s/32 dev lo", used))
	strange := s.assignByHand(node, 1)[0]
	s.restart(node, env...)
	s.shows(node, 40*time.Second, "causeway_quarantined_ip_addresses 1",
		`causeway_differences{kind="address-unknown"} 1`, `causeway_differences{kind="address-in-use"} 1`,
		`causeway_differences_total{kind="address-unknown"} 1`)
	pods := s.crowd(node, "pod", 7) // of the 9 addresses that the ENI can have
	for _, p := range pods {
		if p.IP == strange || p.IP == used {
			t.Errorf("%s has %s, which is not free", p.Name, p.IP)
		}
	}
	s.reach(pods...)

	s.shell(node, fmt.Sprintf("ip addr del %s/32 dev lo", used))
	s.shows(node, 40*time.Second, `causeway_differences{kind="address-in-use"} 0`)
	if last := s.add(node, "last"); last.IP != used {
		t.Errorf("the last pod has %s, want %s", last.IP, used)
	}
	s.holds(node, 1, 0, 9)
}

// TestGoneSandbox ends a pod's network namespace, and no DEL comes: its address
// is taken back. A DEL that comes after all finds nothing to do.
func TestGoneSandbox(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	pods := s.crowd(node, "pod", 2)
	gone := pods[0]
	gone.StopServing()
	s.must(gone.Remove(s.ctx))
	s.within(40*time.Second, func() error {
		if e := s.book(node)[gone.IP.String()]; e.State != "cooling" {
			return fmt.Errorf("%s is %q, want cooling", gone.IP, e.State)
		}
		return nil
	})
	s.shows(node, 10*time.Second, "awscni_assigned_ip_addresses 1", `awscni_del_ip_req_count{reason="sandbox gone"} 1`)
	if left := s.traces(node, gone.IP.String()); len(left) > 0 {
		t.Errorf("left of the pod:\n%s", strings.Join(left, "\n"))
	}
	s.must(gone.Del(s.ctx))
	s.reach(pods[1])
}
