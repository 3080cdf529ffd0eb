package cluster

import (
	"testing"
	"time"
)

// mostNFT is how many services the real kube-proxy gets into iptables-nft within
// a minute; at 5,000 it did not finish in five.
const mostNFT = 1000

// TestUpgradeUnderLoad replaces kube-proxy by ipamd, and changes its mode back
// and forth, and then ipamd by kube-proxy. It wants no connection to fail: there
// are always rules, and two sets of them get along.
func TestUpgradeUnderLoad(t *testing.T) {
	f := newField(t)
	f.write(*services)
	f.echo()
	for _, from := range []mode{{"iptables", "nft"}, {"iptables", "legacy"}, {"nftables", "nft"}} {
		if from == (mode{"iptables", "nft"}) && *services > mostNFT {
			continue
		}
		t.Run("kube-proxy "+from.String(), func(t *testing.T) {
			f := &field{f.Field, t, f.ipamd}
			if err := f.NewNode(t.Context()); err != nil {
				t.Fatal(err)
			}
			peer, err := f.Node.StartKubeProxy(from.mode, from.variant)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { peer.Stop() })
			f.reach(*services-1, time.Minute)
			p := peer
			old, l := f.sessions(), f.load(*services, *perSec)
			for _, to := range []string{from.mode, "nftables", "iptables", "nftables"} {
				pause(t, *lasts/5)
				if err := p.Stop(); err != nil {
					t.Fatal(err)
				}
				p = f.again(mode{mode: to})
			}
			pause(t, *lasts/5)
			old.end()
			l.report(t)
		})
	}
	f.wayBack(t, *services)
}
