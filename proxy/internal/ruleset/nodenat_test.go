package ruleset

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

// plain is a node of an EKS cluster with default settings.
func plain() NodeNAT {
	return NodeNAT{
		PrimaryLink: "eth0",
		PrimaryAddr: netip.MustParseAddr("192.168.1.50"),
		VPCBlocks:   []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")},
		NodePorts:   true,
		Mark:        0x80,
		VethPrefix:  "eni",
	}
}

func with(edit func(*NodeNAT)) NodeNAT {
	n := plain()
	edit(&n)
	return n
}

func prefixes(s string) []netip.Prefix {
	var all []netip.Prefix
	for _, f := range strings.Fields(s) {
		all = append(all, netip.MustParsePrefix(f))
	}
	return all
}

var nodes = map[string]NodeNAT{
	"default":        plain(),
	"external":       with(func(n *NodeNAT) { n.External = true }),
	"no-node-ports":  with(func(n *NodeNAT) { n.NodePorts = false }),
	"external-alone": with(func(n *NodeNAT) { n.External, n.NodePorts = true, false }),
	"blocks": with(func(n *NodeNAT) {
		n.PrimaryLink, n.Randomize = "ens5", HashRandom
		n.VPCBlocks = prefixes("192.168.0.0/16 100.64.0.0/16")
		n.Excluded = prefixes("10.1.0.0/16 203.0.113.7/32 100.64.0.0/16")
	}),
	"nothing-translated": with(func(n *NodeNAT) {
		n.Randomize, n.Mark, n.VethPrefix = Sequential, 0x100, "pod"
		n.Excluded = prefixes("0.0.0.0/0")
	}),
}

func TestRulesetGolden(t *testing.T) {
	for name, node := range nodes {
		t.Run(name, func(t *testing.T) {
			if err := node.Validate(); err != nil {
				t.Fatal(err)
			}
			golden(t, name, node.Ruleset().String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".iptables")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("rules differ (-want +got):\n%s", diff)
	}
}

func TestValidateNamesTheField(t *testing.T) {
	tests := []struct {
		want string
		node NodeNAT
	}{
		{`primary link ""`, with(func(n *NodeNAT) { n.PrimaryLink = "" })},
		{`primary link "eth+"`, with(func(n *NodeNAT) { n.PrimaryLink = "eth+" })},
		{`primary link "eth0 -j X"`, with(func(n *NodeNAT) { n.PrimaryLink = "eth0 -j X" })},
		{"primary address invalid IP", with(func(n *NodeNAT) { n.PrimaryAddr = netip.Addr{} })},
		{"primary address fd00::1", with(func(n *NodeNAT) { n.PrimaryAddr = netip.MustParseAddr("fd00::1") })},
		{`veth prefix "pods5"`, with(func(n *NodeNAT) { n.VethPrefix = "pods5" })},
		{"connection mark 0", with(func(n *NodeNAT) { n.Mark = 0 })},
		{"CIDR block 10.0.0.1/16", with(func(n *NodeNAT) { n.Excluded = prefixes("10.0.0.1/16") })},
		{"CIDR block fd00::/8", with(func(n *NodeNAT) { n.VPCBlocks = prefixes("fd00::/8") })},
		{"no VPC CIDR block", with(func(n *NodeNAT) { n.VPCBlocks = nil })},
	}
	for _, test := range tests {
		err := test.node.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Validate() = %v, want an error that begins with %q", err, test.want)
		}
	}
	if err := with(func(n *NodeNAT) { n.External, n.VPCBlocks = true, nil }).Validate(); err != nil {
		t.Errorf("with external SNAT no block is needed: %v", err)
	}
}

func TestParseRandomize(t *testing.T) {
	for _, r := range []Randomize{PRNG, HashRandom, Sequential} {
		got, err := ParseRandomize(r.String())
		if err != nil || got != r {
			t.Errorf("ParseRandomize(%q) = %v, %v", r, got, err)
		}
	}
	if _, err := ParseRandomize("full"); err == nil {
		t.Error("ParseRandomize accepted full")
	}
}
