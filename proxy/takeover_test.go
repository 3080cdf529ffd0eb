package proxy

import (
	"slices"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// kubeProxy is at work in this variant of iptables.
func (n *node) kubeProxy() nstest.KubeProxy {
	return nstest.KubeProxy{Namespace: n.Namespace, Program: "iptables-" + string(n.v)}
}

// canaries makes kube-proxy's, which it does when it starts, or deletes them.
func (n *node) canaries(op string) {
	n.t.Helper()
	for _, table := range []string{"mangle", "nat", "filter"} {
		n.iptables("-t", table, op, "KUBE-PROXY-CANARY")
	}
}

// leaveBehind does as kube-proxy does that ends: its canaries and jumps are in
// this variant of iptables, other services in the other, and a table in
// nf_tables.
func (n *node) leaveBehind() {
	n.t.Helper()
	n.canaries("-N")
	n.kubeProxy().EnsureJumps()
	n.Feed("*nat\n:KUBE-PROXY-CANARY - [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-SVC-OLD - [0:0]\n-A PREROUTING -j KUBE-SERVICES\n-A KUBE-SERVICES -d 10.100.0.9/32 -j KUBE-SVC-OLD\nCOMMIT\n",
		"iptables-"+string(n.other())+"-restore", "--noflush", "-w", "5")
	n.Feed("table ip kube-proxy {\n chain services { type nat hook prerouting priority -100; }\n}\n", "nft", "-f", "-")
}

func (n *node) other() Variant {
	if n.v == NFT {
		return Legacy
	}
	return NFT
}

func (n *node) everything() string {
	n.t.Helper()
	return n.Run("sh", "-c", "nft list tables; iptables-nft-save; iptables-legacy-save; true")
}

// TestTakeOverTwice has kube-proxy write rules while we serve, and end: what it
// left goes when we are told, and what is found is said.
func TestTakeOverTwice(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		tr, settings := service.NewTracker(), serviceSettings()
		put(tr, "web", "10.100.0.1", "192.168.1.61")
		n.leaveBehind()
		for _, when := range []string{"before us", "while we serve"} {
			did, err := n.syncServices(tr, nil, settings)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"iptables-" + string(n.v) + ": kube-proxy's chains are ours now", "iptables-" + string(n.other()) + ": 3 chains of services, kube-proxy's", "nft: drop table kube-proxy"} {
				if !slices.ContainsFunc(did.Found, func(line string) bool { return strings.Contains(line, want) }) {
					t.Errorf("%s: found %q, want it to say %q", when, did.Found, want)
				}
			}
			if left := n.everything(); strings.Contains(left, "kube-proxy") || strings.Contains(left, "CANARY") || strings.Contains(left, "KUBE-SVC-OLD") || strings.Contains(left, theirJump) || !strings.Contains(left, ourJump) {
				t.Errorf("%s: kube-proxy's is left:\n%s", when, left)
			}
			n.leaveBehind()
			if did, err = n.syncServices(tr, nil, settings); err != nil || len(did.Found) > 0 {
				t.Errorf("beside kube-proxy: took over %q, error %v", did.Found, err)
			}
			if both := n.everything(); !strings.Contains(both, theirJump) || !strings.Contains(both, ourJump) {
				t.Errorf("beside kube-proxy: want its jumps and ours:\n%s", both)
			}
			n.proxy.TakeOverAgain()
			n.Do(func() {
				if _, services, err := n.proxy.Untouched(); services || err != nil {
					t.Errorf("told that kube-proxy is gone, nothing is to do: %v", err)
				}
			})
		}
	})
}

// Jumps that kube-proxy and we have.
const (
	theirJump = `-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`
	ourJump   = `-A PREROUTING -m comment --comment "Causeway, service portals" -j KUBE-SERVICES`
)

// hostPort is what services of ours have that kube-proxy does not know.
const hostPort = `*nat
:KUBE-HOSTPORTS - [0:0]
:KUBE-HP-A - [0:0]
:KUBE-SEP-A - [0:0]
-A KUBE-SERVICES -m comment --comment "host ports of pods" -m addrtype --dst-type LOCAL -j KUBE-HOSTPORTS
-A KUBE-HOSTPORTS -p tcp -m tcp --dport 8080 -j KUBE-HP-A
-A KUBE-HP-A -j KUBE-SEP-A
COMMIT
`

// TestYield gives services away as soon as kube-proxy has its own, and not
// before: in the same variant of iptables ours are its own, but for our jumps and
// for host ports.
func TestYield(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		tr := service.NewTracker()
		put(tr, "web", "10.100.0.1", "192.168.1.61")
		off := New(Off, n.v)
		n.Do(func() {
			if _, err := off.Sync(t.Context(), nodeNAT()); err != nil {
				t.Fatal(err)
			}
		})
		yield := func(served bool) []string {
			t.Helper()
			var removed []string
			n.Do(func() {
				did, ok, err := off.Yield(t.Context())
				if removed = did; err != nil || ok != served {
					t.Errorf("served %t, error %v; want %t", ok, err, served)
				}
			})
			return removed
		}
		serve := func() {
			t.Helper()
			n.proxy = New(IPTables, n.v)
			if _, err := n.syncServices(tr, nil, serviceSettings()); err != nil {
				t.Fatal(err)
			}
			n.Feed(hostPort, "iptables-"+string(n.v)+"-restore", "--noflush", "-w", "5")
		}
		serve()
		if did := yield(false); len(did) > 0 || !strings.Contains(n.everything(), "KUBE-SVC-") {
			t.Errorf("without kube-proxy: removed %q", did)
		}

		n.canaries("-N")
		if did := yield(false); len(did) > 0 || !strings.Contains(n.everything(), ourJump) {
			t.Errorf("before kube-proxy has jumps: removed %q", did)
		}
		n.kubeProxy().EnsureJumps()
		if did := yield(true); len(did) == 0 || !strings.Contains(did[0], ": 12 jumps and 2 chains of ours") {
			t.Errorf("in kube-proxy's variant: removed %q", did)
		}
		left := n.everything()
		for text, there := range map[string]bool{"HOSTPORTS": false, "KUBE-HP-": false, "Causeway": false, theirJump: true, "KUBE-SVC-": true} {
			if strings.Contains(left, text) != there {
				t.Errorf("in kube-proxy's variant: %q is left: %t, in\n%s", text, !there, left)
			}
		}
		if did := yield(true); len(did) > 0 {
			t.Errorf("in kube-proxy's variant, again: removed %q", did)
		}

		serve() // and take kube-proxy's canaries and jumps
		n.canaries("-N")
		n.kubeProxy().EnsureJumps()
		if log := n.kubeProxy().CleanLeftovers(); !strings.Contains(n.everything(), ourJump) {
			t.Errorf("kube-proxy took our jumps away: %s", log)
		}
		n.Run("nft", "add", "table", "ip", "kube-proxy")
		if did := yield(true); len(did) == 0 {
			t.Error("beside kube-proxy's table: removed nothing")
		}
		if left := n.everything(); strings.Contains(left, "KUBE-") || !strings.Contains(left, "kube-proxy") {
			t.Errorf("beside kube-proxy's table: left\n%s", left)
		}
		if did := yield(true); len(did) > 0 {
			t.Errorf("again: removed %q", did)
		}
	})
}
