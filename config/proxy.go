package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Kube says how the Kubernetes API is reached.
type Kube struct {
	// Endpoint is the API server, an http or https URL; empty means that
	// Kubeconfig says it. Never a service address: the daemon serves those.
	Endpoint string
	// Kubeconfig is the path of a kubeconfig file; it comes before Endpoint.
	Kubeconfig string
	// NodeName is the name of this node's Node; empty means the host's name.
	NodeName string
	// ServiceHost is the API's service address, which is refused as Endpoint.
	ServiceHost string
}

// Proxy says how services are served on the node.
type Proxy struct {
	Mode ProxyMode
	// Window is the least time from the end of one change of rules to the
	// beginning of the next: what comes meanwhile is written together.
	Window time.Duration
	// Pods tells the node's pods from other sources.
	Pods LocalPods
	// MasqueradeAll translates the source of all that goes to cluster IPs.
	MasqueradeAll bool
	// MasqueradeBit is the bit of the packet mark, 0..31, for "masquerade".
	MasqueradeBit int
	// LocalhostNodePorts gives 127.0.0.1 node ports, too.
	LocalhostNodePorts bool
	// NodePortAddrs are the blocks whose addresses have node ports.
	NodePortAddrs NodePortAddrs
	// HealthAddr is where /healthz and /livez are served.
	HealthAddr string
	// MetricsAddr is where kube-proxy's metrics are; empty for nowhere.
	MetricsAddr string
}

// Conntrack sizes the connection tracking table, as kube-proxy does. A zero
// leaves what the kernel has.
type Conntrack struct {
	MaxPerCore, Min              int // entries
	TCPEstablished, TCPCloseWait time.Duration
	UDP, UDPStream               time.Duration
	Liberal                      bool // accept TCP segments outside of the window
}

// ProxyMode is the kernel interface that services are written to.
type ProxyMode string

// The modes.
const (
	ProxyIPTables ProxyMode = "iptables"
	ProxyNFTables ProxyMode = "nftables"
	// ProxyOff leaves services to kube-proxy.
	ProxyOff ProxyMode = "off"
)

// LocalPods is a way of telling pods from other sources: one field is set, or
// none, which tells nobody.
type LocalPods struct {
	// Ours are the pods that this daemon gave addresses to, by their links.
	Ours bool
	// Link is the name of a link, or the beginning of one and +.
	Link string
	// Blocks are those of all pods of the cluster, at most one of a family.
	Blocks []netip.Prefix
	// NodeBlocks means the blocks of the Node object, spec.podCIDRs.
	NodeBlocks bool
}

// NodePortAddrs chooses the node's addresses that have node ports; the zero
// value chooses all.
type NodePortAddrs struct {
	Primary bool // the addresses of the Node object
	Blocks  []netip.Prefix
}

// parseLocalPods reads pods, none, link:NAME, link:PREFIX+, node-cidr, or
// CIDR blocks, at most one of a family.
func parseLocalPods(s string) (LocalPods, error) {
	link, isLink := strings.CutPrefix(s, "link:")
	switch {
	case s == "pods":
		return LocalPods{Ours: true}, nil
	case s == "none":
		return LocalPods{}, nil
	case s == "node-cidr":
		return LocalPods{NodeBlocks: true}, nil
	case isLink:
		if name := strings.TrimSuffix(link, "+"); name == "" || len(link) > 15 || strings.ContainsAny(link, " /") {
			return LocalPods{}, fmt.Errorf("link %q is no name of a link", link)
		}
		return LocalPods{Link: link}, nil
	}
	blocks, err := parseBlocks(s)
	if err == nil && len(blocks) > 1 && (len(blocks) > 2 || blocks[0].Addr().Is4() == blocks[1].Addr().Is4()) {
		err = errors.New("more than one block of a family")
	}
	return LocalPods{Blocks: blocks}, err
}

// parseNodePortAddrs reads all, primary, or CIDR blocks.
func parseNodePortAddrs(s string) (NodePortAddrs, error) {
	switch s {
	case "all":
		return NodePortAddrs{}, nil
	case "primary":
		return NodePortAddrs{Primary: true}, nil
	}
	blocks, err := parseBlocks(s)
	return NodePortAddrs{Blocks: blocks}, err
}

func parseBlocks(s string) ([]netip.Prefix, error) {
	var blocks []netip.Prefix
	for entry := range strings.SplitSeq(s, ",") {
		b, err := netip.ParsePrefix(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("entry %q is not a CIDR", entry)
		}
		blocks = append(blocks, b.Masked())
	}
	return blocks, nil
}

// proxySettings are the rows of services.
func proxySettings() []setting {
	const boolean, day = "true or false", 24 * time.Hour
	duration := func(name, variable, fallback, meaning string, field func(*Config) *time.Duration) setting {
		return setting{"Conntrack." + name, variable, fallback, "0s..240h, as in 24h or 90s; 0s leaves the kernel's",
			meaning, into(parseDuration(10*day), field)}
	}
	return []setting{
		{"Proxy.Mode", "PROXY_MODE", string(ProxyIPTables), "iptables, nftables or off",
			"how services are served; off: kube-proxy does", into(parseChoice(ProxyIPTables, ProxyNFTables, ProxyOff), func(c *Config) *ProxyMode { return &c.Proxy.Mode })},
		{"Kube.Endpoint", "CLUSTER_ENDPOINT", "", "an http or https URL of the API server, no service address",
			"the Kubernetes API, reached with the pod's service account", into(optional(parseURL), func(c *Config) *string { return &c.Kube.Endpoint })},
		{"Kube.Kubeconfig", "KUBECONFIG", "", "the path of a kubeconfig file",
			"the Kubernetes API, instead of CLUSTER_ENDPOINT", into(optional(parseText), func(c *Config) *string { return &c.Kube.Kubeconfig })},
		{"Kube.NodeName", "MY_NODE_NAME", "", "the name of this node's Node",
			"this node; unset: the host's name", into(optional(parseText), func(c *Config) *string { return &c.Kube.NodeName })},
		{"Kube.ServiceHost", "KUBERNETES_SERVICE_HOST", "", "an address; Kubernetes sets it",
			"service address of the API, which CLUSTER_ENDPOINT must not be", into(optional(parseText), func(c *Config) *string { return &c.Kube.ServiceHost })},
		{"Proxy.Window", "CAUSEWAY_PROXY_WINDOW", "20ms", "0s..10s, as in 20ms or 1s",
			"changes of services within it are written together; the first is at once", into(parseDuration(10*time.Second), func(c *Config) *time.Duration { return &c.Proxy.Window })},
		{"Proxy.Pods", "CAUSEWAY_LOCAL_PODS", "pods", "pods, none, link:NAME, link:PREFIX+, node-cidr, or CIDRs, one of a family",
			"which sources are pods, whose address services leave alone", into(parseLocalPods, func(c *Config) *LocalPods { return &c.Proxy.Pods })},
		{"Proxy.MasqueradeAll", "CAUSEWAY_MASQUERADE_ALL", "false", boolean,
			"translate the source of all that goes to cluster IPs", into(parseBool, func(c *Config) *bool { return &c.Proxy.MasqueradeAll })},
		{"Proxy.MasqueradeBit", "CAUSEWAY_MASQUERADE_BIT", "14", "0..31",
			"bit of the packet mark that asks for masquerading", into(parseInt(0, 31), func(c *Config) *int { return &c.Proxy.MasqueradeBit })},
		{"Proxy.LocalhostNodePorts", "CAUSEWAY_LOCALHOST_NODE_PORTS", "true", boolean,
			"node ports on 127.0.0.1, too; sets route_localnet", into(parseBool, func(c *Config) *bool { return &c.Proxy.LocalhostNodePorts })},
		{"Proxy.NodePortAddrs", "CAUSEWAY_NODE_PORT_ADDRESSES", "all", "all, primary, or CIDRs",
			"addresses of the node that have node ports", into(parseNodePortAddrs, func(c *Config) *NodePortAddrs { return &c.Proxy.NodePortAddrs })},
		{"Proxy.HealthAddr", "CAUSEWAY_HEALTHZ_BIND_ADDRESS", "0.0.0.0:10256", "an IP address and a port",
			"where balancers ask for the node's health", into(parseListenAddr, func(c *Config) *string { return &c.Proxy.HealthAddr })},
		{"Proxy.MetricsAddr", "CAUSEWAY_PROXY_METRICS_BIND_ADDRESS", "127.0.0.1:10249", "an IP address and a port",
			"where kube-proxy's metrics are served", into(parseListenAddr, func(c *Config) *string { return &c.Proxy.MetricsAddr })},
		{"Conntrack.MaxPerCore", "CAUSEWAY_CONNTRACK_MAX_PER_CORE", "32768", "0..1048576; 0 leaves the kernel's",
			"connections to track for each core", into(parseInt(0, 1<<20), func(c *Config) *int { return &c.Conntrack.MaxPerCore })},
		{"Conntrack.Min", "CAUSEWAY_CONNTRACK_MIN", "131072", "0..1048576",
			"connections to track at least", into(parseInt(0, 1<<20), func(c *Config) *int { return &c.Conntrack.Min })},
		duration("TCPEstablished", "CAUSEWAY_CONNTRACK_TCP_ESTABLISHED", "24h", "idle time of an established connection", func(c *Config) *time.Duration { return &c.Conntrack.TCPEstablished }),
		duration("TCPCloseWait", "CAUSEWAY_CONNTRACK_TCP_CLOSE_WAIT", "1h", "time in CLOSE_WAIT", func(c *Config) *time.Duration { return &c.Conntrack.TCPCloseWait }),
		duration("UDP", "CAUSEWAY_CONNTRACK_UDP", "0s", "idle time of a UDP flow", func(c *Config) *time.Duration { return &c.Conntrack.UDP }),
		duration("UDPStream", "CAUSEWAY_CONNTRACK_UDP_STREAM", "0s", "idle time of a UDP flow with answers", func(c *Config) *time.Duration { return &c.Conntrack.UDPStream }),
		{"Conntrack.Liberal", "CAUSEWAY_CONNTRACK_TCP_LIBERAL", "false", boolean,
			"accept TCP segments outside of the window, and drop no INVALID ones", into(parseBool, func(c *Config) *bool { return &c.Conntrack.Liberal })},
	}
}

func parseText(s string) (string, error) { return s, nil }

// MasqueradeMark is the packet mark that asks for masquerading.
func (p Proxy) MasqueradeMark() uint32 { return 1 << p.MasqueradeBit }
