//go:build cluster

package stories

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// podTimes is when a pod was created, had its network, and was ready.
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

// forcedDelete deletes pods by force; those in their place serve.
func forcedDelete(s story) {
	s.web(4)
	s.client("client", "")
	s.kubectl("delete", "pods", "-l", "app=web", "--force", "--grace-period=0")
	s.rollout()
	s.probe("client", "tcp", "web:80", "--count", "50", "--fail-fast")
}
