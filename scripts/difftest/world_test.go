package difftest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/scripts/cluster"
)

// Addresses of every node's surroundings, in each family:
//
//	client .1.2 .1.3 -- .1.1 node .2.1 -- .2.2 remote, with remote endpoints
//	                     | eni1, eni2
//	                    pods, which are local endpoints
var (
	clients    = addrs("192.168.1.2", "fd01::2", "192.168.1.3", "fd01::3")
	nodeAddrs  = addrs("192.168.1.1", "fd01::1", "192.168.2.1", "fd02::1") // the first has node ports
	podAddrs   = addrs("10.0.1.1", "fd0a:1::1", "10.0.1.2", "fd0a:1::2")
	remotes    = addrs("10.0.2.1", "fd0a:2::1", "10.0.2.2", "fd0a:2::2", "10.0.2.3", "fd0a:2::3", "10.0.2.4", "fd0a:2::4")
	virtual    = addrs("192.0.2.11", "fd0f::11", "192.0.2.12", "fd0f::12", "192.0.2.13", "fd0f::13", "192.0.2.14", "fd0f::14")
	targets    = []int32{8080, 8081}
	apiAddress = netip.MustParseAddr("192.0.2.1")
)

const (
	serviceBlocks = "10.100.0.0/16,fd00:100::/112"
	nodePortCIDR  = "192.168.1.0/24"
	nodePortCIDR6 = "fd01::/64"
)

// addrs are addresses by family: the IPv4 ones, then the IPv6 ones.
func addrs(all ...string) (by [2][]netip.Addr) {
	for i, a := range all {
		by[i%2] = append(by[i%2], netip.MustParseAddr(a))
	}
	return by
}

// node is a proxy with its surroundings.
type node struct {
	proxy  string
	spaces map[string]*space // node, client, remote, pod1, pod2
}

func prefix() string { return fmt.Sprintf("cwd%d", os.Getpid()) }

func run(t *testing.T, stdin string, command ...string) {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(command, " "), err, out, stdin)
	}
}

// addSpace makes a network namespace, which goes with the test.
func addSpace(t *testing.T, name string) string {
	t.Helper()
	run(t, "", "ip", "netns", "add", name)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "del", name).CombinedOutput(); err != nil {
			t.Errorf("removing %s: %v\n%s", name, err, out)
		}
	})
	run(t, "link set lo up\n", "ip", "-n", name, "-batch", "-")
	return "/run/netns/" + name
}

// newNode makes the i-th node, linked to the API server's namespace.
func newNode(t *testing.T, i int, proxy string) *node {
	t.Helper()
	n := &node{proxy: proxy, spaces: map[string]*space{}}
	full := func(name string) string { return fmt.Sprintf("%s-%d-%s", prefix(), i, name) }
	for _, name := range []string{"node", "client", "remote", "pod1", "pod2"} {
		n.spaces[name] = &space{path: addSpace(t, full(name))}
	}
	run(t, "", "nsenter", "--net="+n.spaces["node"].path, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1",
		"net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
		// Refusals are not rationed: each connection is to see its own.
		"net.ipv4.icmp_ratemask=0", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0")
	var b strings.Builder
	for _, l := range []struct{ name, space, v4, v6 string }{
		{"client", full("client"), "192.168.1.1/24", "fd01::1/64"}, {"remote", full("remote"), "192.168.2.1/24", "fd02::1/64"},
		{"eni1", full("pod1"), "169.254.1.1/32 scope link", "fe80::1/64"}, {"eni2", full("pod2"), "169.254.1.1/32 scope link", "fe80::1/64"},
	} {
		fmt.Fprintf(&b, "link add %s type veth peer name eth0 netns %s\naddr add %s dev %s\naddr add %s dev %s nodad\nlink set %s up\n",
			l.name, l.space, l.v4, l.name, l.v6, l.name, l.name)
	}
	for i := range 2 {
		fmt.Fprintf(&b, "route add %s dev eni%d\nroute add %s dev eni%d\n", podAddrs[0][i], i+1, podAddrs[1][i], i+1)
	}
	fmt.Fprintf(&b, "link add api type veth peer name n%d netns %s-api\naddr add 172.31.%d.1/30 dev api\nlink set api up\nroute add %s via 172.31.%d.2\n",
		i, prefix(), i, apiAddress, i)
	run(t, b.String(), "ip", "-n", full("node"), "-batch", "-")
	run(t, fmt.Sprintf("addr add 172.31.%d.2/30 dev n%d\nlink set n%d up\n", i, i, i), "ip", "-n", prefix()+"-api", "-batch", "-")

	join := func(name string, own []string, via4, via6 string) {
		var b strings.Builder
		for _, a := range own {
			nodad := ""
			if strings.Contains(a, ":") {
				nodad = " nodad"
			}
			fmt.Fprintf(&b, "addr add %s dev eth0%s\n", a, nodad)
		}
		fmt.Fprintf(&b, "link set eth0 up\nroute add default via %s dev eth0 onlink\nroute add default via %s dev eth0\n", via4, via6)
		run(t, b.String(), "ip", "-n", full(name), "-batch", "-")
	}
	join("client", []string{"192.168.1.2/24", "192.168.1.3/24", "fd01::2/64", "fd01::3/64"}, "192.168.1.1", "fd01::1")
	far := []string{"192.168.2.2/24", "fd02::2/64"}
	for i := range 2 {
		for _, a := range remotes[i] {
			far = append(far, fmt.Sprintf("%s/%d", a, a.BitLen()))
		}
		join(fmt.Sprintf("pod%d", i+1), []string{podAddrs[0][i].String() + "/32", podAddrs[1][i].String() + "/128"}, "169.254.1.1", "fe80::1")
	}
	join("remote", far, "192.168.2.1", "fd02::1")
	run(t, "route add 10.0.2.0/24 via 192.168.2.2\nroute add default via 192.168.2.2\nroute add fd0a:2::/64 via fd02::2\nroute add default via fd02::2\n",
		"ip", "-n", full("node"), "-batch", "-")
	for _, s := range n.spaces {
		s.work(t)
	}
	return n
}

// kubeProxy is the configuration of the real one. It has no limiter: 0 would
// stand for a second.
const kubeProxy = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: %[1]s
hostnameOverride: node
clientConnection: {kubeconfig: %[2]q, qps: 1000, burst: 1000}
conntrack: {maxPerCore: 0, min: 0}
iptables: {minSyncPeriod: 1ms, syncPeriod: 1h}
nftables: {minSyncPeriod: 1ms, syncPeriod: 1h}
detectLocalMode: InterfaceNamePrefix
detectLocal: {interfaceNamePrefix: eni}
nodePortAddresses: ["%[3]s", "%[4]s"]
`

// start starts the node's proxy.
func (n *node) start(t *testing.T, dir, ipamd string, tools cluster.Tools, kubeconfig string) {
	t.Helper()
	who, mode, _ := strings.Cut(n.proxy, " ")
	command := []string{ipamd, "proxy", "--kubeconfig", kubeconfig, "--hostname-override", "node", "--proxy-mode", mode,
		"--conntrack-max-per-core", "0", "--conntrack-min", "0", "--detect-local-mode", "InterfaceNamePrefix", "--pod-interface-name-prefix", "eni",
		"--nodeport-addresses", nodePortCIDR + "," + nodePortCIDR6}
	file := dir + "/" + who + "-" + mode
	if who == "kube-proxy" {
		if err := os.WriteFile(file+".yaml", fmt.Appendf(nil, kubeProxy, mode, kubeconfig, nodePortCIDR, nodePortCIDR6), 0o600); err != nil {
			t.Fatal(err)
		}
		command = []string{tools.KubeProxy, "--config", file + ".yaml"}
	}
	p, err := cluster.Start(n.proxy, n.spaces["node"].path, file+".log", nil, command...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of what %s said:\n%s", n.proxy, p.Tail())
		}
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
}
