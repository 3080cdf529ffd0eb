//go:build cluster

package stories

import (
	"fmt"
	"strings"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

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
	pod := s.kubectl("get", "events", "--field-selector", "reason=FailedCreatePodSandBox", "-o", "jsonpath={.items[0].involvedObject.name}")
	if out := s.kubectl("describe", "pod", pod); !strings.Contains(out, "subnet") {
		s.Errorf("kubectl describe does not say why the pod has no address:\n%s", out)
	}
	for _, subnet := range []string{"a", "b"} {
		if _, err := s.cluster.Control.Give(s.ctx, subnet, -1); err != nil {
			s.Fatal(err)
		}
	}
	s.kubectl("rollout", "status", "deployment/many", "--timeout=3m")
}
