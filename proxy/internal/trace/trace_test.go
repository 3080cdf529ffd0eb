package trace

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

const (
	node0   = "192.168.1.50" // primary address of the primary ENI
	node1   = "192.168.1.60" // of the secondary one
	pod1    = "192.168.1.51" // on the primary ENI
	pod2    = "192.168.1.61" // on the secondary ENI
	far     = "192.168.2.61" // pod or node elsewhere in the VPC
	second  = "100.64.0.9"   // in the second block of the VPC
	peered  = "10.1.0.9"     // in an excluded block
	outside = "203.0.113.9"
	vip     = "10.100.0.1" // a ClusterIP
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func testNode(edit func(*ruleset.NodeNAT)) Node {
	nat := ruleset.NodeNAT{
		PrimaryLink: "eth0",
		PrimaryAddr: addr(node0),
		VPCBlocks:   []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/16")},
		Excluded:    []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		NodePorts:   true,
		Mark:        0x80,
		VethPrefix:  "eni",
	}
	edit(&nat)
	return Node{
		Rules:   nat.Ruleset(),
		Mark:    nat.Mark,
		Primary: "eth0",
		Local:   map[netip.Addr]string{addr(node0): "eth0", addr(node1): "eth1"},
		Pods:    map[netip.Addr]Pod{addr(pod1): {"eni1", "eth0"}, addr(pod2): {"eni2", "eth1"}},
	}
}

func asIs(*ruleset.NodeNAT) {}

func external(n *ruleset.NodeNAT) { n.External = true }

func noNodePorts(n *ruleset.NodeNAT) { n.NodePorts = false }

// TestWalks holds every walk of a connection's packets: the first, a later
// one, and the answer.
func TestWalks(t *testing.T) {
	tests := []struct {
		walk      string
		edit      func(*ruleset.NodeNAT)
		in        string
		src, dst  string
		open      string
		replyFrom string // link that the answer comes in by
		reply     string
	}{
		{"W01 pod to pod, one ENI", asIs, "eni1", pod1, pod2, pod1 + " -> " + pod2 + " by eni2", "eni2", pod2 + " -> " + pod1 + " by eni1"},
		{"W03 primary to another node", asIs, "eni1", pod1, far, pod1 + " -> " + far + " by eth0", "eth0", far + " -> " + pod1 + " by eni1"},
		{"W04 in by the secondary ENI", asIs, "eth1", far, pod2, far + " -> " + pod2 + " by eni2", "eni2", pod2 + " -> " + far + " by eth1"},
		{"W05 secondary to another node", asIs, "eni2", pod2, far, pod2 + " -> " + far + " by eth1", "eth1", far + " -> " + pod2 + " by eni2"},
		{"W07 pod to its node", asIs, "eni2", pod2, node0, pod2 + " -> " + node0 + " by local", "", ""},
		{"W09 primary to outside", asIs, "eni1", pod1, outside, node0 + " -> " + outside + " by eth0 marked", "eth0", outside + " -> " + pod1 + " by eni1"},
		{"W09 secondary to outside", asIs, "eni2", pod2, outside, node0 + " -> " + outside + " by eth0 marked", "eth0", outside + " -> " + pod2 + " by eni2"},
		{"W09 without node ports", noNodePorts, "eni2", pod2, outside, node0 + " -> " + outside + " by eth0 marked", "eth0", outside + " -> " + pod2 + " by eni2"},
		{"W10 external SNAT, secondary", external, "eni2", pod2, outside, pod2 + " -> " + outside + " by eth1", "eth1", outside + " -> " + pod2 + " by eni2"},
		{"W11 excluded", asIs, "eni2", pod2, peered, pod2 + " -> " + peered + " by eth1", "eth1", peered + " -> " + pod2 + " by eni2"},
		{"W12 second block", asIs, "eni2", pod2, second, pod2 + " -> " + second + " by eth1", "eth1", second + " -> " + pod2 + " by eni2"},
		{"W21 straight to a pod on the secondary", asIs, "eth1", outside, pod2, outside + " -> " + pod2 + " by eni2", "eni2", pod2 + " -> " + outside + " by eth1"},
		{"W21 with external SNAT", external, "eth1", outside, pod2, outside + " -> " + pod2 + " by eni2", "eni2", pod2 + " -> " + outside + " by eth1"},
	}
	for _, test := range tests {
		t.Run(test.walk, func(t *testing.T) {
			n := testNode(test.edit)
			conn, first, err := n.Open(Packet{In: test.in, Src: addr(test.src), Dst: addr(test.dst)})
			if err != nil {
				t.Fatal(err)
			}
			check(t, "first packet", first, test.open)
			if test.replyFrom == "" {
				return
			}
			for _, name := range []string{"answer", "second answer"} {
				fate, err := conn.Reply(test.replyFrom)
				if err != nil {
					t.Fatal(err)
				}
				check(t, name, fate, test.reply)
			}
			next, err := conn.Next(test.in)
			if err != nil {
				t.Fatal(err)
			}
			check(t, "later packet", next, test.open)
		})
	}
}

func check(t *testing.T, name string, got Fate, want string) {
	t.Helper()
	if got.String() != want {
		t.Errorf("%s: %s, want %s\nafter %s", name, got, want, strings.Join(got.Path, "\n      "))
	}
}

// TestMarkBeforeServices shows why our jump must come behind KUBE-SERVICES:
// without the service's DNAT, the address lies outside of the VPC.
func TestMarkBeforeServices(t *testing.T) {
	_, fate, err := testNode(asIs).Open(Packet{In: "eni2", Src: addr(pod2), Dst: addr(vip)})
	if err != nil {
		t.Fatal(err)
	}
	check(t, "service address without DNAT", fate, node0+" -> "+vip+" by eth0 marked")
}

func TestPathNamesRules(t *testing.T) {
	_, fate, err := testNode(asIs).Open(Packet{In: "eni2", Src: addr(pod2), Dst: addr(outside)})
	if err != nil {
		t.Fatal(err)
	}
	var chains []string
	for _, step := range fate.Path {
		chain, _, _ := strings.Cut(step, ":")
		chains = append(chains, chain)
	}
	got := strings.Join(chains, ", ")
	want := "mangle PREROUTING, nat PREROUTING, nat AWS-CONNMARK-CHAIN-0, nat PREROUTING, nat POSTROUTING, nat AWS-SNAT-CHAIN-0"
	if got != want {
		t.Errorf("path %s, want %s", got, want)
	}
}

func TestJumpToNowhere(t *testing.T) {
	n := testNode(asIs)
	n.Rules[1].Chains = nil
	if _, _, err := n.Open(Packet{In: "eni2", Src: addr(pod2), Dst: addr(outside)}); err == nil {
		t.Error("a jump to a chain that does not exist was followed")
	}
}
