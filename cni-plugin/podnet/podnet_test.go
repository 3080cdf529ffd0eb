package podnet

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

func TestVethNameIsWhatOperatorsKnow(t *testing.T) {
	// sha1("kube-system.coredns") begins with these digits.
	if got, want := VethName("eni", "kube-system", "coredns"), "eni96971f43451"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func pod(ip string, table int) Assignment {
	return Assignment{
		HostLink: "eni69e05c2a0e5", PodLink: "eth0", MTU: config.DefaultMTU,
		HostMAC: linux.MAC{2, 0, 0, 0, 0, 1}, PodMAC: linux.MAC{2, 0, 0, 0, 0, 2},
		Addresses: []Address{{IP: netip.MustParseAddr(ip), Gateway: netip.MustParseAddr(config.PodGateway), Table: table}},
	}
}

func TestPlans(t *testing.T) {
	primary, secondary := pod("192.168.1.51", config.TableMain), pod("192.168.1.61", 2)
	both := pod("192.168.1.61", 2)
	six := netip.MustParseAddr("2001:db8::1")
	both.Addresses = append(both.Addresses, Address{IP: six, Gateway: Gateway(six), Table: 2})
	for name, state := range map[string]linux.State{
		"veth": Veth(primary), "host-primary": Host(primary), "host-secondary": Host(secondary), "pod": Pod(secondary),
		"host-dual": Host(both), "pod-dual": Pod(both),
	} {
		want, err := os.ReadFile(filepath.Join("testdata", name+".golden"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), state.Text()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
