package fabric

import (
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// TestGuestTouchesDevice has the operating system rename and configure a
// second ENI, as udev and DHCP do.
func TestGuestTouchesDevice(t *testing.T) {
	l := newLab(t)
	l.view.Interfaces[1].DevicePresent = false
	l.sync()
	l.view.Interfaces[1].DevicePresent, l.view.Interfaces[1].Guest = true, vpc.Guest{Rename: true, DHCP: true}
	l.sync()
	if link := l.must("a", "ip -o link show dev ens6"); !strings.Contains(link, "0a:00:00:00:00:a1") || !strings.Contains(link, ",UP") {
		t.Errorf("the device should be up as ens6: %s", link)
	}
	if addr := l.must("a", "ip -o addr show dev ens6"); !strings.Contains(addr, "10.0.0.20/24") {
		t.Errorf("DHCP should have given it its address: %s", addr)
	}
	routes := l.must("a", "ip route show default")
	if first, rest, _ := strings.Cut(routes, "\n"); !strings.Contains(first, "dev eth0") || !strings.Contains(rest, "dev ens6 metric 512") {
		t.Errorf("the primary ENI should stay the way out: %s", routes)
	}
	if c, err := l.plan(l.view); err != nil || !c.empty() {
		t.Errorf("second plan: %v %v", c, err)
	}
}
