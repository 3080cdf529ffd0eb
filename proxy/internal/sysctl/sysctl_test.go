package sysctl

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// defaults are kube-proxy's.
func defaults() config.Conntrack {
	return config.Conntrack{MaxPerCore: 32768, Min: 131072, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour}
}

func TestFor(t *testing.T) {
	const hashsize = "/sys/module/nf_conntrack/parameters/hashsize"
	all := defaults()
	all.UDP, all.UDPStream, all.Liberal = 1500*time.Millisecond, 2*time.Minute, true
	tests := []struct {
		name      string
		c         config.Conntrack
		cores     int
		localhost bool
		want      []Sysctl
	}{
		{"nothing", config.Conntrack{Min: 131072}, 8, false, nil},
		{"defaults", defaults(), 8, false, []Sysctl{
			{netfilter + "nf_conntrack_max", 262144, true},
			{hashsize, 65536, true},
			{netfilter + "nf_conntrack_tcp_timeout_established", 86400, false},
			{netfilter + "nf_conntrack_tcp_timeout_close_wait", 3600, false},
		}},
		{"all", all, 2, true, []Sysctl{
			{netfilter + "nf_conntrack_max", 131072, true},
			{hashsize, 32768, true},
			{netfilter + "nf_conntrack_tcp_timeout_established", 86400, false},
			{netfilter + "nf_conntrack_tcp_timeout_close_wait", 3600, false},
			{netfilter + "nf_conntrack_tcp_be_liberal", 1, false},
			{netfilter + "nf_conntrack_udp_timeout", 2, false},
			{netfilter + "nf_conntrack_udp_timeout_stream", 120, false},
			{"/proc/sys/net/ipv4/conf/all/route_localnet", 1, false},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, For(tt.c, tt.cores, tt.localhost)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	for _, tt := range []struct{ perCore, least, cores, want int }{
		{32768, 131072, 1, 131072},
		{32768, 131072, 4, 131072},
		{32768, 131072, 5, 163840},
		{32768, 131072, 192, 1048576},
		{32768, 0, 0, 0},
		{32768, 131072, 0, 131072},
		{0, 131072, 64, 0},
	} {
		if got := connections(config.Conntrack{MaxPerCore: tt.perCore, Min: tt.least}, tt.cores); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
}

func TestCountCores(t *testing.T) {
	for list, want := range map[string]int{"0": 1, "0-1": 2, "0-3,6,8-9": 7, "": 0, "x": 0, "3-1": 0, "0-": 0, "-1": 0} {
		if got := countCores(list); got != want {
			t.Errorf("%q: %d, want %d", list, got, want)
		}
	}
}

// TestWrite says once what cannot be written: a directory stands for that,
// since root may write every file.
func TestWrite(t *testing.T) {
	w := Writer{Root: t.TempDir()}
	put := func(path, text string) {
		if err := os.WriteFile(filepath.Join(w.Root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("low", "100\n")
	put("high", "9000\n")
	put("equal", "5\n")
	put("odd", "1 2\n")
	want := []Sysctl{{"/low", 500, true}, {"/high", 500, true}, {"/equal", 5, false}, {"/odd", 1, false}, {"/none", 1, false}}
	changed, failed := w.Write(want)
	if diff := cmp.Diff([]string{"/low: 500, was 100"}, changed); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	if len(failed) != 2 || !strings.HasPrefix(failed[0], `/odd: want 1, found "1 2\n"`) || !strings.HasPrefix(failed[1], "/none: want 1, found nothing") {
		t.Errorf("failed %q", failed)
	}
	if changed, failed = w.Write(want); len(changed)+len(failed) > 0 {
		t.Errorf("the second time: %q, %q", changed, failed)
	}
	put("none", "0")
	if changed, _ = w.Write(want); len(changed) != 1 {
		t.Errorf("when it is there: %q", changed)
	}
	if err := os.Remove(filepath.Join(w.Root, "none")); err != nil {
		t.Fatal(err)
	}
	if _, failed = w.Write(want); len(failed) != 1 {
		t.Errorf("a new failure: %q", failed)
	}
}

// TestNamespace writes what belongs to a namespace, and warns of what does not.
func TestNamespace(t *testing.T) {
	n := nstest.New(t)
	c := defaults()
	c.MaxPerCore, c.TCPCloseWait, c.Liberal, c.UDP = 1<<20, 77*time.Second, true, 31*time.Second
	n.Do(func() {
		var w Writer
		changed, failed := w.Write(For(c, 4, true)[2:])
		if len(changed) != 5 || len(failed) != 0 {
			t.Errorf("changed %q, failed %q", changed, failed)
		}
		changed, failed = w.Write(For(c, 4, true)[:1])
		if len(changed) != 0 || len(failed) != 1 || !strings.HasPrefix(failed[0], netfilter+"nf_conntrack_max: want 1048576, found ") {
			t.Errorf("changed %q, failed %q", changed, failed)
		}
		if changed, failed = w.Write(For(c, 4, true)[2:]); len(changed)+len(failed) > 0 {
			t.Errorf("the second time: %q, %q", changed, failed)
		}
		if w.Cores() < 1 {
			t.Errorf("%d cores", w.Cores())
		}
	})
	for _, name := range []string{"timeout_close_wait", "be_liberal"} {
		t.Log(strings.TrimSpace(n.Run("sysctl", "net.netfilter.nf_conntrack_tcp_"+name)))
	}
}
