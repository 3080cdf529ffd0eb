//go:build cluster

package stories

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// foreign is what others have on a node: routing, an operator's rules in both
// variants of iptables and in nf_tables, and CNI files.
const foreign = `set -e
ip rule add priority 100 to 10.99.0.1 lookup 77; ip rule add priority 20000 lookup 77
ip route add 10.97.0.0/16 dev eth0 table 77; ip route add blackhole 10.98.0.0/16
iptables-nft -t nat -N OPERATOR; iptables-nft -t nat -A OPERATOR -d 10.98.0.0/16 -j RETURN
iptables-nft -t nat -A POSTROUTING -m comment --comment "AWS, not by us" -j OPERATOR
iptables-nft -t mangle -A FORWARD -d 10.98.0.0/16 -j MARK --set-xmark 0x80/0x80
iptables-legacy -t nat -N OPERATOR; ip6tables-nft -N OPERATOR
nft add table inet operator; nft add chain inet operator mine; nft add rule inet operator mine counter accept
echo '{"name": "other", "cniVersion": "1.0.0", "plugins": [{"type": "other"}]}' >/etc/cni/net.d/99-other.conflist
printf '#!/bin/sh\n' >/opt/cni/bin/other; chmod +x /opt/cni/bin/other # kubelet asks it to delete pods again, once ours is gone
`

// visible is what programs of the node see of its network and of CNI.
const visible = `
ip rule; ip -6 rule; ip -4 route show table all; ip -4 -o addr; ip -o link | sed 's/^[0-9]*: //'
for p in iptables ip6tables; do for v in nft legacy; do echo "$p-$v"; $p-$v-save 2>/dev/null; done; done
nft list table inet operator; nft list tables | grep -v ' ip6\? '
ls -A /etc/cni/net.d /opt/cni/bin /run/causeway; cat /etc/cni/net.d/*; true
`

// passing is what is there in any case: comments, tables without a rule, whose
// chains iptables makes by being asked for them, counters, an empty directory,
// and the ENIs, which stay.
var passing = regexp.MustCompile(`^(#|\*|COMMIT|:[A-Z]+ (ACCEPT|DROP)|/run/causeway:$|ls: .*/run/causeway|$|eth[1-9])| \[\d+:\d+\]| packets \d+ bytes \d+|qlen \d+`)

// cleanUp gives a node up on which others have rules, routes and files of their
// own, by the chart as users do: these are all that is left, and are whole. A
// release of its own has the node, which the cluster's leaves alone.
func cleanUp(s story) {
	nodes := s.cluster.Nodes
	node := nodes[len(nodes)-1]
	node.Labels = []string{"eks.amazonaws.com/compute-type=hybrid"} // the chart's own affinity wants none of these
	s.Cleanup(func() {
		if s.ctx.Err() != nil {
			return // all of the cluster goes
		}
		for _, args := range [][]string{
			{"-n", "kube-system", "delete", "daemonset,configmap,serviceaccount,clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/instance=spare"},
			{"delete", "node", node.Name, "--ignore-not-found"},
		} {
			if _, err := s.cluster.Kubectl(context.WithoutCancel(s.ctx), args...); err != nil {
				s.Error(err)
			}
		}
		if err := node.Terminate(context.WithoutCancel(s.ctx)); err != nil {
			s.Error(err)
		}
	})
	if err := node.Start(s.ctx); err != nil {
		s.Fatal(err)
	}
	s.eventually("kubelet's chains", func() error {
		const count = "(iptables-nft-save; ip6tables-nft-save) 2>/dev/null | grep -cE ':KUBE-(KUBELET-CANARY|IPTABLES-HINT)'; true"
		if want, have := s.shell(nodes[0], count), s.shell(node, count); have != want {
			return fmt.Errorf("%s has %s of %s chains", node.Name, have, want)
		}
		return nil
	})
	s.shell(node, foreign)
	before, sysctls := s.visible(node), s.shell(node, tuned)

	s.release(node)
	s.kubectl("wait", "node/"+node.Name, "--for=condition=Ready", "--timeout=2m")
	s.apply(`apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: %[1]s}
spec:
  replicas: 20
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      nodeSelector: {eks.amazonaws.com/compute-type: hybrid}
      containers: [{name: web, image: %[2]s, args: [echo, --listen, ":80"]}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: %[1]s}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: host-port, namespace: %[1]s}
spec:
  terminationGracePeriodSeconds: 1
  nodeName: %[3]s
  containers: [{name: web, image: %[2]s, args: [echo, --listen, ":80"], ports: [{containerPort: 80, hostPort: 8080}]}]
`, s.space, kubernetes.ProbeImage, node.Name)
	s.client("client", fmt.Sprintf("  nodeName: %s\n  hostNetwork: true\n", node.Name))
	s.rollout()
	addr := s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	s.probe("client", "tcp", addr+":80", "--count", "20", "--fail-fast")
	if with := s.shell(node, "ip rule; ip -4 route show table 2; iptables-nft-save; nft list tables"); !strings.Contains(with, "1536:") || !strings.Contains(with, "default via") || !strings.Contains(with, "KUBE-SVC-") && !strings.Contains(with, "causeway") {
		s.Errorf("there is not much to clean up:\n%s", with)
	}

	if found, err := node.Races(s.ctx); err != nil || found != "" { // its files go with the state
		s.Errorf("races: %v\n%s", err, found)
	}
	s.release(node, "cleanup=true")
	s.eventually("clean-up refuses while there are pods", func() error {
		if said := s.cleanupSays(); !strings.Contains(said, "21 pods have a network of ours") {
			return fmt.Errorf("it says %q", said)
		}
		return nil
	})
	s.probe("client", "tcp", addr+":80", "--count", "20", "--fail-fast")
	s.kubectl("delete", "deployment/web", "pod/client", "pod/host-port", "service/web")
	s.kubectl("wait", "--for=delete", "pods", "--all", "--timeout=1m")
	s.kubectl("-n", "kube-system", "rollout", "status", "daemonset/spare", "--timeout=2m")
	said := s.cleanupSays()
	s.Logf("clean-up says\n%s", said)
	s.kubectl("-n", "kube-system", "delete", "daemonset/spare", "--cascade=foreground")
	if diff := gocmp.Diff(before, s.visible(node)); diff != "" {
		s.Errorf("clean-up left or took (-before +after):\n%s", diff)
	}
	after := s.shell(node, tuned)
	for line := range strings.Lines(after) {
		if !strings.Contains(sysctls, line) {
			s.Logf("sysctl that stays: %s", strings.TrimSpace(line))
		}
	}
	for _, area := range []string{"CNI: removed /host/etc/cni/net.d/10-aws.conflist", "CNI: removed /host/opt/cni/bin/causeway-cni", "rules: ", "network: delete rule 1024:", "state: "} {
		if !strings.Contains(said, area) {
			s.Errorf("clean-up does not say %q", area)
		}
	}
}

// tuned are the sysctls of the network, but for those of single links and those
// that count.
const tuned = "sysctl -a 2>/dev/null | grep -E '^net\\.' | grep -vE 'conf\\.(eth[1-9]|eni|dummy)|neigh\\.(eth[1-9]|eni)|_count|stable_secret' | sort"

// release installs a release of its own on a node, or changes it.
func (s story) release(node *kubernetes.Node, values ...string) {
	s.Helper()
	const only = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0]."
	values = append(values, only+"key=kubernetes.io/hostname", only+"operator=In", only+"values[0]="+node.Name)
	if err := s.cluster.UpgradeRelease(s.ctx, "spare", values...); err != nil {
		s.Fatal(err)
	}
}

// cleanupSays is the log of the last try, if there was one.
func (s story) cleanupSays() string {
	said, err := s.cluster.Kubectl(s.ctx, "-n", "kube-system", "logs", "-l", "app.kubernetes.io/instance=spare", "-c", "cleanup", "--tail=-1")
	if err != nil {
		return err.Error()
	}
	return said
}

// shell runs a script on a node.
func (s story) shell(n *kubernetes.Node, script string) string {
	s.Helper()
	out, err := n.Exec(s.ctx, "sh", "-c", script)
	if err != nil {
		s.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func (s story) visible(n *kubernetes.Node) string {
	s.Helper()
	var kept []string
	for line := range strings.Lines(s.shell(n, "("+visible+") 2>&1")) {
		line = strings.TrimSuffix(line, "\n")
		if m := passing.FindStringIndex(line); m == nil || m[0] > 0 {
			kept = append(kept, passing.ReplaceAllString(line, ""))
		}
	}
	return strings.Join(kept, "\n")
}
