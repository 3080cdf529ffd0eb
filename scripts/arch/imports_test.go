package arch

import (
	"slices"
	"testing"
)

// pure packages compute; they do nothing. That makes them testable without a
// kernel, a cloud or a clock, and lets plans be compared as text.
var pure = []string{
	"./cni-plugin/podnet",
	"./ipamd/linux",
	"./ipamd/internal/awsnode",
	"./ipamd/internal/budget",
	"./ipamd/internal/compare",
	"./ipamd/internal/demand",
	"./ipamd/internal/hostnet",
	"./ipamd/internal/limits",
	"./ipamd/internal/pool",
	"./ipamd/internal/sweep",
	"./proxy/internal/ruleset",
	"./proxy/internal/trace",
	"./proxy/service",
}

// effects are standard packages that act, wait or share.
var effects = []string{
	"context", "io/fs", "log", "net", "os", "runtime", "sync", "syscall", "testing", "unsafe",
}

func TestPurePackagesOnlyCompute(t *testing.T) {
	all := load(t)
	all.mustExist(t, pure...)
	for _, path := range pure {
		for _, imported := range all[path].Imports {
			switch {
			case slices.Contains(pure, imported), imported == "./config", imported == "net/netip":
			case !standard(imported):
				t.Errorf("%s imports %s: a pure package imports the standard library, config and pure packages", path, imported)
			case belowAny(imported, effects):
				t.Errorf("%s imports %s: a pure package takes values and returns values", path, imported)
			}
		}
	}
}

// doorways are the only packages that speak to a foreign world, so that its
// types, errors and versions stay in one place.
var doorways = []struct {
	world   string
	imports []string
	at      []string
}{
	{"routing netlink", []string{"github.com/vishvananda/netlink"}, []string{"./ipamd/linux/kernel"}},
	{"network namespaces", []string{"github.com/vishvananda/netns"}, []string{"./ipamd/linux/kernel", "./proxy/internal/nstest"}},
	{"nf_tables", []string{"github.com/google/nftables", "github.com/mdlayher/netlink"}, []string{"./proxy/internal/nft"}},
	{"iptables", []string{"github.com/coreos/go-iptables"}, []string{"./proxy/internal/iptables"}},
	{"Kubernetes", []string{"k8s.io"}, []string{"./ipamd/internal/kube", "./ipamd/internal/kubeproxy"}},
	{"AWS", []string{"github.com/aws"}, []string{"./ipamd/internal/ec2"}},
	{"CNI", []string{"github.com/containernetworking"}, []string{"./cni-plugin", "./cni-plugin/internal/plugin"}},
	{"gRPC", []string{"google.golang.org/grpc"}, []string{"./rpc/service", "./cni-plugin/internal/plugin", "./cni-plugin/internal/unary", "./ipamd/internal/server"}},
}

func TestForeignWorldsHaveOneDoorway(t *testing.T) {
	all := load(t)
	for _, d := range doorways {
		all.mustExist(t, d.at...)
		for path, p := range all {
			if below(path, "./scripts") || slices.Contains(d.at, path) {
				continue
			}
			for _, imported := range p.Imports {
				if belowAny(imported, d.imports) {
					t.Errorf("%s imports %s: the doorway to %s is %q", path, imported, d.world, d.at)
				}
			}
		}
	}
}

// directions say which packages must not reach which.
var directions = []struct {
	reason string
	from   string
	never  []string
	tests  bool // holds for tests, too
}{
	{"the plugin runs once for every pod: its size and start time count",
		"./cni-plugin", []string{"github.com/aws", "k8s.io", "github.com/prometheus"}, false},
	{"the plugin knows the daemon by its protocol",
		"./cni-plugin", []string{"./ipamd/internal", "./proxy"}, true},
	{"the proxy also runs alone, beside another CNI",
		"./proxy", []string{"./ipamd", "./cni-plugin"}, true},
	{"what ships does not depend on what does not",
		"./cni-plugin", []string{"./scripts"}, false},
	{"what ships does not depend on what does not",
		"./ipamd", []string{"./scripts", "./proxy/internal/nstest"}, false},
	{"what ships does not depend on what does not",
		"./proxy", []string{"./scripts"}, false},
	{"the simulator must not share our mistakes",
		"./scripts/vpcsim", []string{"./cni-plugin", "./config", "./ipamd", "./proxy", "./rpc"}, true},
	{"the protocol is spoken by both sides and belongs to neither",
		"./rpc", []string{"./cni-plugin", "./config", "./ipamd", "./proxy", "./scripts"}, true},
	{"settings are at the bottom of everything",
		"./config", []string{"./cni-plugin", "./ipamd", "./proxy", "./rpc", "./scripts"}, true},
	{"the vocabulary of the kernel is shared by plugin and daemon",
		"./ipamd/linux", []string{"./ipamd/internal", "./cni-plugin", "./proxy", "./rpc"}, true},
}

func TestDirections(t *testing.T) {
	all := load(t)
	for _, rule := range directions {
		found := false
		for path, p := range all {
			if !below(path, rule.from) {
				continue
			}
			found = true
			reached := p.Deps
			if rule.tests {
				reached = slices.Concat(reached, p.withTests())
			}
			for _, dep := range slices.Compact(slices.Sorted(slices.Values(reached))) {
				if belowAny(dep, rule.never) {
					t.Errorf("%s reaches %s: %s", path, dep, rule.reason)
				}
			}
		}
		if !found {
			t.Errorf("the rule names %s, which does not exist", rule.from)
		}
	}
}

// TestTestSupportStaysInTests holds that packages made for tests are imported
// by tests alone.
func TestTestSupportStaysInTests(t *testing.T) {
	all := load(t)
	for path, p := range all {
		if slices.Contains(p.Imports, "./proxy/internal/nstest") {
			t.Errorf("%s imports proxy/internal/nstest outside of its tests", path)
		}
	}
}
