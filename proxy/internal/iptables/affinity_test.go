package iptables

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/proxy/service"
)

func TestAffinityLists(t *testing.T) {
	for text, want := range map[string]int{"100\n": moreLists, "399": moreLists, "400": 0, "4096\n": 0, "odd": moreLists} {
		file := filepath.Join(t.TempDir(), "ip_list_tot")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := affinityLists(file); got != want {
			t.Errorf("%q: %d lists more, want %d", text, got, want)
		}
	}
	if got := affinityLists(filepath.Join(t.TempDir(), "absent")); got != moreLists {
		t.Errorf("module not loaded: %d lists more, want %d", got, moreLists)
	}
}

// TestManyClients is K5: 150 clients of one endpoint, of which a list remembers
// 100, all stay with it when two more come.
func TestManyClients(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		sticky := func(s *service.Service) { l.balanced(s); s.External, s.Affinity = service.Local, time.Hour }
		to := net.JoinHostPort(l.at.node, "30080")
		var clients []netip.Addr
		for i := range 150 {
			a := fmt.Sprintf("198.18.0.%d", i+1)
			if l.at.family == service.IPv6 {
				a = fmt.Sprintf("2001:db8:e::%x", i+1)
			}
			address(l.client, l.at.host(a), "eth0")
			clients = append(clients, netip.MustParseAddr(a))
		}
		l.put("0", sticky)
		for _, c := range clients {
			if got := l.askFrom(c, to); got != "pod0 sees "+c.String() {
				t.Fatalf("%s: %s", c, got)
			}
		}
		l.put("012", sticky)
		moved := 0
		for _, c := range clients {
			if got := l.askFrom(c, to); !strings.HasPrefix(got, "pod0") {
				moved++
			}
		}
		if moved > 0 {
			t.Errorf("%d of %d clients went to another endpoint", moved, len(clients))
		}
	})
}

// askFrom is ask, by the client, from one of its addresses.
func (l *lab) askFrom(src netip.Addr, to string) string {
	l.t.Helper()
	return l.dial(l.client, net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(src, 0))}, to)
}
