package cluster

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// wayBack gives services back to kube-proxy, in each of its modes, and cleans up
// behind ipamd then. No connection fails; what is left is kube-proxy's.
func (f *field) wayBack(t *testing.T, many int) {
	for _, to := range []struct{ mode, variant, ours, removed string }{
		{"iptables", "nft", "nftables", "nft: drop table inet causeway"},
		{"iptables", "legacy", "nftables", "nft: drop table inet causeway"},
		{"iptables", "legacy", "iptables", "IPv4 iptables-nft: "}, // ours are in the other variant
		{"nftables", "nft", "iptables", "IPv4 iptables-nft: "},    // which kube-proxy cannot clean up
	} {
		if to.mode == "iptables" && to.variant == "nft" && many > mostNFT {
			continue
		}
		t.Run(fmt.Sprintf("%s to kube-proxy %s-%s", to.ours, to.mode, to.variant), func(t *testing.T) {
			f := &field{f.Field, t, f.ipamd}
			ours := f.start(mode{to.ours, ""})
			f.reach(many-1, time.Minute)
			old, l := f.sessions(), f.load(many, *perSec)
			ended := sync.OnceFunc(old.end)
			defer ended()
			if err := ours.Stop(); err != nil {
				t.Fatal(err)
			}
			peer, err := f.Node.StartKubeProxy(to.mode, to.variant)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				peer.Stop()
				if t.Failed() {
					t.Logf("end of kube-proxy's log:\n%s", peer.Tail())
				}
			})
			count := []string{"sh", "-c", "iptables-" + to.variant + "-save -t nat 2>/dev/null | grep -c '^:KUBE-SVC-'; true"}
			if to.mode == "nftables" {
				count = []string{"sh", "-c", "nft list table ip kube-proxy 2>/dev/null | grep -c 'chain service-'; true"}
			}
			f.awaitCount(many, count...)

			said := f.cleanUp()
			if !strings.Contains(said, to.removed) || !strings.Contains(said, "left: services of another proxy") {
				t.Errorf("cleanup said %q, want it to say %q", said, to.removed)
			}
			pause(t, *lasts/5)
			ended()
			l.end(t)
			left, err := f.Node.Exec("sh", "-c", "nft list tables; iptables-nft-save; iptables-legacy-save")
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(strings.ToLower(left), "causeway") || to.mode == "nftables" && strings.Contains(left, "KUBE-SVC-") ||
				to.variant == "legacy" && strings.Count(left, "*nat") > 1 && strings.Contains(left[:strings.LastIndex(left, "*nat")], "KUBE-SVC-") {
				t.Errorf("of ours is left, after cleanup said %q:\n%s", said, left)
			}
			f.awaitCount(many, count...)
		})
	}
}

// awaitCount waits until a command counts as many as there are, at least.
func (f *field) awaitCount(many int, command ...string) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		text, err := f.Node.Exec(command...)
		var n int
		if err == nil {
			_, err = fmt.Sscan(text, &n)
		}
		if err == nil && n >= many {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("%q counts %q, error %v; want %d", command, text, err, many)
		}
	}
}

// cleanUp runs `ipamd cleanup` on the node, which has a network of its own only:
// the machine's /run is hidden from it.
func (f *field) cleanUp() string {
	f.t.Helper()
	said, err := f.Node.Exec("unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs none /run && exec "+f.ipamd+" cleanup")
	if err != nil {
		f.t.Fatal(err)
	}
	return said
}
