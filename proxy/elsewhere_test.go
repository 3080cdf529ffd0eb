package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// An endpoint on another node, and what a pod on a secondary ENI must see of
// it: its connection leaves by its own ENI, as itself.
const (
	far     = "192.168.200.9"
	farOwn  = "wire 1 sees " + podAddr
	outside = "203.0.113.9"
	masked  = "wire 0 sees 192.168.1.50"
	farIP   = "10.100.0.7"
)

// theirs are other proxies' rules for farIP, outside of a variant of iptables.
var theirs = []struct {
	name  string
	write func(*node)
}{
	{"kube-proxy's table", func(n *node) {
		n.Feed(fmt.Sprintf("table ip kube-proxy {\n chain nat-prerouting {\n type nat hook prerouting priority dstnat;\n ip daddr %s dnat to %s\n }\n}\n", farIP, far), "nft", "-f", "-")
	}},
	{"the other variant", func(n *node) {
		n.Feed(fmt.Sprintf(`*nat
:KUBE-PROXY-CANARY - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-FAR - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d %s/32 -j KUBE-SVC-FAR
-A KUBE-SVC-FAR -p udp -j DNAT --to-destination %s:7
COMMIT
`, farIP, far), "iptables-"+string(n.other())+"-restore", "--noflush", "-w", "5")
	}},
}

// farService is the same of ours.
func farService() *service.Tracker {
	tr := service.NewTracker()
	s, slice := shop("far", farIP, far)
	s.Ports[0].Protocol, s.Ports[0].Port = service.UDP, 7
	slice.Ports[0].Protocol, slice.Ports[0].Port = service.UDP, 7
	tr.SetService(s)
	tr.SetSlice(slice)
	return tr
}

func (l *lab) reachesFar(when string) {
	l.t.Helper()
	for to, want := range map[string]string{farIP: farOwn, outside: masked} {
		f := l.dial(l.pod, podAddr, netip.AddrPortFrom(netip.MustParseAddr(to), 7).String())
		for i := range 3 {
			if got, _ := f.ask(); got != want {
				l.t.Errorf("%s: packet %d to %s: %q, want %q", when, i, to, got, want)
			}
		}
	}
}

// inTable says whether external SNAT is in our table, and holds that it is not
// in iptables, too.
func (l *lab) inTable(when string, want bool) {
	l.t.Helper()
	table := strings.Contains(l.Run("nft", "list", "tables"), "inet causeway")
	chains := strings.Contains(l.everything(), "AWS-")
	if table != want || chains == want {
		l.t.Errorf("%s: external SNAT is in our table: %t, in iptables: %t; want the table: %t", when, table, chains, want)
	}
}

// TestServedElsewhere begins beside another proxy that serves. Its rules are
// older, so that ours of the same priority would come first and take a
// connection to a service for one that leaves the VPC.
func TestServedElsewhere(t *testing.T) {
	for _, they := range theirs {
		t.Run(they.name, func(t *testing.T) {
			for _, mode := range []Mode{IPTables, NFTables, Off} {
				t.Run(string(mode), func(t *testing.T) {
					eachLab(t, func(t *testing.T, l *lab) {
						they.write(l.node)
						l.proxy = New(mode, l.v)
						l.sync(nodeNAT())
						l.reachesFar("before services are known")
						l.inTable("before services are known", true)
						if changes := l.sync(nodeNAT()); len(changes) > 0 {
							t.Errorf("again: %q", changes)
						}
						if mode == Off {
							l.otherEnds()
							l.sync(nodeNAT())
							l.fromPod(outside, masked)
							l.inTable("after the other has ended", false)
							return
						}
						tr := farService()
						if _, err := l.syncServices(tr, nil, serviceSettings()); err != nil {
							t.Fatal(err)
						}
						l.reachesFar("taken over")
						l.inTable("taken over", mode == NFTables)
						l.sync(nodeNAT())
						l.reachesFar("in the end")
						l.inTable("in the end", mode == NFTables)
						if !l.untouched() {
							t.Error("in the end there is something to do")
						}
					})
				})
			}
		})
	}
}

// otherEnds removes what another proxy wrote.
func (l *lab) otherEnds() {
	l.t.Helper()
	l.Run("sh", "-c", fmt.Sprintf("nft delete table ip kube-proxy 2>/dev/null; iptables-%s -t nat -F; iptables-%[1]s -t nat -X", l.other()))
}

// TestFromNFTables has the daemon start anew in a mode without the table that
// serves: it goes on serving until another does.
func TestFromNFTables(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		tr := farService()
		start := func(m Mode) {
			t.Helper()
			l.proxy = New(m, l.v)
			l.proxy.Expect(serviceSettings())
			l.sync(nodeNAT())
		}
		serve := func() {
			t.Helper()
			if _, err := l.syncServices(tr, nil, serviceSettings()); err != nil {
				t.Fatal(err)
			}
		}
		services := func() bool { return strings.Contains(l.Run("nft", "list", "ruleset"), "chain services") }

		start(NFTables)
		serve()
		start(IPTables)
		l.reachesFar("iptables mode, before services are known")
		serve()
		l.reachesFar("iptables mode")
		l.inTable("iptables mode", false)

		start(NFTables)
		serve()
		l.inTable("nftables mode", true)
		l.proxy = New(IPTables, l.v)
		serve()
		l.inTable("iptables mode, before external SNAT is known", true)
		l.sync(nodeNAT())
		l.inTable("iptables mode, services first", false)

		start(NFTables)
		serve()
		start(Off)
		l.reachesFar("mode off, nobody serves yet")
		l.inTable("mode off, nobody serves yet", true)
		theirs[0].write(l.node)
		if l.untouched() {
			t.Error("mode off: kube-proxy's table is not noticed")
		}
		l.sync(nodeNAT())
		l.reachesFar("mode off, kube-proxy serves")
		if l.inTable("mode off, kube-proxy serves", true); services() {
			t.Error("our services are still there")
		}
	})
}

// TestYieldElsewhere gives services to another proxy whose rules are older than
// ours: the connection mark goes to our table before they do.
func TestYieldElsewhere(t *testing.T) {
	for _, they := range theirs {
		t.Run(they.name, func(t *testing.T) {
			eachLab(t, func(t *testing.T, l *lab) {
				they.write(l.node)
				l.otherEnds() // but its base chain stays, the older one
				l.proxy = New(IPTables, l.v)
				l.sync(nodeNAT())
				if _, err := l.syncServices(farService(), nil, serviceSettings()); err != nil {
					t.Fatal(err)
				}
				they.write(l.node)
				l.proxy = New(Off, l.v)
				l.reachesFar("both serve")
				yield := func(when string, want bool) {
					t.Helper()
					l.Do(func() {
						removed, served, err := l.proxy.Yield(t.Context())
						if err != nil || served != want || len(removed) > 0 != want {
							t.Errorf("%s: removed %q, served %t, error %v; want %t", when, removed, served, err, want)
						}
					})
					l.reachesFar(when)
				}
				yield("before external SNAT is known", false)
				l.sync(nodeNAT())
				l.inTable("external SNAT is known", true)
				yield("external SNAT is known", true)
			})
		})
	}
}

// TestAwaitsNAT starts anew in nftables mode, where services that come first
// would take external SNAT of the run before away.
func TestAwaitsNAT(t *testing.T) {
	l := newLab(t, &node{nstest.New(t), t, NFT, nil})
	awaits := func(when string, m Mode, want bool) {
		t.Helper()
		l.Do(func() {
			if got, err := l.proxy.AwaitsNAT(); got != want || err != nil {
				t.Errorf("%s, mode %s: %t, %v; want %t", when, m, got, err, want)
			}
		})
	}
	for _, m := range []Mode{NFTables, IPTables, Off, NFTables} {
		l.proxy = New(m, NFT)
		awaits("before external SNAT was ever there", m, false)
	}
	l.sync(nodeNAT())
	awaits("written", NFTables, false)
	for _, m := range []Mode{IPTables, Off, NFTables} {
		l.proxy = New(m, NFT)
		awaits("started anew", m, m == NFTables)
	}
	l.sync(nodeNAT())
	awaits("written again", NFTables, false)
}
