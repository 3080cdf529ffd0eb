package plugin

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/plugins/pkg/ns"
)

// sysctl runs sysctl in a namespace.
func (w *world) sysctl(space ns.NetNS, setting string) {
	w.t.Helper()
	key, value, _ := strings.Cut(setting, "=")
	if err := space.Do(func(ns.NetNS) error {
		return exec.Command("sh", "-c", "echo "+value+" > /proc/sys/"+key).Run()
	}); err != nil {
		w.t.Fatalf("setting %s: %v", setting, err)
	}
}

// A pod gets both of its addresses in one ADD, also where the runtime switched
// IPv6 off, and loses both in one DEL, also while the daemon is away.
func TestDualStack(t *testing.T) {
	for _, away := range []bool{false, true} {
		w := newWorld(t)
		w.daemon.dual = true
		for _, link := range []string{"all", "default"} {
			w.sysctl(w.pod, "net/ipv6/conf/"+link+"/disable_ipv6=1")
		}
		w.add()
		for i, want := range []string{"10.0.0.1/32 169.254.1.1", "2001:db8::1/128 fe80::1"} {
			ip := w.prev["ips"].([]any)[i].(map[string]any)
			if got := ip["address"].(string) + " " + ip["gateway"].(string); got != want {
				t.Errorf("the result has %s, want %s", got, want)
			}
		}
		if got := w.ip(w.pod, "-6", "route"); !strings.Contains(got, "default via fe80::1 dev eth0") {
			t.Errorf("routes in the pod:\n%s", got)
		}
		if got := w.ip(w.host, "-6", "neigh"); !strings.Contains(got, "2001:db8::1 dev eni0123456789a") || !strings.Contains(got, "PERMANENT") {
			t.Errorf("neighbours on the host:\n%s", got)
		}
		if _, err := w.call(w.plugin.check, "c1", nil); err != nil {
			t.Errorf("CHECK after ADD: %v", err)
		}
		w.sysctl(w.pod, "net/ipv6/conf/eth0/disable_ipv6=1")
		_, err := w.call(w.plugin.check, "c1", nil)
		wantCode(t, err, types.ErrInternal, "in the pod: should be sysctl net.ipv6.conf.eth0.disable_ipv6 = 0", "address 2001:db8::1/128 dev eth0 is missing")
		if away {
			w.daemon.stop()
		}
		if _, err := w.call(w.plugin.del, "c1", nil); err != nil {
			t.Fatal(err)
		}
		left := w.ip(w.host, "rule") + w.ip(w.host, "-6", "rule") + w.ip(w.host, "route") + w.ip(w.host, "-6", "route")
		if strings.Contains(left, "10.0.0.1") || strings.Contains(left, "2001:db8::1") {
			t.Errorf("left after DEL, with the daemon away %t:\n%s", away, left)
		}
	}
}
