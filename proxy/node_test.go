package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// node is a network namespace with a Proxy.
type node struct {
	*nstest.Namespace
	t     *testing.T
	v     Variant
	proxy *Proxy
}

func eachVariant(t *testing.T, test func(t *testing.T, n *node)) {
	for _, v := range []Variant{NFT, Legacy} {
		t.Run(string(v), func(t *testing.T) {
			test(t, &node{nstest.New(t), t, v, New(IPTables, v)})
		})
	}
}

func (n *node) iptables(args ...string) string {
	n.t.Helper()
	return n.Run(append([]string{"iptables-" + string(n.v), "-w"}, args...)...)
}

func (n *node) sync(nat NodeNAT) []string {
	n.t.Helper()
	changes, err := n.trySync(nat)
	if err != nil {
		n.t.Fatalf("Sync: %v, after %q", err, changes)
	}
	return changes
}

func (n *node) trySync(nat NodeNAT) (changes []string, err error) {
	n.t.Helper()
	n.Do(func() { changes, err = n.proxy.Sync(n.t.Context(), nat) })
	return changes, err
}

// untouched says what Untouched says of external SNAT.
func (n *node) untouched() (clean bool) {
	n.t.Helper()
	var err error
	n.Do(func() { clean, _, err = n.proxy.Untouched() })
	if err != nil {
		n.t.Fatal(err)
	}
	return clean
}

// rules lists what iptables-save shows, without comments, counters and empty
// built-in chains.
func (n *node) rules() []string {
	n.t.Helper()
	var rules []string
	table := ""
	for line := range strings.Lines(n.Run("iptables-" + string(n.v) + "-save")) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, ":") && strings.Contains(line, " - "), strings.HasPrefix(line, "-A"):
			rule, _, _ := strings.Cut(line, " [")
			rules = append(rules, table+" "+rule)
		}
	}
	return rules
}

func (n *node) mustShow(want []string) {
	n.t.Helper()
	if diff := cmp.Diff(want, n.rules()); diff != "" {
		n.t.Errorf("rules (-want +got):\n%s", diff)
	}
}

func nodeNAT() NodeNAT {
	return NodeNAT{
		PrimaryLink: "eth0",
		PrimaryAddr: netip.MustParseAddr("192.168.1.50"),
		VPCBlocks:   []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")},
		NodePorts:   true,
		Mark:        0x80,
		VethPrefix:  "eni",
	}
}

// wanted is what nodeNAT looks like on a node with nothing else.
var wanted = []string{
	"nat :AWS-CONNMARK-CHAIN-0 -",
	"nat :AWS-SNAT-CHAIN-0 -",
	`nat -A PREROUTING -i eni+ -m comment --comment "AWS, outbound connections" -j AWS-CONNMARK-CHAIN-0`,
	`nat -A PREROUTING -m comment --comment "AWS, CONNMARK" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80`,
	`nat -A POSTROUTING -m comment --comment "AWS SNAT CHAIN" -j AWS-SNAT-CHAIN-0`,
	`nat -A AWS-CONNMARK-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS CONNMARK CHAIN, VPC CIDR" -j RETURN`,
	`nat -A AWS-CONNMARK-CHAIN-0 -m comment --comment "AWS, CONNMARK" -j CONNMARK --set-xmark 0x80/0x80`,
	`nat -A AWS-SNAT-CHAIN-0 -d 192.168.0.0/16 -m comment --comment "AWS SNAT CHAIN" -j RETURN`,
	`nat -A AWS-SNAT-CHAIN-0 ! -o vlan+ -m comment --comment "AWS, SNAT" -m addrtype ! --dst-type LOCAL -j SNAT --to-source 192.168.1.50 --random-fully`,
	`mangle -A PREROUTING -i eth0 -m comment --comment "AWS, primary ENI" -m addrtype --dst-type LOCAL --limit-iface-in -j CONNMARK --set-xmark 0x80/0x80`,
	`mangle -A PREROUTING -i eni+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80`,
	`mangle -A PREROUTING -i vlan+ -m comment --comment "AWS, primary ENI" -j CONNMARK --restore-mark --nfmask 0x80 --ctmask 0x80`,
}

// byTable puts tables into one order: save lists them by age.
func byTable(rules []string) []string {
	rules = slices.Clone(rules)
	slices.SortStableFunc(rules, func(a, b string) int { return strings.Compare(b[:3], a[:3]) })
	return rules
}

func (n *node) mustShowWanted() {
	n.t.Helper()
	if diff := cmp.Diff(wanted, byTable(n.rules())); diff != "" {
		n.t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// hit sends a packet through AWS-SNAT-CHAIN-0, so that its counters tell
// whether somebody wrote it anew.
func (n *node) hit() {
	n.t.Helper()
	n.Run("ip", "addr", "add", "192.168.1.50/32", "dev", "lo")
	n.Do(func() {
		conn, err := net.Dial("udp", "192.168.1.50:9")
		if err == nil {
			_, err = conn.Write([]byte("hit"))
			conn.Close()
		}
		if err != nil {
			n.t.Errorf("sending a packet: %v", err)
		}
	})
	if out := n.iptables("-t", "nat", "-nvxL", "AWS-SNAT-CHAIN-0"); !strings.Contains(out, "1       31 RETURN") {
		n.t.Fatalf("no packet in the chain:\n%s", out)
	}
}

// transactions changes with every write: nft counts them, and the counters of
// a legacy chain that is written anew start at 0.
func (n *node) transactions() string {
	n.t.Helper()
	if n.v == Legacy {
		var lines strings.Builder // without the remarks, which tell the time
		for line := range strings.Lines(n.Run("iptables-legacy-save", "-c", "-t", "nat")) {
			if !strings.HasPrefix(line, "#") {
				lines.WriteString(line)
			}
		}
		return lines.String()
	}
	var seen string
	n.Do(func() {
		f, err := n.proxy.backend.(*ipTables).backends[0].Fingerprint()
		seen = fmt.Sprint(f, err)
	})
	return seen
}

// keepLines drops iptables' own remarks.
func keepLines(s, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}
