//go:build cluster

package stories

import (
	"context"
	"fmt"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// joinAndDrain lets a node join, get pods, and go with its instance, and another
// after it. The load on the nodes that stay sees nothing of it.
func joinAndDrain(s story) {
	t := s.traffic()
	for i, node := range s.cluster.Nodes[2:4] {
		gone := false
		s.Cleanup(func() {
			if !gone && s.ctx.Err() == nil {
				_, _ = s.cluster.Kubectl(context.WithoutCancel(s.ctx), "delete", "node", node.Name, "--ignore-not-found")
				_ = node.Terminate(context.WithoutCancel(s.ctx)) // it may not have started
			}
		})
		if err := node.Join(s.ctx); err != nil {
			s.Fatal(err)
		}
		name := fmt.Sprint("more-", i)
		s.apply(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s, namespace: %[2]s}
spec:
  replicas: 12
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, nodeTaintsPolicy: Honor, labelSelector: {matchLabels: {app: %[1]s}}}
      containers: [{name: echo, image: %[3]s, args: [echo, --listen, ":80"], readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}}]
`, name, s.space, kubernetes.ProbeImage)
		s.kubectl("rollout", "status", "deployment/"+name, "--timeout=2m")
		s.client("guest", "  nodeName: "+node.Name+"\n")
		s.probe("guest", "tcp", "web:80", "--count", "20", "--fail-fast")
		t.tell(fmt.Sprintf("node %d joins", i+3))
		s.kubectl("drain", node.Name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=1m")
		s.kubectl("delete", "node", node.Name)
		if err := node.Terminate(s.ctx); err != nil {
			s.Fatal(err)
		}
		gone = true
		s.eventually("the ENIs of "+node.Name+" go", func() error {
			status, err := s.cluster.Control.Status(s.ctx)
			if err != nil {
				return err
			}
			enis, err := node.Interfaces(s.ctx)
			if err != nil || len(enis)+len(status.Detached) > 0 {
				return fmt.Errorf("it has %v, detached are %v: %w", enis, status.Detached, err)
			}
			return nil
		})
		s.kubectl("rollout", "status", "deployment/"+name, "--timeout=2m")
		t.tell(fmt.Sprintf("node %d drained and terminated", i+3))
		s.kubectl("delete", "deployment", name)
	}
	s.kubectl("-n", "kube-system", "rollout", "status", "daemonset/causeway", "--timeout=2m")
}
