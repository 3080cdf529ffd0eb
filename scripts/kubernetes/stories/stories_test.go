//go:build cluster

package stories

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// services are reached by their names and by every kind of address, from a pod
// and from a host's network, DNS asked over UDP and over TCP.
func services(s story) {
	s.web(2)
	s.client("client", "")
	s.client("over-tcp", "  dnsConfig: {options: [{name: use-vc}]}\n")
	s.client("on-host", "  hostNetwork: true\n  dnsPolicy: ClusterFirstWithHostNet\n")
	s.apply(`apiVersion: v1
kind: Service
metadata: {name: headless, namespace: %[1]s}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: %[1]s}
spec: {type: ExternalName, externalName: web.%[1]s.svc.cluster.local}
`, s.space)
	ports := strings.Fields(s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.ports[*].nodePort}"))
	for _, pod := range []string{"client", "over-tcp", "on-host"} {
		s.probe(pod, "tcp", "web:80", "--count", "10")
		s.probe(pod, "udp", "web:80", "--count", "10")
		for _, name := range []string{"headless", "alias"} {
			s.eventually(name+" from "+pod, func() error {
				_, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "exec", pod, "--", "vpcsim", "probe", "tcp", name+":80")
				return err
			})
		}
		for _, n := range s.cluster.Nodes[:2] {
			s.probe(pod, "tcp", n.Addr.String()+":"+ports[0])
			s.probe(pod, "udp", n.Addr.String()+":"+ports[1])
		}
	}
}

// tools are what users have kubectl for.
func tools(s story) {
	s.web(1)
	s.eventually("logs", func() error {
		_, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "logs", "deployment/web")
		return err
	})
	if got := s.kubectl("exec", "deployment/web", "--", "vpcsim", "probe", "http", "127.0.0.1:80"); !strings.Contains(got, "127.0.0.1") {
		s.Errorf("kubectl exec says %q; want an answer of 127.0.0.1", got)
	}
	cmd := exec.CommandContext(s.ctx, s.cluster.KubectlPath(), "--kubeconfig", s.cluster.Kubeconfig(), "-n", s.space, "port-forward", "deployment/web", ":80", "--address", "127.0.0.1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var port int
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, err2 := fmt.Sscanf(line, "Forwarding from 127.0.0.1:%d", &port); err != nil || err2 != nil {
		s.Fatalf("kubectl port-forward says %q: %v, %v", line, err, err2)
	}
	answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		s.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(text), `"host":"web-`) {
		s.Errorf("through kubectl port-forward: %q, %v; want the answer of a web pod", text, err)
	}
}

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
	s.Logf("100 pods ready on 2 nodes after %.1fs", time.Since(start).Seconds())
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
	slices.Sort(took)
	if len(took) != 100 {
		s.Fatalf("%d pods are ready, want 100", len(took))
	}
	s.Logf("from created to ready: p50 %s, p99 %s", took[50], took[98])
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
	s.Logf("98 pods gone after %.1fs", time.Since(start).Seconds())
	s.probe("client", "tcp", "web:80", "--count", "20", "--fail-fast")
}

// noAddress takes all addresses of both subnets away; a pod that gets none says
// why in its events, and runs when there are some again.
func noAddress(s story) {
	for _, subnet := range []string{"a", "b"} {
		if _, err := s.cluster.Control.Take(s.ctx, control.Tenants{Subnet: subnet, Addresses: -1}); err != nil {
			s.Fatal(err)
		}
	}
	s.kubectl("create", "deployment", "many", "--image="+kubernetes.ProbeImage, "--replicas=90", "--", "vpcsim", "echo")
	s.eventually("an event that says why", func() error {
		out := s.kubectl("get", "events", "--field-selector", "reason=FailedCreatePodSandBox", "-o", "jsonpath={range .items[*]}{.message}{'\\n'}{end}")
		if !strings.Contains(out, "subnet") || !strings.Contains(out, "address") {
			return fmt.Errorf("events: %s", out)
		}
		s.Log(strings.SplitN(out, "\n", 2)[0])
		return nil
	})
	for _, subnet := range []string{"a", "b"} {
		if _, err := s.cluster.Control.Give(s.ctx, subnet, -1); err != nil {
			s.Fatal(err)
		}
	}
	s.kubectl("rollout", "status", "deployment/many", "--timeout=3m")
}

// forcedDelete deletes pods by force; those in their place serve.
func forcedDelete(s story) {
	s.web(4)
	s.client("client", "")
	s.kubectl("delete", "pods", "-l", "app=web", "--force", "--grace-period=0")
	s.rollout()
	s.probe("client", "tcp", "web:80", "--count", "50", "--fail-fast")
}
