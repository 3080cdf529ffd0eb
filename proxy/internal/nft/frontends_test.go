package nft

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// TestHostPorts leads ports of the node to pods, on all addresses or on one.
func TestHostPorts(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		port := func(name, addr string, number uint16, pod int) {
			p := service.ServicePort{
				Name: service.PortName{Key: service.Key{Namespace: "hostport", Name: name}, Protocol: service.TCP}, Family: l.at.family,
				HostPort: service.HostPort{Port: number}, External: service.Local, Anywhere: true,
				LocalOnly: []service.Target{{AddrPort: netip.MustParseAddrPort(net.JoinHostPort(l.at.pods[pod], "8080")), Local: true}},
			}
			if addr != "" {
				p.HostPort.Addr = netip.MustParseAddr(addr)
			}
			l.table.Set(p.Name.Key, []service.ServicePort{p})
		}
		port("all", "", 8081, 0)
		port("one", l.at.node, 8082, 1)
		port("other", l.at.balancer, 8083, 1)
		l.settings.NodePortAddrs = []netip.Addr{netip.MustParseAddr(l.at.balancer)} // which host ports do not ask for
		l.sync()
		at := func(port string) string { return net.JoinHostPort(l.at.node, port) }
		l.want("client", l.client, at("8081"), "pod0 sees "+l.at.client)
		l.want("another pod", l.pods[1], at("8081"), "pod0 sees "+l.at.pods[1])
		l.want("the pod itself", l.pods[0], at("8081"), "pod0 sees "+l.at.node)
		l.want("the node", l.node, at("8081"), "pod0 sees "+l.at.node)
		l.want("client, one address", l.client, at("8082"), "pod1 sees "+l.at.client)
		l.want("client, not that address", l.client, at("8083"), "refused")
		l.table.Set(service.Key{Namespace: "hostport", Name: "all"}, nil)
		l.sync()
		l.want("a port that went", l.client, at("8081"), "refused")
	})
}

// TestRangesWithTheNode lets the balancer's address in as a source.
func TestRangesWithTheNode(t *testing.T) {
	l := newLab(t, v4)
	l.open()
	l.put("1", l.balanced, func(s *service.Service) {
		s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.168.1.50/31"), netip.MustParsePrefix("192.168.1.50/32")}
	})
	balancer := net.JoinHostPort(l.at.balancer, "80")
	l.want("the node", l.node, balancer, "pod1 sees "+l.at.node)
	l.want("a pod", l.pods[0], balancer, "silence")
	l.node.Run("ip", "addr", "add", l.at.balancer+"/32", "dev", "eth0")
	l.want("the node, from the balancer's address", l.node, balancer, "pod1 sees "+l.at.node)
}

func TestLocalhostNodePorts(t *testing.T) {
	l := newLab(t, v4)
	l.node.Run("sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
	l.open()
	l.put("1", l.balanced)
	l.want("closed", l.node, "127.0.0.1:30080", "refused")
	l.settings.LocalhostNodePorts = true
	l.open()
	l.put("1", l.balanced)
	l.want("open", l.node, "127.0.0.1:30080", "pod1 sees "+l.at.node)
	l.settings.NodePortAddrs = []netip.Addr{netip.MustParseAddr(l.at.balancer)}
	l.open()
	l.put("1", l.balanced)
	l.want("elsewhere only", l.client, net.JoinHostPort(l.at.node, "30080"), "refused")
}

// TestDetectors are the other ways to tell pods.
func TestDetectors(t *testing.T) {
	l := newLab(t, v4)
	for name, row := range map[string]struct {
		all    bool
		pods   ruleset.Detector
		client string // as the endpoint sees it
		pod    string
	}{
		"none":          {false, ruleset.Detector{}, l.at.client, l.at.pods[0]},
		"all":           {true, ruleset.Detector{}, l.at.node, l.at.node},
		"block":         {false, ruleset.Detector{Block: netip.MustParsePrefix("192.168.1.60/31")}, l.at.node, l.at.pods[0]},
		"another block": {false, ruleset.Detector{Block: netip.MustParsePrefix("192.168.2.0/24")}, l.at.node, l.at.node},
		"link by name":  {false, ruleset.Detector{Link: "eni0"}, l.at.node, l.at.pods[0]},
		"another link":  {false, ruleset.Detector{Link: "eni"}, l.at.node, l.at.node},
	} {
		l.settings.MasqueradeAll, l.settings.Pods = row.all, row.pods
		l.open()
		l.put("1", l.balanced)
		vip := net.JoinHostPort(l.at.vip, "80")
		l.want(name+", client to ClusterIP", l.client, vip, "pod1 sees "+row.client)
		l.want(name+", pod to ClusterIP", l.pods[0], vip, "pod1 sees "+row.pod)
	}
}

// TestPriorityIsLeftAsFound: values travel in the priority, which must arrive
// as the socket set it. A rule behind ours counts packets by priority.
func TestPriorityIsLeftAsFound(t *testing.T) {
	eachLab(t, func(t *testing.T, l *lab) {
		l.put("012", l.balanced, sticky)
		l.node.Feed(`table inet witness {
			chain out { type filter hook postrouting priority 300; tcp flags & (syn | ack) == syn meta priority 0 counter comment "zero"; tcp flags & (syn | ack) == syn meta priority 6 counter comment "six";
			  tcp flags & (syn | ack) == syn ct mark != 0 counter comment "ct"; }
		}`, "nft", "-f", "-")
		count := func(what string) string {
			for line := range strings.Lines(l.node.Run("nft", "list", "table", "inet", "witness")) {
				if strings.Contains(line, `"`+what+`"`) {
					_, after, _ := strings.Cut(line, "packets ")
					n, _, _ := strings.Cut(after, " ")
					return n
				}
			}
			return "none"
		}
		busy := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, 6) })
			return err
		}}
		vip := net.JoinHostPort(l.at.vip, "80")
		if got := l.askBy(l.node, "tcp", vip, busy); !strings.HasPrefix(got, "pod") {
			t.Errorf("a socket with a priority: %s", got)
		}
		if got := count("six"); got != "1" {
			t.Errorf("%s packets with priority 6, want 1", got)
		}
		for _, from := range []*nstest.Namespace{l.node, l.pods[0], l.client} {
			l.ask(from, vip)
		}
		if got := count("zero"); got != "3" {
			t.Errorf("%s packets with priority 0, want 3", got)
		}
		if got := count("ct"); got != "0" {
			t.Errorf("%s packets with a connection mark, want 0", got)
		}
	})
}
