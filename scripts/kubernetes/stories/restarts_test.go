//go:build cluster

package stories

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/causeway-cni/causeway/scripts/cluster"
	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// restarts ends and kills each of the programs that a node has, under load. No
// connection fails, the pods that were there serve on, and new ones come up.
func restarts(s story) {
	node := s.cluster.Nodes[0]
	s.Cleanup(func() { s.revive(node) })
	t := s.traffic()
	for i, event := range []struct {
		name   string
		happen func()
	}{
		{"ipamd ended", func() { s.replaceDaemon(node, func() { s.kubectl(append([]string{"delete"}, daemonPod(node)...)...) }) }},
		{"ipamd killed", func() {
			s.replaceDaemon(node, func() { s.on(node, "sh", "-c", "kill -9 "+s.daemonPID(node)) })
		}},
		{"kubelet ended", func() { s.must(node.Kubelet().Stop()); s.revive(node) }},
		{"kubelet killed", func() { s.must(node.Kubelet().Kill()); s.revive(node) }},
		{"containerd ended", func() { s.must(node.Containerd().Stop()); s.revive(node) }},
		{"containerd killed", func() { s.must(node.Containerd().Kill()); s.revive(node) }},
		{"node's programs killed", func() {
			for _, p := range []*cluster.Process{node.Kubelet(), node.Containerd()} {
				s.must(p.Kill())
			}
			s.on(node, "sh", "-c", "kill -9 "+s.daemonPID(node))
			s.revive(node)
		}},
	} {
		event.happen()
		pod := fmt.Sprint("new-", i)
		s.client(pod, "  nodeName: "+node.Name+"\n")
		s.probe(pod, "tcp", "web:80", "--count", "10", "--fail-fast")
		t.tell(event.name)
	}
}

// on runs a command on a node.
func (s story) on(n *kubernetes.Node, command ...string) string {
	s.Helper()
	out, err := n.Exec(s.ctx, command...)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (s story) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// revive starts what does not run of a node's programs, until kubelet answers:
// it ends, as a rule to be started again, while the runtime is not ready.
func (s story) revive(n *kubernetes.Node) {
	s.Helper()
	if s.ctx.Err() != nil {
		return // all of the cluster goes
	}
	if n.Containerd().Ended() {
		if err := n.StartContainerd(s.ctx); err != nil {
			s.Fatal(err)
		}
	}
	netns, err := n.Netns(n.Addr)
	if err != nil {
		s.Fatal(err)
	}
	defer netns.Close()
	s.eventually("kubelet of "+n.Name+" runs", func() error {
		if n.Kubelet().Ended() {
			if err := n.StartKubelet(); err != nil {
				return err
			}
		}
		return s.answers(netns, netip.MustParseAddr("127.0.0.1"), 10248) // its health
	})
}

// daemonPID is the process ID of ipamd, as the node has it.
func (s story) daemonPID(n *kubernetes.Node) string {
	s.Helper()
	return s.on(n, "pidof", "-s", "ipamd")
}

// daemonPod names the pod of ipamd on a node, for kubectl.
func daemonPod(n *kubernetes.Node) []string {
	return []string{"-n", "kube-system", "pod", "-l", "app.kubernetes.io/name=causeway", "--field-selector", "spec.nodeName=" + n.Name}
}

// replaceDaemon lets ipamd end, and waits until another is ready in its place.
func (s story) replaceDaemon(n *kubernetes.Node, happen func()) {
	s.Helper()
	before := s.daemonPID(n)
	happen()
	s.eventually("another ipamd", func() error {
		out, err := n.Exec(s.ctx, "pidof", "-s", "ipamd")
		if after := strings.TrimSpace(out); err != nil || after == before {
			return fmt.Errorf("it is process %q: %w", after, err)
		}
		_, err = s.cluster.Kubectl(s.ctx, append([]string{"wait", "--for=condition=Ready", "--timeout=5s"}, daemonPod(n)...)...)
		return err
	})
}
