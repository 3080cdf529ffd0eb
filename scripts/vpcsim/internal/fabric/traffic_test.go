package fabric

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/echo"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// TestSourceCheck sends from addresses that the ENI has and has not.
func TestSourceCheck(t *testing.T) {
	l := newLab(t)
	l.serve("b")
	l.must("a", "ip addr add 10.0.0.11/32 dev eth0", "ip addr add 10.0.0.21/32 dev lo", "ip addr add 10.0.0.99/32 dev lo")
	l.expect("a", "10.0.0.10", "10.0.1.10", "10.0.0.10")
	l.expect("a", "10.0.0.11", "10.0.1.10", "10.0.0.11")
	l.expectDrops()

	// .21 is an address of a's other ENI, and routed to it; .99 is no one's.
	l.expect("a", "10.0.0.21", "10.0.1.10", "")
	l.expectDrops("a a0 source-address")
	l.secondENI()
	l.must("a", "ip rule add from 10.0.0.21 lookup 2")
	l.expect("a", "10.0.0.21", "10.0.1.10", "10.0.0.21")
	l.expect("a", "10.0.0.99", "10.0.1.10", "")
	before := l.drops()

	// Without the check any source goes out; the MAC still has to be right.
	l.view.Interfaces[0].SourceDestCheck = false
	l.sync()
	l.expect("a", "10.0.0.21", "10.0.1.10", "10.0.0.21")
	l.expectDrops(before...)
	l.must("a", "ip link set eth0 address 0a:00:00:00:ff:ff", "ip route replace default via 10.0.0.1 dev eth0")
	l.expect("a", "10.0.0.10", "10.0.1.10", "")
	l.expectDrops("a a0 source-address", "a a0 source-mac")
}

// TestHealthyIsSilent lets a node boot, talk IPv4 and IPv6 and meet its
// neighbours: the count of drops stays empty.
func TestHealthyIsSilent(t *testing.T) {
	l := newLab(t)
	l.serve("b")
	l.serve(Internet)
	l.secondENI()
	l.expect("a", "", "10.0.1.10", "10.0.0.10")
	l.expect("a", "10.0.0.20", "10.0.1.10", "10.0.0.20")
	l.ping("a", "10.0.0.1")
	if got := l.probe("a", "tcp", "", InternetAddr6.String(), 5*time.Second); got != "2600:1f14:1:1::10" {
		t.Errorf("over IPv6 the internet saw %q", got)
	}
	l.expectDrops()
}

// TestARP asks who has what: gateway and assigned addresses are answered,
// others are silence.
func TestARP(t *testing.T) {
	l := newLab(t)
	l.view.Interfaces[1].Node = "b" // 10.0.0.20 on another node of the subnet
	l.sync()
	for _, target := range []string{"10.0.0.1", "10.0.0.20", "10.0.0.77", "169.254.1.1", "203.0.113.10"} {
		l.run("a", "ip route replace "+target+" dev eth0 scope link")
		l.probe("a", "udp", "", target, 200*time.Millisecond)
	}
	neigh := l.must("a", "ip neigh show dev eth0")
	for target, answered := range map[string]bool{
		"10.0.0.1": true, "10.0.0.20": true, "10.0.0.77": false, "169.254.1.1": false, "203.0.113.10": false,
	} {
		if got := strings.Contains(neigh, target+" lladdr"); got != answered {
			t.Errorf("ARP for %s answered: %t, want %t\n%s", target, got, answered, neigh)
		}
	}
}

// TestPrefix delivers to any address of a delegated prefix.
func TestPrefix(t *testing.T) {
	l := newLab(t)
	l.view.Interfaces[2].Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.1.32/28")}
	l.sync()
	l.serve("b")
	l.must("b", "ip addr add 10.0.1.33/32 dev lo", "ip addr add 10.0.1.47/32 dev lo", "ip addr add 10.0.1.48/32 dev lo")
	l.expect("a", "", "10.0.1.33", "10.0.0.10")
	l.expect("a", "", "10.0.1.47", "10.0.0.10")
	l.expect("a", "", "10.0.1.48", "")
	l.expectDrops()
}

// TestGateways walks to the internet by both kinds of gateway and to the peer.
func TestGateways(t *testing.T) {
	l := newLab(t)
	l.serve(Internet)
	l.serve(Peer)
	l.serve("a")
	internet := InternetAddr.String()
	l.expect("a", "", internet, "198.51.100.7")
	l.expect("b", "", internet, NATAddr.String())
	l.expect(Internet, "", "198.51.100.7", internet)
	l.expect(Internet, InternetAddrs[1].String(), "198.51.100.7", InternetAddrs[1].String())
	l.expect(Internet, "", "10.0.0.10", "")
	l.expect("a", "", "172.31.0.10", "10.0.0.10")
	l.expect(Peer, "", "10.0.0.10", "172.31.0.10")
	l.expectDrops()

	// An address without a public one goes nowhere.
	l.must("a", "ip addr add 10.0.0.11/32 dev eth0")
	l.expect("a", "10.0.0.11", internet, "")
	l.expectDrops("a a0 no-public-address")

	// The default route of a subnet changes while packets flow.
	l.view.Subnets[0].Egress, l.view.Subnets[1].Egress = vpc.EgressNAT, vpc.EgressNone
	l.sync()
	l.expect("a", "10.0.0.11", internet, NATAddr.String())
	l.expect("b", "", internet, "")
	l.expectDrops("a a0 no-public-address")
}

// TestMTU keeps 9001 bytes inside the VPC and tells senders of 1500 outside.
func TestMTU(t *testing.T) {
	l := newLab(t)
	for target, want := range map[string]string{"10.0.1.10": "", InternetAddr.String(): "mtu 1500"} {
		p := echo.Probe{Proto: "udp", Target: target + ":9000", Size: 1473, Wait: 100 * time.Millisecond}
		if _, err := l.ask("a", p); err == nil {
			t.Fatalf("%s answered, though there is no server", target)
		}
		if got := l.must("a", "ip route get "+target); strings.Contains(got, "mtu") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("after 1501 bytes to %s, path MTU want %q: %s", target, want, got)
		}
	}
}
