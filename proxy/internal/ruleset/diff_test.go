package ruleset

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const kube = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-POSTROUTING - [0:0]
%s-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
%s
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 22 -j ACCEPT
%s
COMMIT
`

func TestDiff(t *testing.T) {
	tests := []struct {
		name string
		have string
		node NodeNAT
		want []string
	}{
		{
			name: "takes aws-node's rules as they are",
			have: awsNode(t),
			node: plain(),
		},
		{
			name: "an empty node",
			node: plain(),
			want: []string{
				"nat: create AWS-CONNMARK-CHAIN-0 (missing)",
				"nat: create AWS-SNAT-CHAIN-0 (missing)",
				`mangle: insert PREROUTING 1 -i eth0 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80 (missing)`,
				`mangle: insert PREROUTING 2 -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80 (missing)`,
				`mangle: insert PREROUTING 3 -i vlan+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80 (missing)`,
				`nat: insert PREROUTING 1 -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0 (missing)`,
				`nat: insert PREROUTING 2 -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80 (missing)`,
				`nat: insert POSTROUTING 1 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0 (missing)`,
				"nat: rewrite AWS-CONNMARK-CHAIN-0 to 2 rules (new chain)",
				"nat: rewrite AWS-SNAT-CHAIN-0 to 2 rules (new chain)",
			},
		},
		{
			name: "a block more rewrites both chains and nothing else",
			have: awsNode(t),
			node: with(func(n *NodeNAT) { n.VPCBlocks = prefixes("192.168.0.0/16 100.64.0.0/16") }),
			want: []string{
				"nat: rewrite AWS-CONNMARK-CHAIN-0 to 3 rules (content differs)",
				"nat: rewrite AWS-SNAT-CHAIN-0 to 3 rules (content differs)",
			},
		},
		{
			name: "external SNAT empties chains before it takes jumps out",
			have: awsNode(t),
			node: with(func(n *NodeNAT) { n.External = true }),
			want: []string{
				"nat: rewrite AWS-CONNMARK-CHAIN-0 to 0 rules (not wanted)",
				"nat: rewrite AWS-SNAT-CHAIN-0 to 0 rules (not wanted)",
				`nat: delete PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0 (not wanted)`,
				`nat: delete PREROUTING -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80 (not wanted)`,
				`nat: delete POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0 (not wanted)`,
				"nat: drop AWS-CONNMARK-CHAIN-0 (not wanted)",
				"nat: drop AWS-SNAT-CHAIN-0 (not wanted)",
			},
		},
		{
			name: "the primary's link has another name now",
			have: awsNode(t),
			node: with(func(n *NodeNAT) { n.PrimaryLink = "ens5" }),
			want: []string{
				`mangle: insert PREROUTING 2 -i ens5 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80 (missing)`,
				`mangle: delete PREROUTING -i eth0 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80 (not wanted)`,
			},
		},
		{
			name: "one chain for every block, as older aws-node wrote them",
			have: oldAWSNode,
			node: with(func(n *NodeNAT) { n.NodePorts, n.External = false, true }),
			want: []string{
				"nat: rewrite AWS-SNAT-CHAIN-0 to 0 rules (not wanted)",
				"nat: rewrite AWS-SNAT-CHAIN-1 to 0 rules (not wanted)",
				`nat: delete PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -m state --state NEW -j AWS-CONNMARK-CHAIN-0 (not wanted)`,
				`nat: delete POSTROUTING -m comment --comment "AWS SNAT CHAN" -j AWS-SNAT-CHAIN-0 (not wanted)`,
				"nat: drop AWS-CONNMARK-CHAIN-0 (not wanted)",
				"nat: drop AWS-SNAT-CHAIN-0 (not wanted)",
				"nat: drop AWS-SNAT-CHAIN-1 (not wanted)",
			},
		},
		{
			name: "a jump that stands before KUBE-SERVICES goes behind it",
			have: fmt.Sprintf(kube, "-A PREROUTING -i eni+ -m comment --comment \"AWS, outbound connections\" -j AWS-CONNMARK-CHAIN-0\n", "", ""),
			node: with(func(n *NodeNAT) { n.NodePorts = false }),
			want: []string{
				"nat: create AWS-CONNMARK-CHAIN-0 (missing)",
				"nat: create AWS-SNAT-CHAIN-0 (missing)",
				`mangle: insert PREROUTING 2 -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80 (missing)`,
				`nat: insert PREROUTING 3 -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0 (out of order)`,
				`nat: insert PREROUTING 4 -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80 (missing)`,
				`nat: insert POSTROUTING 2 -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0 (missing)`,
				"nat: rewrite AWS-CONNMARK-CHAIN-0 to 2 rules (new chain)",
				"nat: rewrite AWS-SNAT-CHAIN-0 to 2 rules (new chain)",
				`nat: delete PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0 (not wanted)`,
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			have := parse(t, test.have)
			var got []string
			for _, c := range Diff(have, test.node.Ruleset()) {
				got = append(got, c.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
			settled(t, have, test.node.Ruleset())
		})
	}
}

const oldAWSNode = `*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:AWS-CONNMARK-CHAIN-0 - [0:0]
:AWS-SNAT-CHAIN-0 - [0:0]
:AWS-SNAT-CHAIN-1 - [0:0]
-A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -m state --state NEW -j AWS-CONNMARK-CHAIN-0
-A POSTROUTING -m comment --comment "AWS SNAT CHAN" -j AWS-SNAT-CHAIN-0
-A AWS-SNAT-CHAIN-0 ! -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAN" -j AWS-SNAT-CHAIN-1
-A AWS-SNAT-CHAIN-1 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.50 --random
COMMIT
`

// awsNode is a node with kube-proxy and aws-node.
func awsNode(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("testdata/aws-node.iptables")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func parse(t *testing.T, text string) Saved {
	t.Helper()
	saved, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return saved
}

// settled applies the diff, and fails unless what was foreign kept its order
// and a second diff is empty.
func settled(t *testing.T, have Saved, want Ruleset) {
	t.Helper()
	foreign := foreignRules(have)
	after := clone(have)
	for _, c := range Diff(have, want) {
		if err := apply(after, c); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
	if diff := cmp.Diff(foreign, foreignRules(after)); diff != "" {
		t.Errorf("foreign rules changed (-before +after):\n%s", diff)
	}
	if again := Diff(after.saved(), want); len(again) > 0 {
		t.Errorf("a second diff is not empty: %q\nfrom %v", again, after)
	}
}

// TestDiffSettles walks at random between settings, with rules lost, doubled
// and shuffled, and others' rules between ours.
func TestDiffSettles(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var pool []Line
	for _, n := range nodes {
		for _, table := range n.Ruleset() {
			for _, b := range table.Base {
				for _, r := range b.Rules {
					pool = append(pool, r.line())
				}
			}
		}
	}
	pool = append(pool, line(t, "-j KUBE-SERVICES"), line(t, "-j KUBE-POSTROUTING"), line(t, "-p tcp -j ACCEPT"),
		line(t, "-i eni+ -j AWS-CONNMARK-CHAIN-7"))
	for range 300 {
		have := Saved{
			{"nat", []SavedChain{{Name: "PREROUTING"}, {Name: "POSTROUTING"}, {Name: "AWS-SNAT-CHAIN-0"}, {Name: "AWS-SNAT-CHAIN-3"}}},
			{"mangle", []SavedChain{{Name: "PREROUTING"}}},
		}
		for i := range have {
			for j := range have[i].Chains {
				for range random.IntN(8) {
					have[i].Chains[j].Rules = append(have[i].Chains[j].Rules, pool[random.IntN(len(pool))])
				}
			}
		}
		for _, n := range nodes {
			settled(t, have, n.Ruleset())
			if t.Failed() {
				t.Fatalf("from %v", have)
			}
		}
		settled(t, have, nil)
	}
}

// model is a kernel: chains by table and name.
type model map[[2]string][]Line

func clone(s Saved) model {
	m := model{{"nat", "PREROUTING"}: nil, {"nat", "POSTROUTING"}: nil, {"mangle", "PREROUTING"}: nil}
	for _, t := range s {
		for _, c := range t.Chains {
			m[[2]string{t.Name, c.Name}] = slices.Clone(c.Rules)
		}
	}
	return m
}

func (m model) saved() Saved {
	tables := map[string]*SavedTable{}
	for key, rules := range m {
		if tables[key[0]] == nil {
			tables[key[0]] = &SavedTable{Name: key[0]}
		}
		tables[key[0]].Chains = append(tables[key[0]].Chains, SavedChain{key[1], rules})
	}
	var s Saved
	for _, t := range tables {
		s = append(s, *t)
	}
	return s
}

// apply does what iptables does, and refuses what it refuses.
func apply(m model, c Change) error {
	key := [2]string{c.Table, c.Chain}
	rules, exists := m[key]
	switch {
	case exists == (c.Op == Create):
		return fmt.Errorf("chain exists: %v", exists)
	case c.Op == Create:
		m[key] = nil
	case c.Op == Insert:
		if c.Pos < 1 || c.Pos > len(rules)+1 {
			return fmt.Errorf("no place %d among %d rules", c.Pos, len(rules))
		}
		m[key] = slices.Insert(rules, c.Pos-1, c.Rules[0])
	case c.Op == Rewrite:
		m[key] = c.Rules
	case c.Op == Delete:
		i := slices.IndexFunc(rules, func(l Line) bool { return slices.Equal(l, c.Rules[0]) })
		if i < 0 {
			return fmt.Errorf("no such rule")
		}
		m[key] = slices.Delete(rules, i, i+1)
	case c.Op == Drop:
		for other, rules := range m {
			for _, l := range rules {
				if other[0] == c.Table && l.jump() == c.Chain {
					return fmt.Errorf("chain is still used by %s", other[1])
				}
			}
		}
		delete(m, key)
	}
	return nil
}

func foreignRules(in any) []string {
	m, ok := in.(model)
	if !ok {
		m = clone(in.(Saved))
	}
	var all []string
	for key, rules := range m {
		for i, l := range rules {
			if !ownedChain(key[1]) && !ownedRule(l) {
				all = append(all, fmt.Sprintf("%s %04d %s", strings.Join(key[:], " "), countForeign(rules[:i]), l))
			}
		}
	}
	slices.Sort(all)
	return all
}

func countForeign(rules []Line) int {
	n := 0
	for _, l := range rules {
		if !ownedRule(l) {
			n++
		}
	}
	return n
}
