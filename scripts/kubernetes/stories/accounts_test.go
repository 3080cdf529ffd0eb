//go:build cluster

package stories

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// stateURL is where the daemon tells operators what it holds, on its node.
const stateURL = "http://127.0.0.1:61678/state"

// accounts are settled when all stories are told and their namespaces are gone:
// each daemon holds the addresses of the pods that its node runs and no other,
// and finds its book, EC2 and the kernel to agree. No ENI is left without a node.
func accounts(s story) {
	s.eventuallyWithin(3*time.Minute, "the stories' namespaces go", func() error {
		left := strings.Fields(s.kubectl("get", "namespaces", "-o", "jsonpath={.items[*].metadata.name}"))
		left = slices.DeleteFunc(left, func(space string) bool {
			return space == s.space || space == "default" || strings.HasPrefix(space, "kube-")
		})
		if len(left) > 0 {
			return fmt.Errorf("%q are left", left)
		}
		return nil
	})
	for _, n := range s.nodes() {
		s.eventually("the accounts of "+n.Name, func() error { return s.settled(n) })
	}
	s.eventually("ENIs without a node", func() error {
		status, err := s.cluster.Control.Status(s.ctx)
		if err == nil && len(status.Detached) > 0 {
			err = fmt.Errorf("%v are left", status.Detached)
		}
		return err
	})
}

// nodes are those that the API has.
func (s story) nodes() []*kubernetes.Node {
	s.Helper()
	names := strings.Fields(s.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"))
	return slices.DeleteFunc(slices.Clone(s.cluster.Nodes), func(n *kubernetes.Node) bool { return !slices.Contains(names, n.Name) })
}

// settled compares what a daemon holds with the pods of its node.
func (s story) settled(n *kubernetes.Node) error {
	var state struct {
		Assignments []struct {
			Pod     struct{ Namespace, Name string }
			Address netip.Addr
		}
		Differences []string
	}
	if err := s.read(n, stateURL, &state); err != nil {
		return err
	}
	var pods struct {
		Items []struct {
			Metadata struct{ Namespace, Name string }
			Spec     struct{ HostNetwork bool }
			Status   struct{ Phase, PodIP string }
		}
	}
	out, err := s.cluster.Kubectl(s.ctx, "get", "pods", "-A", "--field-selector", "spec.nodeName="+n.Name, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &pods)
	}
	if err != nil {
		return err
	}
	var held, want []string
	for _, a := range state.Assignments {
		held = append(held, fmt.Sprintf("%s/%s %s", a.Pod.Namespace, a.Pod.Name, a.Address))
	}
	for _, p := range pods.Items {
		if !p.Spec.HostNetwork && p.Status.Phase == "Running" {
			want = append(want, fmt.Sprintf("%s/%s %s", p.Metadata.Namespace, p.Metadata.Name, p.Status.PodIP))
		}
	}
	slices.Sort(held)
	slices.Sort(want)
	if !slices.Equal(held, want) || len(state.Differences) > 0 {
		return fmt.Errorf("the daemon holds %q, the node runs %q; book, EC2 and kernel differ in %q", held, want, state.Differences)
	}
	return nil
}

// read asks for JSON from within a node.
func (s story) read(n *kubernetes.Node, url string, into any) error {
	file, err := n.Netns(n.Addr)
	if err != nil {
		return err
	}
	defer file.Close()
	client := http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{DialContext: cluster.DialIn(fmt.Sprintf("/proc/self/fd/%d", file.Fd())), DisableKeepAlives: true},
	}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(into)
}
