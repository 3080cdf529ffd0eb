package proxy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy"
	"github.com/causeway-cni/causeway/proxy/internal/nstest"
)

// TestTune sets what a network namespace has of its own.
func TestTune(t *testing.T) {
	n := nstest.New(t)
	var tuner proxy.Tuner
	want := config.Conntrack{TCPCloseWait: time.Hour, Liberal: true}
	tune := func() (changed, failed []string) {
		n.Do(func() { changed, failed = tuner.Tune(want, true) })
		return changed, failed
	}
	changed, failed := tune()
	if len(changed) != 3 || len(failed) != 0 {
		t.Errorf("changed %q, failed %q", changed, failed)
	}
	if got := strings.TrimSpace(n.Run("sysctl", "-n", "net.ipv4.conf.all.route_localnet")); got != "1" {
		t.Errorf("route_localnet is %s", got)
	}
	if changed, failed = tune(); len(changed)+len(failed) > 0 {
		t.Errorf("the second time: %q, %q", changed, failed)
	}
}
