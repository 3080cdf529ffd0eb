package datapath

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// dual is the world of twoENIs, where the pods a and b have IPv6 addresses, too.
func dual(t *testing.T, w *world) {
	t.Helper()
	twoENIs(t, w)
	for i := range w.book.enis {
		w.book.enis[i].Prefixes6 = []netip.Prefix{netip.MustParsePrefix("2001:db8::/80")}
	}
	w.book.held[0].Second, w.book.held[1].Second = netip.MustParseAddr("2001:db8::20"), netip.MustParseAddr("2001:db8::30")
	w.step()
}

// What a dual-stack pod has on the host is kept for both families, beside what
// is there for IPv4 alone.
func TestDualStack(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		dual(t, w)
		w.inPlace()
		for _, c := range []struct {
			args []string
			want []string
		}{
			{[]string{"-6", "rule"}, []string{"512:	from all to 2001:db8::20 lookup main", "512:	from all to 2001:db8::30 lookup main", "1536:	from 2001:db8::30 lookup 2"}},
			{[]string{"-6", "route"}, []string{"2001:db8::20 dev enia", "2001:db8::30 dev enib"}},
			{[]string{"-6", "route", "show", "table", "2"}, []string{"default via fe80:ec2::1 dev eth1"}},
		} {
			got := ip(t, c.args...)
			for _, want := range c.want {
				if !strings.Contains(got, want) {
					t.Errorf("ip %v lacks %q:\n%s", c.args, want, got)
				}
			}
		}
		if changes := w.step(); len(changes) > 0 {
			t.Errorf("a second step changes %v", changes)
		}
		ip(t, "-6", "rule", "del", "from", "2001:db8::30")
		ip(t, "-6", "route", "del", "2001:db8::20")
		want := []string{"add route 2001:db8::20 dev enia scope link (missing)", "add rule 1536:	from 2001:db8::30 lookup 2 (missing)"}
		if diff := cmp.Diff(want, w.step()); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		w.book.held = w.book.held[:1]
		w.step()
		if got := ip(t, "-6", "rule") + ip(t, "-6", "route"); strings.Contains(got, "2001:db8::30") {
			t.Errorf("left of a pod that is gone:\n%s", got)
		}
	})
}

// A pod without a record is adopted with both addresses; two addresses of one
// family are two pods'.
func TestAdoptDualStack(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		dual(t, w)
		b := w.book.held[1]
		w.book.held = w.book.held[:1]
		if err := w.path.AdoptPods(); err != nil {
			t.Fatal(err)
		}
		want := pool.Assignment{Key: pool.Key{ContainerID: "adopted"}, Address: b.Address, Second: b.Second, Link: b.Link, Device: 1, Adopted: true}
		if diff := cmp.Diff([]pool.Assignment{want}, w.book.held[1:], cmp.Comparer(func(x, y netip.Addr) bool { return x == y })); diff != "" {
			t.Errorf("adopted (-want +got):\n%s", diff)
		}
		if changes := w.step(); len(changes) > 0 {
			t.Errorf("changes for a pod that runs: %v", changes)
		}
	})
	two := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.1")}
	if got := byPod(two); len(got) != 2 || got[0] != [2]netip.Addr{two[0]} {
		t.Errorf("%v, want each for itself", got)
	}
}
