package nft

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// stop is a context that ends after some looks at it.
type stop struct {
	context.Context
	left int
}

func (s *stop) Err() error {
	if s.left--; s.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestStoppedHalfway ends a large Sync between its transactions. What can be
// reached is whole, and the next one finishes.
func TestStoppedHalfway(t *testing.T) {
	n, all := nstest.New(t), load(500, 10)
	table := openIn(t, n, settings4())
	table.chunk = 20 << 10
	setAll(table, all)
	if _, err := table.Sync(&stop{t.Context(), 3}); err == nil {
		t.Fatal("the Sync was not stopped")
	}
	if _, err := table.Sync(t.Context()); err == nil {
		t.Error("a Sync after an error succeeded")
	}
	table = openIn(t, n, settings4())
	f := table.families[0]
	reachable := 0
	for at, e := range f.have {
		if at.set != serviceIPs {
			continue
		}
		reachable++
		v := value(binary.NativeEndian.Uint32([]byte(e.data)))
		if g := f.groups[v.group()]; g == nil || len(g.slots) != 10 {
			t.Errorf("%s is reachable with %v", e.comment, g)
		}
	}
	if reachable == 0 || reachable == 500 {
		t.Errorf("%d services reachable, want some of 500", reachable)
	}
	setAll(table, all)
	mustSync(t, table)
	table = openIn(t, n, settings4())
	setAll(table, all)
	if changes := mustSync(t, table); changes != 0 {
		t.Errorf("%d changes when all was written", changes)
	}
}

// TestFrontEndsMove gives one service what another one had, in one Sync.
func TestFrontEndsMove(t *testing.T) {
	n := nstest.New(t)
	table := openIn(t, n, settings4())
	a, b := portOf(1, 3), portOf(2, 3)
	set := func(ports ...service.ServicePort) string {
		for _, p := range ports {
			table.Set(p.Name.Key, []service.ServicePort{p})
		}
		mustSync(t, table)
		return n.Run("nft", "list", "map", "inet", tableName, "service-ips")
	}
	set(a, b)
	for range 10 { // the order of services within a Sync is not fixed
		a.ClusterIP, b.ClusterIP = b.ClusterIP, a.ClusterIP
		list := set(a, b)
		for _, p := range []service.ServicePort{a, b} {
			if want := p.ClusterIP.String() + ` . tcp . 80 comment "` + p.Name.String() + `"`; !strings.Contains(list, want) {
				t.Fatalf("no %s in\n%s", want, list)
			}
		}
	}
	gone := a.Name.Key
	b.ClusterIP = a.ClusterIP
	table.Set(gone, nil)
	if list := set(b); strings.Contains(list, gone.Name) || !strings.Contains(list, b.Name.Name) {
		t.Errorf("after a move and a deletion:\n%s", list)
	}
}

// TestBothFamilies are in one table, and apart.
func TestBothFamilies(t *testing.T) {
	l4, l6 := newLab(t, v4), newLab(t, v6)
	for _, l := range []*lab{l4, l6} {
		l.node.Do(func() {
			var err error
			if l.table, err = Open(t.Context(), []ruleset.Settings{l4.settings, l6.settings}); err != nil {
				t.Fatal(err)
			}
		})
		defer l.table.Close()
		l.put("1", l.externalLocal, sticky)
		for range 3 {
			l.want("pod to ClusterIP", l.pods[0], net.JoinHostPort(l.at.vip, "80"), "pod1 sees "+l.at.pods[0])
			l.want("client to node port", l.client, net.JoinHostPort(l.at.node, "30080"), "pod1 sees "+l.at.client)
		}
	}
}

// TestAFailureIsTold names what was being written. Nothing of it is there.
func TestAFailureIsTold(t *testing.T) {
	n := nstest.New(t)
	table := openIn(t, n, settings4())
	a := portOf(1, 3)
	table.Set(a.Name.Key, []service.ServicePort{a})
	mustSync(t, table)
	n.Run("nft", "delete", "table", "inet", tableName)
	b := portOf(2, 3)
	table.Set(b.Name.Key, []service.ServicePort{b})
	_, err := table.Sync(t.Context())
	if err == nil || !strings.Contains(err.Error(), "adding to endpoints") {
		t.Errorf("error %v: want it to say what was written", err)
	}
	if tables := n.Run("nft", "list", "tables"); tables != "" {
		t.Errorf("tables: %s", tables)
	}
}

// TestOthersAreLeftAlone compares another table before and after.
func TestOthersAreLeftAlone(t *testing.T) {
	n := nstest.New(t)
	n.Feed(`table ip causeway {
	chain nat-prerouting {
		type nat hook prerouting priority 0
		tcp dport 1 counter accept
	}
}
table inet other {
	map endpoints {
		type mark : mark
		elements = { 1 : 2 }
	}
}
`, "nft", "-f", "-")
	before := n.Run("nft", "list", "ruleset")
	table := openIn(t, n, settings4())
	setAll(table, load(10, 3))
	mustSync(t, table)
	n.Do(func() {
		if _, err := Remove(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if diff := cmp.Diff(before, n.Run("nft", "list", "ruleset")); diff != "" {
		t.Errorf("tables of others (-before +after):\n%s", diff)
	}
}

func TestSupports(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.238-234.956.amzn2.x86_64": true, "6.12.0": true, "6.1": true, "5.4.17-2136": false, "4.14.355": false, "linux": false,
	} {
		if err := supports(release); (err == nil) != want {
			t.Errorf("supports(%q) = %v", release, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	if _, err := Open(t.Context(), []ruleset.Settings{{Family: service.IPv4}}); err == nil || !strings.Contains(err.Error(), "masquerade mark") {
		t.Errorf("Open without a mark: %v", err)
	}
}

// TestArrange moves no endpoint that stays, if it can.
func TestArrange(t *testing.T) {
	at := func(names string) []netip.AddrPort {
		var out []netip.AddrPort
		for _, c := range names {
			out = append(out, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(c)}), 80))
		}
		return out
	}
	for _, row := range []struct{ have, want, slots string }{
		{"", "abc", "abc"}, {"abc", "abc", "abc"}, {"abc", "cab", "abc"}, {"abc", "ac", "ac"}, {"abc", "bc", "cb"},
		{"abc", "axc", "axc"}, {"abc", "abcd", "abcd"}, {"abc", "x", "x"}, {"abc", "", ""}, {"ab", "aab", "ab"},
	} {
		g := group{slots: at(row.have)}
		got := g.arrange(at(row.want))
		same := len(got) == len(row.slots)
		for i := range min(len(got), len(row.slots)) {
			same = same && got[i] == at(row.slots)[i]
		}
		if !same {
			t.Errorf("%q to %q: %v, want %q", row.have, row.want, got, row.slots)
		}
	}
}
