package nft

import (
	"flag"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

var update = flag.Bool("update", false, "write golden files")

func nodeNAT() ruleset.NodeNAT {
	return ruleset.NodeNAT{
		PrimaryLink: "eth0", PrimaryAddr: netip.MustParseAddr("192.168.1.50"),
		VPCBlocks: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}, Excluded: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16")},
		NodePorts: true, Mark: 0x80, VethPrefix: "eni",
	}
}

// elements is a set's contents, in the kernel's order, which is by hash.
var elements = regexp.MustCompile(`(?s)elements = \{ (.*?) \}\n`)

// sortElements puts the elements of sets in order, one a line.
func sortElements(list string) string {
	return elements.ReplaceAllStringFunc(list, func(s string) string {
		inner := elements.FindStringSubmatch(s)[1]
		parts := strings.Split(inner, ",")
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		slices.Sort(parts)
		return "elements = {\n\t\t\t" + strings.Join(parts, ",\n\t\t\t") + " }\n"
	})
}

// TestListing is what an operator sees.
func TestListing(t *testing.T) {
	l := newLab(t, v4)
	l.nat = nodeNAT()
	l.settings.LocalhostNodePorts = true
	l.settings.NodePortAddrs = []netip.Addr{netip.MustParseAddr(l.at.node)}
	l.open()
	l.put("01", l.externalLocal, sticky, func(s *service.Service) {
		s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("192.168.7.0/24")}
	})
	l.tracker.SetService(service.Service{
		Key: service.Key{Namespace: "ns", Name: "empty"}, Type: service.NodePort, ClusterIPs: []netip.Addr{netip.MustParseAddr("10.100.0.9")},
		Ports: []service.Port{{Name: "http", Protocol: service.TCP, Port: 80, NodePort: 30090}},
	})
	l.sync()
	got := regexp.MustCompile(`comment "[0-9a-f]{16} [0-9a-f]{16} [0-9a-f]{16}"`).ReplaceAllString(sortElements(l.list()), `comment "sums"`)
	const file = "testdata/table.nft"
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
		t.Errorf("listing (-want +got):\n%s", diff)
	}
}
