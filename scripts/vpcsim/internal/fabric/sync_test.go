package fabric

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// TestSyncTwice finds nothing to do the second time, also after the guest has
// done with its devices what it likes.
func TestSyncTwice(t *testing.T) {
	l := newLab(t)
	l.secondENI()
	l.must("a", "ip link set eth1 down", "ip link set eth1 name ens6", "ip addr flush dev eth0")
	c, err := l.plan(l.view)
	if err != nil {
		t.Fatal(err)
	}
	if !c.empty() {
		t.Errorf("second plan is not empty: remove %v, add %v", c.remove, c.add)
	}
	l.sync()
	if out := l.must("a", "ip -o addr show dev eth0"); strings.Contains(out, "10.0.0.10") {
		t.Errorf("sync gave back an address that the guest had removed: %s", out)
	}
}

// TestHotPlug attaches and detaches an ENI and gives the name to the next one.
func TestHotPlug(t *testing.T) {
	l := newLab(t)
	link := l.must("a", "ip -o link show dev eth1")
	if !strings.Contains(link, "mtu 9001") || !strings.Contains(link, "0a:00:00:00:00:a1") || !strings.Contains(link, "state DOWN") {
		t.Errorf("a second ENI should be down, with its MAC and MTU 9001: %s", link)
	}
	if out := l.must("a", "ip -o addr show dev eth1"); out != "" {
		t.Errorf("a second ENI should be bare: %s", out)
	}
	l.view.Interfaces[1].DevicePresent = false
	l.sync()
	if out, err := l.run("a", "ip link show dev eth1"); err == nil {
		t.Errorf("eth1 is still there: %s", out)
	}
	late := eni("eni-0000000000000000a2", "0a:00:00:00:00:a2", "a", "subnet-b", 2, "10.0.1.30")
	l.view.Interfaces[1] = late
	l.sync()
	if out := l.must("a", "ip -o link show dev eth1"); !strings.Contains(out, late.MAC) {
		t.Errorf("the next ENI should have the lowest free name: %s", out)
	}
	// The guest moves the device away and deletes it: a new one comes.
	l.must("a", "ip link del eth1")
	l.sync()
	l.must("a", "ip link show dev eth1")
}

// TestMove moves a secondary address between ENIs.
func TestMove(t *testing.T) {
	l := newLab(t)
	l.serve("b")
	l.must("b", "ip addr add 10.0.0.11/32 dev lo")
	l.expect("b", "10.0.0.11", "10.0.0.1", "")
	moved := l.view.Interfaces[0].Addresses[1]
	l.view.Interfaces[0].Addresses = l.view.Interfaces[0].Addresses[:1]
	l.view.Interfaces[2].Addresses = append(l.view.Interfaces[2].Addresses, moved)
	l.sync()
	l.expect("a", "", "10.0.0.11", "10.0.0.10")
	c, err := l.plan(l.view)
	if err != nil || !c.empty() {
		t.Errorf("plan after the move: %v %v", c, err)
	}
}

// TestBlockAdded gives the VPC a second block while it runs.
func TestBlockAdded(t *testing.T) {
	l := newLab(t)
	l.view.CIDRs = append(l.view.CIDRs, netip.MustParsePrefix("100.64.0.0/16"))
	l.sync()
	l.serve(Peer)
	l.expect("a", "", "100.64.0.10", "10.0.0.10")
	l.view.Subnets = append(l.view.Subnets, vpc.SubnetView{
		Name: "c", ID: "subnet-c", CIDR: netip.MustParsePrefix("100.64.1.0/24"), Egress: vpc.EgressIGW,
	})
	l.view.Nodes = append(l.view.Nodes, vpc.NodeView{Name: "c"})
	l.view.Interfaces = append(l.view.Interfaces, eni("eni-0000000000000000c0", "0a:00:00:00:00:c0", "c", "subnet-c", 0, "100.64.1.10"))
	l.sync()
	l.serve("c")
	l.expect("a", "", "100.64.1.10", "10.0.0.10")
	l.expect(Peer, "", "100.64.1.10", "172.31.0.10")
}

// TestRootUntouched compares what the root namespace has before and after.
func TestRootUntouched(t *testing.T) {
	look := func() string {
		var all strings.Builder
		for _, file := range []string{"/proc/net/route", "/proc/net/dev_snmp6", "/proc/net/fib_trie"} {
			b, err := os.ReadFile(file)
			if err == nil {
				all.Write(b)
			}
		}
		return all.String()
	}
	before := look()
	l := newLab(t)
	if after := look(); after != before {
		t.Errorf("the root namespace's routes changed:\n%s\n---\n%s", before, after)
	}
	spaces, err := namespace.Names(l.name + "-")
	if err != nil || len(spaces) != 8 {
		t.Errorf("namespaces: %v %v, want six places and two nodes", spaces, err)
	}
}
