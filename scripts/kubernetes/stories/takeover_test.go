//go:build cluster

package stories

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/kubernetes"
)

// served is how a node's services are served: the mode of kube-proxy or of
// Causeway, and in iptables the variant.
type served struct{ mode, variant string }

func (v served) String() string {
	if v.mode == "iptables" {
		return v.mode + "-" + v.variant
	}
	return v.mode
}

// takeOver gives all services to the real kube-proxy and takes them back, in
// its modes and variants, under load: the one is there before the other goes.
// Pods call from secondary ENIs, which their connections leave by only if the
// marks are right all the time.
func takeOver(s story) {
	n1, n2 := s.cast()
	s.client("client", "")
	s.apply(`apiVersion: v1
kind: Pod
metadata: {name: host-port, namespace: %s}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: echo, image: %s, args: [echo, --listen, ":80"], ports: [{containerPort: 80, hostPort: 8080}]}]
`, s.space, kubernetes.ProbeImage)
	s.kubectl("wait", "--for=condition=Ready", "pod/host-port", "--timeout=1m")
	s.Cleanup(func() {
		if s.ctx.Err() != nil {
			return // all of the cluster goes
		}
		if err := s.cluster.Upgrade(s.ctx); err != nil {
			s.Error(err)
		}
		s.causeway()
		if err := s.cluster.RemoveKubeProxy(s.ctx); err != nil {
			s.Error(err)
		}
	})
	var cluster string
	var port uint16
	if _, err := fmt.Sscan(s.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP} {.spec.ports[0].nodePort}"), &cluster, &port); err != nil {
		s.Fatal(err)
	}
	var loads []*load
	for _, n := range []site{n1, n2} {
		loads = append(loads,
			s.load("pod of "+n.self.name+" to cluster IP", n.p2.netns, netip.AddrPortFrom(netip.MustParseAddr(cluster), 80), 10),
			s.load("internet to node port of "+n.self.name, s.fromPlace("internet"), netip.AddrPortFrom(n.public, port), 10))
	}
	ours := served{*mode, "nft"} // as kubelet's
	if ours.mode == "" {
		ours.mode = "iptables"
	}
	for _, next := range []struct{ theirs, ours served }{
		{served{"nftables", ""}, served{"nftables", ""}},
		{served{"iptables", "nft"}, served{"iptables", "nft"}},
		{served{"iptables", "legacy"}, served{"iptables", "nft"}},
		{served{"nftables", ""}, served{"iptables", "nft"}},
	} {
		s.giveBack(ours, next.theirs)
		s.takeFrom(next.theirs, next.ours)
		ours = next.ours
	}
	for _, l := range loads {
		l.end()
	}
}

// giveBack has kube-proxy serve, and Causeway no services any more: none of its
// rules for them is left.
func (s story) giveBack(ours, theirs served) {
	s.Helper()
	what := fmt.Sprintf("%s to kube-proxy's %s", ours, theirs)
	start := time.Now()
	if err := s.cluster.InstallKubeProxy(s.ctx, theirs.mode, theirs.variant); err != nil {
		s.Fatal(err)
	}
	for _, n := range s.cluster.Nodes[:2] {
		s.eventually(what+": kube-proxy writes rules on "+n.Name, func() error { return s.rules(n, theirs).kubeProxys(true) })
	}
	if err := s.cluster.Upgrade(s.ctx, "env.PROXY_MODE=off"); err != nil {
		s.Fatal(err)
	}
	s.causeway()
	for _, n := range s.cluster.Nodes[:2] {
		s.eventually(what+": nothing of Causeway's services is left on "+n.Name, func() error {
			r := s.rules(n, theirs)
			if err := r.kubeProxys(true); err != nil {
				return err
			}
			if all := fmt.Sprint(r.all); strings.Contains(all, "KUBE-HOSTPORTS") || strings.Contains(all, "KUBE-HP-") {
				return fmt.Errorf("host ports, which kube-proxy does not know, are left:\n%s", all)
			}
			// External SNAT is where kubelet's iptables are, unless services are served elsewhere.
			if has, want := strings.Contains(r.all["nftables"], "inet causeway"), theirs != (served{"iptables", "nft"}); has != want {
				return fmt.Errorf("external SNAT is in table inet causeway: %t, want %t", has, want)
			}
			return r.alone()
		})
		s.Logf("%s: %s says\n%s", what, n.Name, s.report(n))
	}
	s.servesNew(what)
	s.number(what+", s", seconds(start), "from %s on: kube-proxy installed until it serves alone, 2 nodes", clock(start))
}

// takeFrom has Causeway serve and kube-proxy removed: nothing of it is left, and
// Causeway says what there was.
func (s story) takeFrom(theirs, ours served) {
	s.Helper()
	what := fmt.Sprintf("kube-proxy's %s to %s", theirs, ours)
	start := time.Now()
	if err := s.cluster.Upgrade(s.ctx, "env.PROXY_MODE="+ours.mode); err != nil {
		s.Fatal(err)
	}
	s.causeway()
	s.servesNew(what) // both, which write both
	if err := s.cluster.RemoveKubeProxy(s.ctx); err != nil {
		s.Fatal(err)
	}
	for _, n := range s.cluster.Nodes[:2] {
		s.eventually(what+": nothing of kube-proxy is left on "+n.Name, func() error {
			r := s.rules(n, ours)
			if err := r.kubeProxys(false); err != nil {
				return err
			}
			if ours.mode == "iptables" && strings.Contains(r.all["nftables"], "inet causeway") {
				return errors.New("external SNAT is still in table inet causeway")
			}
			return r.alone()
		})
		said := s.report(n)
		s.Logf("%s: %s says\n%s", what, n.Name, said)
		want := regexp.MustCompile("IPv4 " + theirs.String() + ": .*kube-proxy's")
		if theirs.mode == "nftables" {
			want = regexp.MustCompile("nft: drop table kube-proxy of IPv4")
		}
		if !want.MatchString(said) {
			s.Errorf("%s: %s does not say %q", what, n.Name, want)
		}
	}
	s.servesNew(what)
	s.number(what+", s", seconds(start), "from %s on: Causeway's settings changed until it serves alone, 2 nodes", clock(start))
}

// causeway waits until all nodes have the settings that it was given last.
func (s story) causeway() {
	s.Helper()
	if _, err := s.cluster.Kubectl(s.ctx, "-n", "kube-system", "rollout", "status", "daemonset/causeway", "--timeout=2m"); err != nil {
		s.Fatal(err)
	}
}

// servesNew makes a service, which is served soon, and removes it.
func (s story) servesNew(what string) {
	s.Helper()
	s.kubectl("expose", "deployment", "web", "--name=new", "--port=80")
	s.eventually(what+": a new service is served", func() error {
		addr, err := s.cluster.Kubectl(s.ctx, "-n", s.space, "get", "service", "new", "-o", "jsonpath={.spec.clusterIP}")
		if err == nil {
			_, err = s.cluster.Kubectl(s.ctx, "-n", s.space, "exec", "client", "--", "vpcsim", "probe", "tcp", addr+":80", "--timeout", "300ms")
		}
		return err
	})
	s.kubectl("delete", "service", "new")
}

// report is what Causeway's pod of a node says of services since it started.
func (s story) report(n *kubernetes.Node) string {
	s.Helper()
	pod, err := s.cluster.Kubectl(s.ctx, "-n", "kube-system", "get", "pods", "-l", "app.kubernetes.io/name=causeway",
		"--field-selector", "spec.nodeName="+n.Name, "-o", "name")
	if err != nil {
		s.Fatal(err)
	}
	log, err := s.cluster.Kubectl(s.ctx, "-n", "kube-system", "logs", strings.TrimSpace(pod), "-c", "ipamd")
	if err != nil {
		s.Fatal(err)
	}
	var kept []string
	for line := range strings.Lines(log) {
		if _, text, ok := strings.Cut(line, `msg="services: `); ok {
			kept = append(kept, "  "+text)
		}
	}
	return strings.Join(kept, "")
}

// rules are what a node has in netfilter.
type rules struct {
	by  served            // who serves, as is expected
	all map[string]string // by kind
}

func (s story) rules(n *kubernetes.Node, by served) rules {
	s.Helper()
	r := rules{by, map[string]string{}}
	for kind, command := range map[string]string{
		"iptables-nft": "iptables-nft-save; ip6tables-nft-save", "iptables-legacy": "iptables-legacy-save; ip6tables-legacy-save",
		"nftables": "nft list tables; nft list table ip kube-proxy | grep 'chain service-'; nft list table inet causeway | grep -E '^\t(set|map|chain) '",
	} {
		out, err := n.Exec(s.ctx, "sh", "-c", "("+command+") 2>/dev/null; true")
		if err != nil {
			s.Fatal(err)
		}
		r.all[kind] = out
	}
	return r
}

// kubeProxys says whether kube-proxy's own marks are there, or are not: its
// table, or the chains by which it notices that others flushed its rules, with
// services in them.
func (r rules) kubeProxys(there bool) error {
	for kind, text := range r.all {
		own := strings.Contains(text, "KUBE-PROXY-CANARY") || strings.Contains(text, "kube-proxy\n")
		if there && kind == r.by.String() {
			own = own && (strings.Contains(text, ":KUBE-SVC-") || strings.Contains(text, "chain service-"))
		}
		if want := there && kind == r.by.String(); own != want {
			return fmt.Errorf("%s has rules of kube-proxy: %t, want %t:\n%s", kind, own, want, text)
		}
	}
	return nil
}

// alone looks for services elsewhere than where they are served.
func (r rules) alone() error {
	for kind, text := range r.all {
		has := strings.Contains(text, "KUBE-SVC-") || strings.Contains(text, "KUBE-SERVICES") || strings.Contains(text, "service-")
		if want := kind == r.by.String(); has != want {
			return fmt.Errorf("%s has services: %t, want %t:\n%s", kind, has, want, text)
		}
	}
	return nil
}

func seconds(since time.Time) float64 { return math.Round(time.Since(since).Seconds()*10) / 10 }
