package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// foreign is what others have on a node: routing, kubelet's chains and an
// operator's in both variants of iptables, a table of nf_tables, CNI files.
const foreign = `set -e
ip rule add priority 100 to 10.99.0.1 lookup 77; ip rule add priority 20000 lookup 77
ip route add 10.97.0.0/16 dev eth0 table 77; ip route add blackhole 10.98.0.0/16
iptables-nft-restore --noflush <<END
*mangle
:KUBE-KUBELET-CANARY - [0:0]
-A FORWARD -d 10.98.0.0/16 -j MARK --set-xmark 0x80/0x80
COMMIT
*nat
:KUBE-KUBELET-CANARY - [0:0]
:OPERATOR - [0:0]
-A OPERATOR -d 10.98.0.0/16 -j RETURN
-A POSTROUTING -m comment --comment "AWS, not by us" -j OPERATOR
COMMIT
*filter
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-FIREWALL - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A FORWARD -j KUBE-ROUTER-FORWARD
COMMIT
END
iptables-legacy -t nat -N OPERATOR; ip6tables-nft -N OPERATOR
nft add table inet operator; nft add chain inet operator mine; nft add rule inet operator mine counter accept
echo '{"name": "other", "plugins": [{"type": "other"}]}' >/etc/cni/net.d/99-other.conflist; echo other >/opt/cni/bin/other
`

// visible is what programs of the node see of its network and of CNI.
const visible = `
ip rule; ip -6 rule; ip -4 route show table all; ip -4 -o addr; ip -o link | sed 's/^[0-9]*: //'
for p in iptables ip6tables; do for v in nft legacy; do echo "$p-$v"; $p-$v-save 2>/dev/null; done; done
nft list table inet operator; nft list tables | grep -v ' ip6\? '
ls /etc/cni/net.d /opt/cni/bin; cat /etc/cni/net.d/*; ls -d /run/causeway 2>&1; true
`

// passing is what is there in any case: comments, tables without a rule, whose
// chains iptables makes by being asked for them, counters, and the ENI, which
// stays.
var passing = regexp.MustCompile(`^(#|\*|COMMIT|:[A-Z]+ (ACCEPT|DROP)|eth1@)| \[\d+:\d+\]| packets \d+ bytes \d+|qlen \d+`)

func (s *story) visible(node *harness.Node) string {
	s.Helper()
	var kept []string
	for _, line := range lines(s.shell(node, visible)) {
		if m := passing.FindStringIndex(line); m == nil || m[0] > 0 {
			kept = append(kept, passing.ReplaceAllString(line, ""))
		}
	}
	return strings.Join(kept, "\n")
}

// TestCleanup gives a node up on which others have rules, routes and files of
// their own: these are all that is left, and what is left is whole.
func TestCleanup(t *testing.T) {
	for _, mode := range []struct{ name, variant string }{{"iptables", "nft"}, {"iptables", "legacy"}, {"nftables", "nft"}} {
		t.Run(mode.name+" "+mode.variant, func(t *testing.T) {
			t.Parallel()
			s := raise(t, small)
			s.lab.ProxyMode = mode.name
			env := []string{"HOST_CNI_CONFDIR_PATH=/etc/cni/net.d", "HOST_CNI_BIN_PATH=/opt/cni/bin", "CAUSEWAY_IPTABLES=" + mode.variant}
			s.shell(s.lab.Node("n1"), foreign)
			before := s.visible(s.lab.Node("n1"))
			cleanup := func(node *harness.Node, flags ...string) (string, error) {
				command := append([]string{"env", "PROXY_MODE=" + mode.name}, env...)
				return node.Exec(s.ctx, append(append(command, programs.Ipamd, "cleanup"), flags...)...)
			}

			for _, flags := range [][]string{nil, {"--pods"}} {
				node := s.start("n1", env...)
				_, err := node.Exec(s.ctx, append(append([]string{"env"}, env...), programs.Ipamd, "install", programs.CNI)...)
				s.must(err)
				pods := s.addUntil(node, 1)
				_, err = s.lab.Serve(s.ctx, harness.Service{Name: "web", Pods: pods, Type: "NodePort"})
				s.must(err)
				with := s.visible(node)

				refused := func(why string, flags ...string) {
					t.Helper()
					if out, err := cleanup(node, flags...); err == nil || !regexp.MustCompile(why).MatchString(err.Error()) {
						t.Errorf("cleanup %v: %s, error %v; want it to say %q", flags, out, err, why)
					}
					if diff := gocmp.Diff(with, s.visible(node)); diff != "" {
						t.Errorf("cleanup %v was refused, and changed (-before +after):\n%s", flags, diff)
					}
				}
				refused(`ipamd runs \(PID \d+, it listens on /run/causeway/ipamd.sock\)`, "--pods")
				s.must(node.Daemon().Stop())
				refused(fmt.Sprintf(`%d pods have a network of ours`, len(pods)))
				for _, p := range pods {
					if flags == nil {
						s.must(p.Del(s.ctx))
					}
					p.StopServing()
					s.must(p.Remove(s.ctx))
				}

				out, err := cleanup(node, flags...)
				s.must(err)
				if diff := gocmp.Diff(before, s.visible(node)); diff != "" {
					t.Errorf("cleanup %v left or took (-before +after):\n%s\nit said:\n%s", flags, diff, out)
				}
				for _, area := range []string{"CNI: removed /etc/cni/net.d/10-aws.conflist", "CNI: removed /opt/cni/bin/causeway-cni", "rules: ", "network: delete rule 1024:", "state: "} {
					if !strings.Contains(out, area) {
						t.Errorf("cleanup did not say %q:\n%s", area, out)
					}
				}
				if out, err := cleanup(node); err != nil || out != "nothing of ours is on this node\n" {
					t.Errorf("cleanup of a clean node: %s, error %v", out, err)
				}
			}
		})
	}
}
