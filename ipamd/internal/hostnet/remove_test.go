package hostnet

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

// TestRemovalUndoesThePlan removes what the plan makes, in an order in which no
// rule leads to an empty table; and not what is in the scope without being ours.
func TestRemovalUndoesThePlan(t *testing.T) {
	n := node()
	have := Plan(n)
	// The operating system's, by an address that somebody gave the ENI.
	have.Routes = append(have.Routes, linux.Route{Table: config.TableMain, Dst: netip.MustParsePrefix("192.168.1.0/24"), Link: "eth1"})
	have.Addrs = append(have.Addrs, linux.Addr{Link: "eth1", Prefix: netip.MustParsePrefix("192.168.1.77/32")})
	var got []string
	for _, c := range Removal(n, have) {
		if c.Op != linux.Delete {
			t.Errorf("%s", c)
		}
		got = append(got, linux.Kind(c.Item)+" "+c.Item.String())
	}
	want := []string{
		"rule 512:\tfrom all to 192.168.1.51 lookup main",
		"rule 512:\tfrom all to 192.168.1.61 lookup main",
		"rule 1024:\tfrom all fwmark 0x80/0x80 lookup main",
		"rule 1535:\tfrom all to 203.0.113.0/24 lookup main",
		"rule 1536:\tfrom 192.168.1.61 lookup 2",
		"route 192.168.1.1 dev eth1 scope link table 2",
		"route default via 192.168.1.1 dev eth1 table 2",
		"route 192.168.1.51 dev enib9b00b57dd4 scope link",
		"route 192.168.1.61 dev eni69e05c2a0e5 scope link",
		"address 192.168.1.60/32 dev eth1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if again := Removal(n, linux.State{}); len(again) > 0 {
		t.Errorf("of nothing: %v", again)
	}
}
