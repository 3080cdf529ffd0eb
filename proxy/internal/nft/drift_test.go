package nft

import (
	"net"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

// TestDrift breaks the table in every way, and opens it again.
func TestDrift(t *testing.T) {
	l := newLab(t, v4)
	l.open()
	vip := net.JoinHostPort(l.at.vip, "80")
	full := func() { l.put("012", l.externalLocal, sticky) }
	full()
	want := stable(l.list())
	for _, broken := range []string{
		"flush ruleset",
		"delete table inet causeway",
		"flush chain inet causeway choose",
		"flush chain inet causeway nat-prerouting",
		"flush map inet causeway service-ips",
		"flush map inet causeway endpoints",
		"flush map inet causeway affinity-members",
		"flush set inet causeway hairpins",
		"flush set inet causeway layout",
		"add rule inet causeway services drop",
		"insert rule inet causeway nat-postrouting accept",
		"add set inet causeway foreign { type mark; }",
		"add chain inet causeway foreign; add rule inet causeway foreign drop",
		"delete element inet causeway node-ports { tcp . 30080 }",
		"add element inet causeway node-ports { tcp . 30081 : 0x10100001 }",
		"add element inet causeway endpoints { 0x00000077 . 0x00000000 : 192.168.1.9 . 80 }",
	} {
		t.Run(broken, func(t *testing.T) {
			before, err := l.table.Generation()
			if err != nil {
				t.Fatal(err)
			}
			l.node.Run("nft", broken)
			if after, err := l.table.Generation(); err != nil || after == before {
				t.Errorf("generation %d, %v: want another than %d", after, err, before)
			}
			l.open()
			if l.sync() == 0 {
				t.Error("nothing was repaired")
			}
			if diff := cmp.Diff(want, stable(l.list())); diff != "" {
				t.Errorf("the table (-want +got):\n%s", diff)
			}
			if got := l.ask(l.pods[0], vip); !strings.HasPrefix(got, "pod") {
				t.Errorf("pod to ClusterIP: %s", got)
			}
			l.open()
			if n := l.sync(); n != 0 {
				t.Errorf("%d changes after the repair", n)
			}
		})
	}
}

// volatile is what differs between two listings of the same.
var volatile = regexp.MustCompile(`packets \d+ bytes \d+|\s*elements = \{[^}]*expires[^}]*\}`)

// stable is a listing without counters, clients and sums, its elements in
// order.
func stable(list string) string {
	var kept []string
	for _, block := range strings.Split(volatile.ReplaceAllString(list, ""), "\n\n") {
		if !strings.Contains(block, "set layout") {
			kept = append(kept, sortElements(block))
		}
	}
	return strings.Join(kept, "\n\n")
}

// TestRestart opens the table again and again, with services that come and go
// between, and never writes what is there.
func TestRestart(t *testing.T) {
	n := nstest.New(t)
	all := load(200, 3)
	big := portOf(300, 40)
	all[big.Name.Key] = []service.ServicePort{big}
	table := openIn(t, n, settings4())
	setAll(table, all)
	mustSync(t, table)
	want := sortElements(n.Run("nft", "list", "table", "inet", tableName))

	table = openIn(t, n, settings4())
	setAll(table, all)
	if changes := mustSync(t, table); changes != 0 {
		t.Errorf("%d changes after a restart", changes)
	}
	gone := portOf(7, 3)
	delete(all, gone.Name.Key)
	table = openIn(t, n, settings4())
	setAll(table, all)
	if changes := mustSync(t, table); changes != 4 {
		t.Errorf("%d changes for a service that went while we were away, want 4", changes)
	}
	table.Set(gone.Name.Key, []service.ServicePort{gone})
	mustSync(t, table)
	if diff := cmp.Diff(want, sortElements(n.Run("nft", "list", "table", "inet", tableName))); diff != "" {
		t.Errorf("the table (-want +got):\n%s", diff)
	}
	for k := range all {
		table.Set(k, nil)
	}
	table.Set(gone.Name.Key, nil)
	mustSync(t, table)
	if list := n.Run("nft", "list", "table", "inet", tableName); strings.Contains(list, "default/") {
		t.Errorf("left over:\n%s", list)
	}
	n.Do(func() {
		if _, err := Remove(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := Remove(t.Context()); err != nil {
			t.Errorf("removing what is gone: %v", err)
		}
	})
}
