//go:build cluster

package stories

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// podTimes is when a pod was created, and was ready.
type podTimes struct {
	Metadata struct{ CreationTimestamp time.Time }
	Status   struct {
		Conditions []struct {
			Type, Status       string
			LastTransitionTime time.Time
		}
	}
}

// scale goes to 50 pods on each of two nodes and back, with a client at work.
func scale(s story) {
	s.web(2)
	s.client("client", "")
	s.idle()
	defer s.footprint("100 pods up and down")()
	before := s.shares()
	start := time.Now()
	s.kubectl("scale", "deployment/web", "--replicas=100")
	s.rollout()
	s.number("100 pods on 2 nodes: all ready after, s", math.Round(time.Since(start).Seconds()*10)/10, "")
	var pods struct{ Items []podTimes }
	if err := json.Unmarshal([]byte(s.kubectl("get", "pods", "-l", "app=web", "-o", "json")), &pods); err != nil {
		s.Fatal(err)
	}
	var took []time.Duration // in whole seconds, as the API has times
	for _, p := range pods.Items {
		for _, c := range p.Status.Conditions {
			if c.Type == "Ready" && c.Status == "True" {
				took = append(took, c.LastTransitionTime.Sub(p.Metadata.CreationTimestamp))
			}
		}
	}
	if len(took) != 100 {
		s.Fatalf("%d pods are ready, want 100", len(took))
	}
	s.times("pod created to ready", took, "whole seconds, as the API has them")
	for i, after := range s.shares() {
		s.bounds(shares[i].what, after.plus(before[i], -1), shares[i].remark)
	}
	s.probe("client", "tcp", "web:80", "--count", "200", "--fail-fast")
	start = time.Now()
	s.kubectl("scale", "deployment/web", "--replicas=2")
	s.kubectl("wait", "--for=jsonpath={.status.replicas}=2", "deployment/web", "--timeout=2m")
	s.eventually("98 pods go", func() error {
		out, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "get", "pods", "-l", "app=web", "-o", "name")
		if n := len(strings.Fields(out)); err != nil || n != 2 {
			return fmt.Errorf("%d pods are left: %w", n, err)
		}
		return nil
	})
	s.number("98 pods gone after, s", math.Round(time.Since(start).Seconds()*10)/10, "")
	s.probe("client", "tcp", "web:80", "--count", "20", "--fail-fast")
}

// shares are parts of a pod's start; the network is within the sandbox, and the
// daemon's answer within the network.
var shares = []struct {
	what, remark string
	metrics      func(story, *kubernetes.Node) string
	name, label  string
}{
	{"pod created to running", "from its time stamp, in whole seconds, to what kubelet sees of the API", story.kubeletMetrics, "kubelet_pod_start_sli_duration_seconds", ""},
	{"sandbox", "kubelet calls containerd, with the network", story.kubeletMetrics, "kubelet_run_podsandbox_duration_seconds", ""},
	{"network ready after CNI call", "containerd calls the plugins", fromContainerd, "containerd_cri_network_plugin_operations_duration_seconds_seconds", `operation_type="set_up_pod"`},
	{"daemon's answer to the plugin", "of the time of the CNI call", fromDaemon, "causeway_request_duration_seconds", `verb="ADD"`},
	{"container created", "kubelet calls containerd", story.kubeletMetrics, kubeletCalls, `operation_type="create_container"`},
	{"container started", "kubelet calls containerd", story.kubeletMetrics, kubeletCalls, `operation_type="start_container"`},
}

const kubeletCalls = "kubelet_runtime_operations_duration_seconds"

func fromContainerd(s story, n *kubernetes.Node) string { return s.scrape(n, containerdMetrics) }

func fromDaemon(s story, n *kubernetes.Node) string { return s.scrape(n, daemonMetrics) }

// shares reads them as observed by now, on both nodes together.
func (s story) shares() []histogram {
	s.Helper()
	all := make([]histogram, len(shares))
	for i, share := range shares {
		for _, n := range s.cluster.Nodes[:2] {
			all[i] = observed(share.metrics(s, n), share.name, share.label).plus(all[i], 1)
		}
	}
	return all
}
