package kubeproxy

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/kube-proxy/config/v1alpha1"
)

// command has what the flags say: most fill in a KubeProxyConfiguration, as if
// a file had said it.
type command struct {
	flags *pflag.FlagSet
	told  v1alpha1.KubeProxyConfiguration

	config, master, hostname, writeConfigTo, version string
	cleanup, initOnly                                bool
	healthzPort, metricsPort                         int32
	gates                                            []string
}

func newCommand() *command {
	c := &command{flags: pflag.NewFlagSet("proxy", pflag.ContinueOnError)}
	c.flags.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	c.flags.Usage = func() {}
	withDefaults(&c.told)
	c.addProcess()
	c.addAPI()
	c.addServing()
	c.addTraffic()
	c.addConntrack()
	c.addIPVS()
	c.addUnused()
	return c
}

func (c *command) addProcess() {
	fs, t := c.flags, &c.told
	fs.StringVar(&c.config, "config", "", "a KubeProxyConfiguration file (kubeproxy.config.k8s.io/v1alpha1)")
	fs.StringVar(&c.writeConfigTo, "write-config-to", "", "refused")
	fs.BoolVar(&c.cleanup, "cleanup", false, "remove all rules, and exit")
	fs.BoolVar(&c.initOnly, "init-only", false, "set what only root may set, and exit")
	fs.StringVar(&c.version, "version", "false", "print the version, and exit")
	fs.Lookup("version").NoOptDefVal = "true"
	fs.StringSliceVar(&c.gates, "feature-gates", nil, "key=value pairs; none makes a difference")
	fs.Uint32VarP((*uint32)(&t.Logging.Verbosity), "v", "v", 0, "verbosity of the log: 4 and more for why something is done")
	fs.Int32Var(t.OOMScoreAdj, "oom-score-adj", *t.OOMScoreAdj, "ignored: the pod says it")
	fs.BoolVar(&t.EnableProfiling, "profiling", false, "ignored: there are no profiling handlers")
}

func (c *command) addAPI() {
	fs, t := c.flags, &c.told
	fs.StringVar(&t.ClientConnection.Kubeconfig, "kubeconfig", "", "a kubeconfig file")
	fs.StringVar(&c.master, "master", "", "URL of the API server, instead of the kubeconfig file's")
	fs.StringVar(&c.hostname, "hostname-override", "", "name of this node's Node; unset: the host's name")
	fs.StringVar(&t.ClientConnection.ContentType, "kube-api-content-type", t.ClientConnection.ContentType, "ignored: protobuf, or JSON if the server has no other")
	fs.Int32Var(&t.ClientConnection.Burst, "kube-api-burst", t.ClientConnection.Burst, "ignored: there is no limit")
	fs.Float32Var(&t.ClientConnection.QPS, "kube-api-qps", t.ClientConnection.QPS, "ignored: there is no limit")
	fs.DurationVar(&t.ConfigSyncPeriod.Duration, "config-sync-period", t.ConfigSyncPeriod.Duration, "ignored: watches need no refreshing")
}

func (c *command) addServing() {
	fs, t := c.flags, &c.told
	fs.StringVar(&t.BindAddress, "bind-address", t.BindAddress, "primary address of the node; 0.0.0.0 or ::, the Node says it")
	fs.StringVar(&t.HealthzBindAddress, "healthz-bind-address", t.HealthzBindAddress, "where /healthz and /livez are served, IP:port")
	fs.StringVar(&t.MetricsBindAddress, "metrics-bind-address", t.MetricsBindAddress, "where metrics are served, IP:port; empty for nowhere")
	fs.Int32Var(&c.healthzPort, "healthz-port", healthzPort, "port of --healthz-bind-address, if that has none; 0 for nowhere")
	fs.Int32Var(&c.metricsPort, "metrics-port", metricsPort, "port of --metrics-bind-address, if that has none; 0 for nowhere")
	fs.BoolVar(&t.BindAddressHardFail, "bind-address-hard-fail", false, "refused if true")
	fs.StringVar(&t.ShowHiddenMetricsForVersion, "show-hidden-metrics-for-version", "", "ignored: no metric is hidden")
}

func (c *command) addTraffic() {
	fs, t := c.flags, &c.told
	fs.StringVar((*string)(&t.Mode), "proxy-mode", "", "iptables (default) or nftables")
	fs.StringVar((*string)(&t.DetectLocalMode), "detect-local-mode", "", "how pods are told from others: ClusterCIDR (default), NodeCIDR, BridgeInterface or InterfaceNamePrefix")
	fs.StringVar(&t.ClusterCIDR, "cluster-cidr", "", "block of all pods, or one of each family, for ClusterCIDR")
	fs.StringVar(&t.DetectLocal.BridgeInterface, "pod-bridge-interface", "", "bridge of the pods, for BridgeInterface")
	fs.StringVar(&t.DetectLocal.InterfaceNamePrefix, "pod-interface-name-prefix", "", "beginning of the names of the pods' links, for InterfaceNamePrefix")
	fs.StringSliceVar(&t.NodePortAddresses, "nodeport-addresses", nil, "blocks of the addresses that have node ports, or primary")
	fs.BoolVar(&t.IPTables.MasqueradeAll, "masquerade-all", false, "translate the source of all that goes to cluster IPs")
	fs.Int32Var(t.IPTables.MasqueradeBit, "iptables-masquerade-bit", *t.IPTables.MasqueradeBit, "bit of the packet mark for masquerading, 0..31, in iptables mode")
	fs.BoolVar(t.IPTables.LocalhostNodePorts, "iptables-localhost-nodeports", *t.IPTables.LocalhostNodePorts, "node ports on 127.0.0.1, too, in iptables mode")
	fs.DurationVar(&t.IPTables.SyncPeriod.Duration, "iptables-sync-period", t.IPTables.SyncPeriod.Duration, "how often all is checked, in either mode")
	fs.DurationVar(&t.IPTables.MinSyncPeriod.Duration, "iptables-min-sync-period", 0, "least time between two changes of rules, in either mode")
}

func (c *command) addConntrack() {
	fs, t := c.flags, &c.told.Conntrack
	fs.Int32Var(t.MaxPerCore, "conntrack-max-per-core", *t.MaxPerCore, "connections to track for each core; 0 leaves the kernel's")
	fs.Int32Var(t.Min, "conntrack-min", *t.Min, "connections to track at least")
	fs.DurationVar(&t.TCPEstablishedTimeout.Duration, "conntrack-tcp-timeout-established", t.TCPEstablishedTimeout.Duration, "idle time of an established connection; 0 leaves the kernel's")
	fs.DurationVar(&t.TCPCloseWaitTimeout.Duration, "conntrack-tcp-timeout-close-wait", t.TCPCloseWaitTimeout.Duration, "time in CLOSE_WAIT; 0 leaves the kernel's")
	fs.BoolVar(&t.TCPBeLiberal, "conntrack-tcp-be-liberal", false, "accept TCP segments outside of the window")
	fs.DurationVar(&t.UDPTimeout.Duration, "conntrack-udp-timeout", 0, "idle time of a UDP flow; 0 leaves the kernel's")
	fs.DurationVar(&t.UDPStreamTimeout.Duration, "conntrack-udp-timeout-stream", 0, "idle time of a UDP flow with answers; 0 leaves the kernel's")
}

func (c *command) addIPVS() {
	fs, t := c.flags, &c.told.IPVS
	const refused = "refused: there is no ipvs mode"
	fs.DurationVar(&t.SyncPeriod.Duration, "ipvs-sync-period", t.SyncPeriod.Duration, refused)
	fs.DurationVar(&t.MinSyncPeriod.Duration, "ipvs-min-sync-period", 0, refused)
	fs.StringVar(&t.Scheduler, "ipvs-scheduler", "", refused)
	fs.StringSliceVar(&t.ExcludeCIDRs, "ipvs-exclude-cidrs", nil, refused)
	fs.BoolVar(&t.StrictARP, "ipvs-strict-arp", false, refused)
	fs.DurationVar(&t.TCPTimeout.Duration, "ipvs-tcp-timeout", 0, refused)
	fs.DurationVar(&t.TCPFinTimeout.Duration, "ipvs-tcpfin-timeout", 0, refused)
	fs.DurationVar(&t.UDPTimeout.Duration, "ipvs-udp-timeout", 0, refused)
}

// unused are flags of kube-proxy that no field stands for: of its logs, and of
// libraries that come with it.
var unused = []string{
	"boot-id-file", "log-flush-frequency", "log-json-info-buffer-size", "log-json-split-stream", "log-text-info-buffer-size",
	"log-text-split-stream", "logging-format", "machine-id-file", "vmodule",
}

func (c *command) addUnused() {
	for _, name := range unused {
		c.flags.String(name, "", "ignored")
		if strings.HasSuffix(name, "-split-stream") {
			c.flags.Lookup(name).NoOptDefVal = "true"
		}
	}
}

// warnUnused names the flags that do nothing, file or no file.
func (c *command) warnUnused(r *reading) {
	for _, name := range unused {
		if c.flags.Changed(name) {
			r.warn(name, "", c.flags.Lookup(name).Value, "it is about kube-proxy's own logs and libraries")
		}
	}
}

// settle makes of the flags what a file would say.
func (c *command) settle(r *reading) {
	t := &c.told
	for _, pair := range c.gates {
		name, text, _ := strings.Cut(pair, "=")
		on, err := strconv.ParseBool(text)
		if err != nil {
			r.refuse("feature-gates", "", pair, "key=true or key=false")
			continue
		}
		if t.FeatureGates == nil {
			t.FeatureGates = map[string]bool{}
		}
		t.FeatureGates[strings.TrimSpace(name)] = on
	}
	t.HealthzBindAddress = c.address(r, "healthz", cmp.Or(t.HealthzBindAddress, defaultHealthz(t.BindAddress)), c.healthzPort)
	t.MetricsBindAddress = c.address(r, "metrics", t.MetricsBindAddress, c.metricsPort)
	if t.Mode == v1alpha1.ProxyMode("nftables") {
		t.NFTables.SyncPeriod, t.NFTables.MinSyncPeriod = t.IPTables.SyncPeriod, t.IPTables.MinSyncPeriod
		t.NFTables.MasqueradeAll = t.IPTables.MasqueradeAll
		for _, name := range []string{"iptables-masquerade-bit", "iptables-localhost-nodeports"} {
			if c.flags.Changed(name) {
				r.warn(name, "", c.flags.Lookup(name).Value, "it counts in iptables mode alone")
			}
		}
	}
}

// address is a bind address with its port; none if the flag that was there
// before, --healthz-port or --metrics-port, is 0.
func (c *command) address(r *reading, name, address string, port int32) string {
	if flag := name + "-port"; c.flags.Changed(flag) {
		r.warnings = append(r.warnings, fmt.Sprintf("--%s=%d: use --%s-bind-address, which comes before a port other than 0", flag, port, name))
	}
	if port == 0 || address == "" {
		return ""
	}
	return withPort(address, port)
}

// withPort adds a port to an address that has none.
func withPort(address string, port int32) string {
	if net.ParseIP(address) == nil {
		return address
	}
	return net.JoinHostPort(address, strconv.Itoa(int(port)))
}
