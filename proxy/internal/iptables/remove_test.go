package iptables

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// others is what a node has besides services, one chain of it leading to one of
// theirs.
const others = `*mangle
:KUBE-KUBELET-CANARY - [0:0]
:KUBE-IPTABLES-HINT - [0:0]
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
:KUBE-ROUTER-INPUT - [0:0]
:MINE - [0:0]
-A INPUT -j KUBE-FIREWALL
-A INPUT -j MINE
-A INPUT -j KUBE-ROUTER-INPUT
-A KUBE-ROUTER-INPUT -j RETURN
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-KUBELET-CANARY - [0:0]
:MINE - [0:0]
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A POSTROUTING -j MINE
-A MINE -m mark --mark 0x1/0x1 -j KUBE-MARK-MASQ
-A MINE -j RETURN
COMMIT
`

// TestRemoveServices wants a node without services as it was before them, and
// packets refused where they were served.
func TestRemoveServices(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.node.Feed(others, l.backend.program+"-restore", "--noflush")
		before := ruleText(l.node.Run(l.backend.program + "-save"))
		l.reopen()
		l.put("012", l.balanced)
		nstest.KubeProxy{Namespace: l.node, Program: l.backend.program}.EnsureJumps() // as versions before had them, too
		remove := func() (n int) {
			t.Helper()
			l.node.Do(func() {
				did, err := l.backend.RemoveServices(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				n = did.Chains
			})
			return n
		}
		if n := remove(); n == 0 {
			t.Error("nothing removed")
		}
		saved := l.node.Run(l.backend.program + "-save")
		if diff := cmp.Diff(sorted(before), sorted(ruleText(saved))); diff != "" {
			t.Errorf("rules (-before +after):\n%s", diff)
		}
		for _, chain := range []string{"KUBE-SVC-", "KUBE-SEP-", "KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-FORWARD"} {
			if strings.Contains(saved, chain) {
				t.Errorf("%s is left over:\n%s", chain, saved)
			}
		}
		if n := remove(); n != 0 {
			t.Errorf("%d chains removed twice", n)
		}
	})
}
