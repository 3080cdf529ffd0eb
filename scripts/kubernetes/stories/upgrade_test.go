//go:build cluster

package stories

import (
	"context"
	"strings"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// upgrade rolls the DaemonSet to another version and back, under load and with
// pods that come meanwhile.
func upgrade(s story) {
	const daemonSet = "daemonset/causeway"
	old := s.kubectl("get", "-n", "kube-system", daemonSet, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	image, err := s.cluster.Release(s.ctx, "v2")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		if s.ctx.Err() != nil {
			return // all of the cluster goes
		}
		for _, args := range [][]string{{"set", "image", daemonSet, "*=" + old}, {"rollout", "status", daemonSet, "--timeout=2m"}} {
			if _, err := s.cluster.Kubectl(context.WithoutCancel(s.ctx), append([]string{"-n", "kube-system"}, args...)...); err != nil {
				s.Error(err)
			}
		}
	})
	t := s.traffic()
	for _, roll := range []struct {
		what, version string
		args          []string
	}{
		{"upgrade", "v2", []string{"set", "image", daemonSet, "*=" + image}},
		{"rollback", "v1", []string{"rollout", "undo", daemonSet}},
	} {
		s.kubectl(append([]string{"-n", "kube-system"}, roll.args...)...)
		s.kubectl("create", "deployment", roll.what, "--image="+kubernetes.ProbeImage, "--replicas=12", "--", "vpcsim", "echo")
		s.kubectl("-n", "kube-system", "rollout", "status", daemonSet, "--timeout=3m")
		s.kubectl("rollout", "status", "deployment/"+roll.what, "--timeout=2m")
		for _, n := range s.cluster.Nodes[:2] {
			for _, program := range []string{"/opt/cni/bin/causeway-cni 2>&1", "/proc/" + s.daemonPID(n) + "/exe --version"} {
				if got := s.on(n, "sh", "-c", program); !strings.Contains(got, " "+roll.version) {
					s.Errorf("after the %s, on %s, %s says %q, want %s", roll.what, n.Name, program, got, roll.version)
				}
			}
		}
		t.tell(roll.what)
		s.kubectl("delete", "deployment", roll.what)
	}
}
