package kubeproxy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/kube-proxy/config/v1alpha1"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/proxy/service"
)

// reading turns a configuration into ours, and notes what it cannot use, in
// the words of whoever wrote it: by field in a file, by flag otherwise.
type reading struct {
	kp       *v1alpha1.KubeProxyConfiguration
	file     bool
	faults   []error
	warnings []string
}

func (r *reading) name(flag, field string) string {
	if flag != "" && !r.file || field == "" {
		return "--" + flag
	}
	return field
}

func (r *reading) refuse(flag, field string, value any, want string) {
	r.faults = append(r.faults, fmt.Errorf("%s %q: want %s", r.name(flag, field), fmt.Sprint(value), want))
}

func (r *reading) warn(flag, field string, value any, why string) {
	r.warnings = append(r.warnings, fmt.Sprintf("%s %q makes no difference: %s", r.name(flag, field), fmt.Sprint(value), why))
}

// config is the configuration in our terms; it counts if there are no faults.
func (r *reading) config() Config {
	r.checkUnused()
	kp := r.kp
	c := Config{
		Kube:      config.Kube{Kubeconfig: kp.ClientConnection.Kubeconfig, NodeName: strings.ToLower(strings.TrimSpace(kp.HostnameOverride))},
		NodeAddr:  r.nodeAddr(),
		Verbosity: int(kp.Logging.Verbosity),
		Conntrack: r.conntrack(),
	}
	c.Proxy.Mode = r.mode()
	c.Proxy.Pods = r.pods()
	c.Proxy.NodePortAddrs = r.nodePortAddrs(c.Proxy.Mode)
	c.Proxy.HealthAddr = r.listen("healthz-bind-address", "healthzBindAddress", kp.HealthzBindAddress)
	c.Proxy.MetricsAddr = r.listen("metrics-bind-address", "metricsBindAddress", kp.MetricsBindAddress)
	if c.Proxy.Mode == config.ProxyNFTables {
		n := kp.NFTables
		c.Proxy.MasqueradeAll, c.Proxy.MasqueradeBit = n.MasqueradeAll, r.bit("", "nftables.masqueradeBit", *n.MasqueradeBit)
		c.SyncPeriod, c.Proxy.Window = r.periods("nftables", n.SyncPeriod.Duration, n.MinSyncPeriod.Duration)
		return c
	}
	t := kp.IPTables
	c.Proxy.LocalhostNodePorts = *t.LocalhostNodePorts
	c.Proxy.MasqueradeAll, c.Proxy.MasqueradeBit = t.MasqueradeAll, r.bit("iptables-masquerade-bit", "iptables.masqueradeBit", *t.MasqueradeBit)
	c.SyncPeriod, c.Proxy.Window = r.periods("iptables", t.SyncPeriod.Duration, t.MinSyncPeriod.Duration)
	return c
}

func (r *reading) mode() config.ProxyMode {
	switch m := config.ProxyMode(r.kp.Mode); m {
	case "", config.ProxyIPTables:
		return config.ProxyIPTables
	case config.ProxyNFTables:
		return m
	}
	r.refuse("proxy-mode", "mode", r.kp.Mode, "iptables or nftables")
	return config.ProxyIPTables
}

func (r *reading) bit(flag, field string, bit int32) int {
	if bit < 0 || bit > 31 {
		r.refuse(flag, field, bit, "0 to 31")
	}
	return int(bit)
}

func (r *reading) periods(section string, sync, window time.Duration) (time.Duration, time.Duration) {
	if sync <= 0 {
		r.refuse("iptables-sync-period", section+".syncPeriod", sync, "more than 0, as 30s")
	}
	if window < 0 || window > sync {
		r.refuse("iptables-min-sync-period", section+".minSyncPeriod", window, fmt.Sprintf("0s to the sync period, %s", sync))
	}
	return sync, window
}

// pods is how pods are told from others. Without a cluster CIDR they are not:
// so it is on EKS, and kube-proxy then takes nobody for a pod.
func (r *reading) pods() config.LocalPods {
	local := r.kp.DetectLocal
	switch r.kp.DetectLocalMode {
	case "", "ClusterCIDR":
		return config.LocalPods{Blocks: r.clusterBlocks()}
	case "NodeCIDR":
		return config.LocalPods{NodeBlocks: true}
	case "BridgeInterface":
		return config.LocalPods{Link: r.link("pod-bridge-interface", "detectLocal.bridgeInterface", local.BridgeInterface)}
	case "InterfaceNamePrefix":
		return config.LocalPods{Link: r.link("pod-interface-name-prefix", "detectLocal.interfaceNamePrefix", local.InterfaceNamePrefix) + "+"}
	}
	r.refuse("detect-local-mode", "detectLocalMode", r.kp.DetectLocalMode, "ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")
	return config.LocalPods{}
}

func (r *reading) link(flag, field, name string) string {
	if name == "" || len(name) > 15 || strings.ContainsAny(name, " /+\t\n") {
		r.refuse(flag, field, name, "the name of a link, or its beginning, of up to 15 characters")
	}
	return name
}

func (r *reading) clusterBlocks() []netip.Prefix {
	if r.kp.ClusterCIDR == "" {
		return nil
	}
	var blocks []netip.Prefix
	bad := false
	for entry := range strings.SplitSeq(r.kp.ClusterCIDR, ",") {
		b, err := service.ParsePrefix(entry)
		bad = bad || err != nil || slices.ContainsFunc(blocks, func(o netip.Prefix) bool { return o.Addr().Is4() == b.Addr().Is4() })
		blocks = append(blocks, b)
	}
	if bad {
		r.refuse("cluster-cidr", "clusterCIDR", r.kp.ClusterCIDR, "a CIDR block, or one of each family, as 10.0.0.0/16,fd00::/64")
	}
	return blocks
}

// nodePortAddrs are, if not said, all in iptables mode and the primary ones in
// nftables mode.
func (r *reading) nodePortAddrs(mode config.ProxyMode) config.NodePortAddrs {
	const primary = "primary"
	all := r.kp.NodePortAddresses
	if len(all) == 0 {
		return config.NodePortAddrs{Primary: mode == config.ProxyNFTables}
	}
	if len(all) == 1 && all[0] == primary {
		return config.NodePortAddrs{Primary: true}
	}
	var out config.NodePortAddrs
	for _, entry := range all {
		b, err := service.ParsePrefix(entry)
		if err != nil {
			r.refuse("nodeport-addresses", "nodePortAddresses", entry, "CIDR blocks, or primary alone")
		}
		out.Blocks = append(out.Blocks, b)
	}
	return out
}

func (r *reading) nodeAddr() netip.Addr {
	a, err := service.ParseAddr(r.kp.BindAddress)
	if err != nil {
		r.refuse("bind-address", "bindAddress", r.kp.BindAddress, "an IP address; 0.0.0.0 or :: for what the Node says")
	}
	if a.IsValid() && a.IsUnspecified() {
		return netip.Addr{}
	}
	return a
}

func (r *reading) listen(flag, field, address string) string {
	if address == "" {
		return ""
	}
	if a, err := netip.ParseAddrPort(address); err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
		r.refuse(flag, field, address, "an IP address and a port, as 0.0.0.0:10256")
	}
	return address
}

func (r *reading) conntrack() config.Conntrack {
	c := r.kp.Conntrack
	entries := func(flag, field string, n int32) int {
		if n < 0 {
			r.refuse(flag, "conntrack."+field, n, "0 or more")
		}
		return int(n)
	}
	idle := func(flag, field string, d time.Duration) time.Duration {
		if d < 0 {
			r.refuse(flag, "conntrack."+field, d, "0s or more")
		}
		return d
	}
	return config.Conntrack{
		MaxPerCore:     entries("conntrack-max-per-core", "maxPerCore", *c.MaxPerCore),
		Min:            entries("conntrack-min", "min", *c.Min),
		TCPEstablished: idle("conntrack-tcp-timeout-established", "tcpEstablishedTimeout", c.TCPEstablishedTimeout.Duration),
		TCPCloseWait:   idle("conntrack-tcp-timeout-close-wait", "tcpCloseWaitTimeout", c.TCPCloseWaitTimeout.Duration),
		UDP:            idle("conntrack-udp-timeout", "udpTimeout", c.UDPTimeout.Duration),
		UDPStream:      idle("conntrack-udp-timeout-stream", "udpStreamTimeout", c.UDPStreamTimeout.Duration),
		Liberal:        c.TCPBeLiberal,
	}
}
