package iptables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// TestServicesAsSaved feeds the golden files of services to the kernel, and
// wants back from it what they say, word by word: so a saved rule can be held
// against a wanted one, and the files are what an operator sees.
func TestServicesAsSaved(t *testing.T) {
	files, err := filepath.Glob("../ruleset/testdata/services*.iptables")
	if err != nil || len(files) < 8 {
		t.Fatalf("golden files %q, %v", files, err)
	}
	for _, file := range files {
		for _, v := range []Variant{NFT, Legacy} {
			t.Run(filepath.Base(file)+"/"+string(v), func(t *testing.T) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				program := program(v, service.IPv4)
				if strings.HasSuffix(file, "ipv6.iptables") {
					program = "ip6tables-" + string(v)
				}
				ns := nstest.New(t)
				ns.Feed(string(text), program+"-restore")
				want, got := rulesByChain(string(text)), rulesByChain(ns.Run(program+"-save"))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("rules (-golden +kernel):\n%s", diff)
				}
			})
		}
	}
}

// rulesByChain is the rules of every chain of a text, in their order.
func rulesByChain(text string) map[string][]string {
	chains := map[string][]string{}
	table := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "*"); ok {
			table = name
		}
		if rule, ok := strings.CutPrefix(line, "-A "); ok {
			chain, _, _ := strings.Cut(rule, " ")
			chains[table+" "+chain] = append(chains[table+" "+chain], rule)
		}
	}
	return chains
}
