package hostnet

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

func pod(link, ip string, table int) podnet.Assignment {
	return podnet.Assignment{HostLink: link, PodLink: "eth0", MTU: config.DefaultMTU,
		Addresses: []podnet.Address{{IP: netip.MustParseAddr(ip), Gateway: netip.MustParseAddr(config.PodGateway), Table: table}}}
}

// node is the one drawn in the documentation: a pod on each of two ENIs.
func node() Node {
	return Node{
		MTU: config.DefaultMTU, Mark: true, MarkValue: config.ConnectionMark, VethPrefix: config.VethPrefix,
		ExternalServices: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")},
		ENIs: []ENI{
			{Link: "eth0", Primary: true, Table: config.TableMain, Gateway: netip.MustParseAddr("192.168.1.1")},
			{Link: "eth1", Table: Table(1), Gateway: netip.MustParseAddr("192.168.1.1"), Address: netip.MustParseAddr("192.168.1.60")},
		},
		Pods: []podnet.Assignment{
			pod("enib9b00b57dd4", "192.168.1.51", config.TableMain),
			pod("eni69e05c2a0e5", "192.168.1.61", 2),
		},
	}
}

func TestPlan(t *testing.T) {
	golden(t, "testdata/node.golden", Plan(node()))
}

func golden(t *testing.T, file string, got linux.State) {
	t.Helper()
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.Text()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Where pods have IPv6 addresses, the node forwards, and still learns its own
// default route first.
func TestPlanOfDualStack(t *testing.T) {
	n := node()
	for i := range n.ENIs {
		n.ENIs[i].IPv6 = true
	}
	six := netip.MustParseAddr("2001:db8::1")
	n.Pods[1].Addresses = append(n.Pods[1].Addresses, podnet.Address{IP: six, Gateway: podnet.Gateway(six), Table: 2})
	golden(t, "testdata/dual.golden", Plan(n))
	var order []string
	for _, s := range Plan(n).Sysctls {
		if strings.HasPrefix(s.Key, "net/ipv6/conf/all") || strings.HasPrefix(s.Key, "net/ipv6/conf/eth") {
			order = append(order, s.String())
		}
	}
	want := []string{"net.ipv6.conf.all.disable_ipv6 = 0", "net.ipv6.conf.eth0.accept_ra = 2", "net.ipv6.conf.all.forwarding = 1"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Errorf("in this order (-want +got):\n%s", diff)
	}
	inScope(t, n)
}

func TestTable(t *testing.T) {
	for device, want := range map[int]int{0: 254, 1: 2, 14: 15} {
		if got := Table(device); got != want {
			t.Errorf("Table(%d) = %d, want %d", device, got, want)
		}
	}
}

func inScope(t *testing.T, n Node) {
	t.Helper()
	scope, plan := Scope(n), Plan(n)
	for _, r := range plan.Routes {
		if !scope.OwnsRoute(r, false) {
			t.Errorf("route %s is not owned", r)
		}
	}
	for _, r := range plan.Rules {
		if !scope.OwnsRule(r) {
			t.Errorf("rule %s is not owned", r)
		}
	}
}

// All that the plan wants must be in its own scope, or a change of plan would
// leave it behind.
func TestScopeHoldsThePlan(t *testing.T) {
	n := node()
	scope := Scope(n)
	inScope(t, n)
	for _, foreign := range []linux.Route{
		{Table: config.TableMain, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.168.1.1"), Link: "eth0"},
		{Table: config.TableMain, Dst: netip.MustParsePrefix("172.17.0.2/32"), Link: "docker0"},
		{Table: 200, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.168.1.1"), Link: "eth1"},
	} {
		if scope.OwnsRoute(foreign, false) {
			t.Errorf("route %s is not ours", foreign)
		}
	}
	n.ENIs = append(n.ENIs, ENI{Link: "eth2", Table: config.TableMain})
	if own := (linux.Route{Table: config.TableMain, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.168.1.1"), Link: "eth0"}); Scope(n).OwnsRoute(own, false) {
		t.Error("an ENI with the table main made all of main ours")
	}
	if connected := (linux.Route{Table: config.TableMain, Dst: netip.MustParsePrefix("192.168.1.0/24"), Link: "eth1"}); !scope.OwnsRoute(connected, true) {
		t.Errorf("the connected route of a secondary ENI must go: %s", connected)
	}
}
