package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

func TestSyncThenNothing(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		if n.untouched() {
			t.Error("untouched before the first Sync")
		}
		if changes := n.sync(nodeNAT()); len(changes) != 1+10 {
			t.Errorf("%d changes, want 11: %q", len(changes), changes)
		}
		n.mustShowWanted()
		if !n.untouched() {
			t.Error("Check is false after Sync")
		}
		n.hit()
		before := n.transactions()
		if changes := n.sync(nodeNAT()); len(changes) > 0 {
			t.Errorf("a second Sync changed %q", changes)
		}
		if after := n.transactions(); after != before {
			t.Errorf("a second Sync wrote: fingerprint %v, then %v", before, after)
		}
	})
}

func TestEveryRuleComesBack(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		n.sync(nodeNAT())
		for _, rule := range wanted {
			table, rest, _ := strings.Cut(rule, " ")
			words, isRule := strings.CutPrefix(rest, "-A ")
			if !isRule {
				continue
			}
			n.Feed("*"+table+"\n-D "+words+"\nCOMMIT\n", "iptables-"+string(n.v)+"-restore", "--noflush", "-w", "5")
			if n.untouched() {
				t.Errorf("Check did not see that %q went", rule)
			}
			if changes := n.sync(nodeNAT()); len(changes) != 1 {
				t.Errorf("one change should bring %q back, not %q", rule, changes)
			}
			n.mustShowWanted()
		}
	})
}

func TestFlush(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		n.sync(nodeNAT())
		for _, damage := range [][]string{
			{"-t", "nat", "-F"},
			{"-t", "mangle", "-F"},
			{"-t", "nat", "-F", "AWS-SNAT-CHAIN-0"},
			{"-t", "nat", "-R", "AWS-SNAT-CHAIN-0", "2", "!", "-o", "vlan+", "-j", "SNAT", "--to-source", "192.168.1.51"},
			{"-t", "nat", "-I", "AWS-CONNMARK-CHAIN-0", "-j", "RETURN"},
			{"-t", "nat", "-A", "POSTROUTING", "-m", "comment", "--comment", "AWS SNAT CHAIN", "-j", "AWS-SNAT-CHAIN-0"},
		} {
			n.iptables(damage...)
			if n.untouched() {
				t.Errorf("Check did not see %q", damage)
			}
			n.sync(nodeNAT())
			n.mustShowWanted()
		}
		n.iptables("-t", "nat", "-F")
		n.iptables("-t", "nat", "-X")
		n.sync(nodeNAT())
		n.mustShowWanted()
	})
}

func TestForeignRulesStay(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		foreign := `*nat
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
:DOCKER - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -d 0.0.0.0/0 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
COMMIT
*filter
-A FORWARD -m comment --comment "it's \"quoted\" \\ here" -j ACCEPT
COMMIT
`
		n.Feed(foreign, "iptables-"+string(n.v)+"-restore", "-w", "5")
		before := n.rules()
		n.sync(nodeNAT())
		n.iptables("-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "81", "-j", "RETURN")
		n.iptables("-t", "nat", "-D", "PREROUTING", "3")
		n.sync(nodeNAT())
		got := n.iptables("-t", "nat", "-S", "PREROUTING")
		want := `-P PREROUTING ACCEPT
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0
-A PREROUTING -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80
-A PREROUTING -p tcp -m tcp --dport 81 -j RETURN
`
		got = keepLines(got, "-")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("PREROUTING (-want +got):\n%s", diff)
		}
		n.iptables("-t", "nat", "-D", "PREROUTING", "-p", "tcp", "--dport", "81", "-j", "RETURN")
		n.Do(func() {
			if _, err := CleanupAll(t.Context(), Removal{NAT: true}); err != nil {
				t.Error(err)
			}
		})
		n.mustShow(before)
	})
}

func TestBlocksComeAndGo(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		n.sync(nodeNAT())
		more := nodeNAT()
		more.VPCBlocks = append(more.VPCBlocks, netip.MustParsePrefix("100.64.0.0/16"))
		more.Excluded = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("203.0.113.7/32")}
		for range 2 {
			n.sync(more)
			snat := keepLines(n.iptables("-t", "nat", "-S", "AWS-SNAT-CHAIN-0"), "-A")
			want := `-A AWS-SNAT-CHAIN-0 -d 203.0.113.7/32 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j RETURN
-A AWS-SNAT-CHAIN-0 -m comment --comment "AWS SNAT CHAIN EXCLUSION" -j RETURN
-A AWS-SNAT-CHAIN-0 -d 100.64.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN
-A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN
-A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.50 --random-fully
`
			if diff := cmp.Diff(want, snat); diff != "" {
				t.Errorf("chain (-want +got):\n%s", diff)
			}
			if changes := n.sync(more); len(changes) > 0 {
				t.Errorf("a second Sync changed %q", changes)
			}
			n.sync(nodeNAT())
			n.mustShowWanted()
		}
	})
}

func TestExternalOnAndOff(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		external := nodeNAT()
		external.External = true
		for range 2 {
			n.sync(nodeNAT())
			n.mustShowWanted()
			n.sync(external)
			n.mustShow(wanted[len(wanted)-3:])
		}
		external.NodePorts = false
		n.sync(external)
		n.mustShow(nil)
	})
}

func TestRefusesSettings(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		bad := nodeNAT()
		bad.VPCBlocks = nil
		if _, err := n.trySync(bad); err == nil {
			t.Error("Sync accepted a VPC without blocks")
		}
		n.mustShow(nil)
	})
}

func TestSaysWhatFailed(t *testing.T) {
	eachVariant(t, func(t *testing.T, n *node) {
		n.iptables("-t", "nat", "-N", "AWS-SNAT-CHAIN-1")
		n.iptables("-t", "nat", "-N", "MINE")
		n.iptables("-t", "nat", "-A", "MINE", "-g", "AWS-SNAT-CHAIN-1")
		_, err := n.trySync(nodeNAT())
		if err == nil || !strings.Contains(err.Error(), "AWS-SNAT-CHAIN-1") {
			t.Errorf("Sync with a chain that is in use: %v, want its name", err)
		}
		if n.untouched() {
			t.Error("untouched after a Sync that failed")
		}
	})
}

func TestNeverNilForFailure(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	nstest.New(t).Do(func() {
		if _, err := New(IPTables, NFT).Sync(cancelled, nodeNAT()); !errors.Is(err, context.Canceled) {
			t.Errorf("Sync when cancelled: %v", err)
		}
		if _, err := New(IPTables, "bpf").Sync(t.Context(), nodeNAT()); !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("Sync of an unknown variant: %v", err)
		}
	})
}

// TestLockIsWaitedFor holds the lock that all legacy programs of a machine
// share, as kube-proxy does during a long restore.
func TestLockIsWaitedFor(t *testing.T) {
	n := &node{nstest.New(t), t, Legacy, New(IPTables, Legacy)}
	lock, err := os.OpenFile("/run/xtables.lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	fd := int(lock.Fd())
	if err := syscall.Flock(fd, syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	released := make(chan struct{})
	time.AfterFunc(500*time.Millisecond, func() {
		syscall.Flock(fd, syscall.LOCK_UN)
		close(released)
	})
	defer func() { <-released }()
	n.sync(nodeNAT())
	n.mustShowWanted()
}

func TestAutoFollowsTheNode(t *testing.T) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			n := &node{nstest.New(t), t, v, New(IPTables, Auto)}
			n.iptables("-t", "mangle", "-N", "KUBE-KUBELET-CANARY")
			other := &node{n.Namespace, t, Legacy, n.proxy}
			if v == Legacy {
				other.v = NFT
			}
			other.iptables("-t", "filter", "-A", "INPUT", "-j", "ACCEPT")
			changes := n.sync(nodeNAT())
			want := fmt.Sprintf("use iptables-%s (", v)
			if !strings.HasPrefix(changes[0], want) {
				t.Errorf("first change %q, want %q...", changes[0], want)
			}
			if left := other.rules(); len(left) != 1 {
				t.Errorf("the other variant has %q", left)
			}
		})
	}
}
