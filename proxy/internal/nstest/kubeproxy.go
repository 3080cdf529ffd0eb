package nstest

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// KubeProxy does in a namespace what kube-proxy v1.36 does there, with one
// program of iptables.
type KubeProxy struct {
	*Namespace
	Program string // "iptables-nft" and the like
}

// kubeProxyJumps are in the order in which it puts each at the head, and in
// which it deletes them.
var kubeProxyJumps = []struct{ table, from, to, comment, state string }{
	{"filter", "INPUT", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", "NEW"},
	{"filter", "FORWARD", "KUBE-EXTERNAL-SERVICES", "kubernetes externally-visible service portals", "NEW"},
	{"filter", "INPUT", "KUBE-NODEPORTS", "kubernetes health check service ports", ""},
	{"filter", "FORWARD", "KUBE-SERVICES", "kubernetes service portals", "NEW"},
	{"filter", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals", "NEW"},
	{"filter", "FORWARD", "KUBE-FORWARD", "kubernetes forwarding rules", ""},
	{"filter", "INPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", "NEW"},
	{"filter", "OUTPUT", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", "NEW"},
	{"filter", "FORWARD", "KUBE-PROXY-FIREWALL", "kubernetes load balancer firewall", "NEW"},
	{"nat", "OUTPUT", "KUBE-SERVICES", "kubernetes service portals", ""},
	{"nat", "PREROUTING", "KUBE-SERVICES", "kubernetes service portals", ""},
	{"nat", "POSTROUTING", "KUBE-POSTROUTING", "kubernetes postrouting rules", ""},
}

// EnsureJumps does what begins each of its full syncs: chains that are missing
// are made, and jumps that are missing put in at the head.
func (k KubeProxy) EnsureJumps() {
	k.t.Helper()
	for _, j := range kubeProxyJumps {
		k.try("-N", j.to, "-t", j.table) // it may be there
	}
	k.eachJump(func(do func(op string) error) {
		if do("-C") == nil {
			return
		}
		if err := do("-I"); err != nil {
			k.t.Fatal(err)
		}
	})
}

// CleanLeftovers does what it does in nftables mode when it starts, before it
// has rules (pkg/proxy/iptables/cleanup.go): it deletes its jumps one by one,
// and then all chains of a table at once. It returns what it would log.
func (k KubeProxy) CleanLeftovers() string {
	k.t.Helper()
	k.eachJump(func(do func(op string) error) {
		if do("-C") != nil {
			return
		}
		if err := do("-D"); err != nil {
			k.t.Fatal(err)
		}
	})
	var log strings.Builder
	for _, table := range []string{"nat", "filter"} {
		restore := exec.Command("ip", "netns", "exec", k.Name, k.Program+"-restore", "-w", "5", "-T", table, "--noflush", "--counters")
		restore.Stdin = strings.NewReader(k.deletions(table))
		if said, err := restore.CombinedOutput(); err != nil {
			fmt.Fprintf(&log, "%s: %s", table, said)
		}
	}
	k.try("-X", "KUBE-PROXY-CANARY", "-t", "mangle") // it may not be there
	return log.String()
}

// deletions empties and deletes the chains of a table that are kube-proxy's by
// name, which it does to those of services in nat only.
func (k KubeProxy) deletions(table string) string {
	names := map[string][]string{
		"nat":    {"KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY"},
		"filter": {"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY"},
	}
	prefixes := []string{"KUBE-SVC-", "KUBE-SVL-", "KUBE-SEP-", "KUBE-FW-", "KUBE-EXT-", "KUBE-XLB-"}
	var chains, rules strings.Builder
	for line := range strings.Lines(k.Run(k.Program+"-save", "-t", table)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, ":"), " ")
		ofService := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
		if line[0] == ':' && (slices.Contains(names[table], name) || table == "nat" && ofService) {
			fmt.Fprintf(&chains, ":%s - [0:0]\n", name)
			fmt.Fprintf(&rules, "-X %s\n", name)
		}
	}
	return "*" + table + "\n" + chains.String() + rules.String() + "COMMIT\n"
}

// eachJump offers to do something with each of its jumps: -C, -D or -I.
func (k KubeProxy) eachJump(offer func(do func(op string) error)) {
	for _, j := range kubeProxyJumps {
		offer(func(op string) error {
			args := []string{op, j.from, "-t", j.table}
			if j.state != "" {
				args = append(args, "-m", "conntrack", "--ctstate", j.state)
			}
			return k.try(append(args, "-m", "comment", "--comment", j.comment, "-j", j.to)...)
		})
	}
}

func (k KubeProxy) try(args ...string) error {
	out, err := exec.Command("ip", append([]string{"netns", "exec", k.Name, k.Program, "-w"}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", k.Program, strings.Join(args, " "), err, out)
	}
	return nil
}
