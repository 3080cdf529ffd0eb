package kubeproxy

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/config"
)

var byValue = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// usual is what comes of no flags and an empty file.
func usual() Config {
	return Config{
		SyncPeriod: 30 * time.Second,
		Proxy: config.Proxy{
			Mode: config.ProxyIPTables, MasqueradeBit: 14, LocalhostNodePorts: true,
			HealthAddr: "0.0.0.0:10256", MetricsAddr: "127.0.0.1:10249",
		},
		Conntrack: config.Conntrack{MaxPerCore: 32768, Min: 131072, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour},
	}
}

func with(change func(*Config)) Config {
	c := usual()
	change(&c)
	return c
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func nftables(c *Config) {
	c.Proxy.Mode, c.Proxy.LocalhostNodePorts, c.Proxy.NodePortAddrs.Primary = config.ProxyNFTables, false, true
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]Config{
		"": usual(),
		"--kubeconfig=/k --hostname-override=IP-10-0-0-4.ec2.internal --master=https://a": with(func(c *Config) {
			c.Kube, c.Server = config.Kube{Kubeconfig: "/k", NodeName: "ip-10-0-0-4.ec2.internal"}, "https://a"
		}),
		"--proxy-mode=nftables":                        with(nftables),
		"--proxy_mode nftables --masquerade-all":       with(func(c *Config) { nftables(c); c.Proxy.MasqueradeAll = true }),
		"--masquerade-all --iptables-masquerade-bit=3": with(func(c *Config) { c.Proxy.MasqueradeAll, c.Proxy.MasqueradeBit = true, 3 }),
		"--iptables-localhost-nodeports=false":         with(func(c *Config) { c.Proxy.LocalhostNodePorts = false }),
		"--cluster-cidr=10.1.2.0/8,fd00::/64":          with(func(c *Config) { c.Proxy.Pods.Blocks = prefixes("10.0.0.0/8", "fd00::/64") }),
		"--detect-local-mode=NodeCIDR --cluster-cidr=x": with(func(c *Config) {
			c.Proxy.Pods.NodeBlocks = true
		}),
		"--detect-local-mode=BridgeInterface --pod-bridge-interface=cni0":         with(func(c *Config) { c.Proxy.Pods.Link = "cni0" }),
		"--detect-local-mode=InterfaceNamePrefix --pod-interface-name-prefix=eni": with(func(c *Config) { c.Proxy.Pods.Link = "eni+" }),
		"--nodeport-addresses=primary":                                            with(func(c *Config) { c.Proxy.NodePortAddrs.Primary = true }),
		"--nodeport-addresses=10.0.0.0/8,fd00::/8 --nodeport-addresses=1.2.3.4/32": with(func(c *Config) {
			c.Proxy.NodePortAddrs.Blocks = prefixes("10.0.0.0/8", "fd00::/8", "1.2.3.4/32")
		}),
		"--iptables-sync-period=7s --iptables-min-sync-period=2s": with(func(c *Config) { c.SyncPeriod, c.Proxy.Window = 7*time.Second, 2*time.Second }),
		"--proxy-mode=nftables --iptables-sync-period=7s":         with(func(c *Config) { nftables(c); c.SyncPeriod = 7 * time.Second }),
		"--healthz-bind-address=127.0.0.1 --metrics-bind-address=[::]:9": with(func(c *Config) {
			c.Proxy.HealthAddr, c.Proxy.MetricsAddr = "127.0.0.1:10256", "[::]:9"
		}),
		"--metrics-bind-address=": with(func(c *Config) { c.Proxy.MetricsAddr = "" }),
		"--healthz-bind-address=": usual(),
		"--bind-address=10.0.0.4": with(func(c *Config) { c.NodeAddr = netip.MustParseAddr("10.0.0.4") }),
		"--conntrack-max-per-core=0 --conntrack-min=5 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=1m --conntrack-udp-timeout=2s --conntrack-udp-timeout-stream=3s --conntrack-tcp-be-liberal": with(func(c *Config) {
			c.Conntrack = config.Conntrack{Min: 5, TCPCloseWait: time.Minute, UDP: 2 * time.Second, UDPStream: 3 * time.Second, Liberal: true}
		}),
		"--cleanup":   with(func(c *Config) { c.Task = Cleanup }),
		"--init-only": with(func(c *Config) { c.Task = Init }),
		"--version":   {Task: Version},
		"--help":      {Task: Help},
		"-v=4":        with(func(c *Config) { c.Verbosity = 4 }),
	} {
		got, warnings, err := Load(strings.Fields(args))
		if err != nil || len(warnings) != 0 {
			t.Errorf("%s: warnings %q, error %v", args, warnings, err)
		}
		if diff := cmp.Diff(want, got, byValue); diff != "" {
			t.Errorf("%s (-want +got)\n%s", args, diff)
		}
	}
}

func TestDeprecatedPorts(t *testing.T) {
	for args, want := range map[string][2]string{
		"--healthz-port=0":   {"", "127.0.0.1:10249"},
		"--metrics-port=0":   {"0.0.0.0:10256", ""},
		"--metrics-port=999": {"0.0.0.0:10256", "127.0.0.1:10249"},
		"--healthz-bind-address=10.0.0.4 --healthz-port=999": {"10.0.0.4:999", "127.0.0.1:10249"},
	} {
		got, warnings, err := Load(strings.Fields(args))
		if err != nil || len(warnings) != 1 || [2]string{got.Proxy.HealthAddr, got.Proxy.MetricsAddr} != want {
			t.Errorf("%s: %q and %q, want %q (warnings %q, error %v)", args, got.Proxy.HealthAddr, got.Proxy.MetricsAddr, want, warnings, err)
		}
	}
}

// each is a flag of kube-proxy, a value that differs from the default, and
// what becomes of it: + it counts, ~ it is warned of, - it is refused.
var each = map[string]string{
	"bind-address": "+10.0.0.4", "bind-address-hard-fail": "-true", "boot-id-file": "~/a", "cleanup": "+true",
	"cluster-cidr": "+10.0.0.0/8", "config": "+testdata/eks.yaml", "config-sync-period": "~1m0s",
	"conntrack-max-per-core": "+7", "conntrack-min": "+7", "conntrack-tcp-be-liberal": "+true", "conntrack-tcp-timeout-close-wait": "+7s",
	"conntrack-tcp-timeout-established": "+7s", "conntrack-udp-timeout": "+7s", "conntrack-udp-timeout-stream": "+7s",
	"detect-local-mode": "+NodeCIDR", "feature-gates": "~LoggingAlphaOptions=true", "healthz-bind-address": "+10.0.0.4:1",
	"healthz-port": "~7", "help": "+true", "hostname-override": "+a", "init-only": "+true", "iptables-localhost-nodeports": "+false",
	"iptables-masquerade-bit": "+7", "iptables-min-sync-period": "+7s", "iptables-sync-period": "+7s",
	"ipvs-exclude-cidrs": "-[10.0.0.0/8]", "ipvs-min-sync-period": "-7s", "ipvs-scheduler": "-rr", "ipvs-strict-arp": "-true",
	"ipvs-sync-period": "-7s", "ipvs-tcp-timeout": "-7s", "ipvs-tcpfin-timeout": "-7s", "ipvs-udp-timeout": "-7s",
	"kube-api-burst": "~7", "kube-api-content-type": "~application/json", "kube-api-qps": "~7", "kubeconfig": "+/k",
	"log-flush-frequency": "~7s", "log-json-info-buffer-size": "~7", "log-json-split-stream": "~true", "log-text-info-buffer-size": "~7",
	"log-text-split-stream": "~true", "logging-format": "~json", "machine-id-file": "~/a", "masquerade-all": "+true",
	"master": "+https://a", "metrics-bind-address": "+10.0.0.4:1", "metrics-port": "~7", "nodeport-addresses": "+primary",
	"oom-score-adj": "~7", "pod-bridge-interface": "+cni0", "pod-interface-name-prefix": "+eni", "profiling": "~true",
	"proxy-mode": "+nftables", "show-hidden-metrics-for-version": "~1.35", "v": "+7", "version": "+true", "vmodule": "~a=7",
	"write-config-to": "-/a",
}

// beside are flags that count with another one alone.
var beside = map[string]string{
	"pod-bridge-interface":      "--detect-local-mode=BridgeInterface",
	"pod-interface-name-prefix": "--detect-local-mode=InterfaceNamePrefix",
}

// TestEveryFlagOfKubeProxy holds that none is unknown, and none is read over.
func TestEveryFlagOfKubeProxy(t *testing.T) {
	list, err := os.ReadFile("testdata/flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	names := slices.DeleteFunc(strings.Fields(withoutComments(string(list))), func(s string) bool { return s == "" })
	if len(names) != len(each) {
		t.Errorf("kube-proxy has %d flags, the test knows %d", len(names), len(each))
	}
	for _, name := range names {
		fate, ok := each[name]
		if !ok {
			t.Errorf("--%s: not in the table", name)
			continue
		}
		value := strings.Trim(fate[1:], "[]")
		args := []string{"--" + name + "=" + value}
		if name == "help" {
			args = []string{"--help"}
		}
		got, warnings, err := Load(append(args, strings.Fields(beside[name])...))
		switch fate[0] {
		case '-':
			if err == nil || !strings.Contains(err.Error(), "--"+name+` "`+fate[1:]+`": want `) {
				t.Errorf("%s: want it refused by name and value, got %v", args, err)
			}
		case '~':
			if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "--"+name) || !strings.Contains(warnings[0], value) {
				t.Errorf("%s: want one warning by name and value, got %q, error %v", args, warnings, err)
			}
		case '+':
			if err != nil || len(warnings) != 0 || cmp.Equal(got, usual(), byValue) {
				t.Errorf("%s: want it to count, got %+v, warnings %q, error %v", args, got, warnings, err)
			}
		}
	}
}

func withoutComments(s string) string {
	lines := slices.DeleteFunc(strings.Split(s, "\n"), func(l string) bool { return strings.HasPrefix(l, "#") })
	return strings.Join(lines, "\n")
}

func TestRefusedFlags(t *testing.T) {
	for args, want := range map[string][]string{
		"--nosuch":                                      {"--nosuch", "--help"},
		"serve":                                         {`"serve"`, "flags alone"},
		"--masquerade-all=maybe":                        {"--masquerade-all", `"maybe"`},
		"--proxy-mode=ipvs":                             {`--proxy-mode "ipvs"`, "iptables or nftables"},
		"--proxy-mode=kernelspace":                      {`"kernelspace"`, "iptables or nftables"},
		"--iptables-masquerade-bit=32":                  {`--iptables-masquerade-bit "32"`, "0 to 31"},
		"--iptables-sync-period=0":                      {`--iptables-sync-period "0s"`, "more than 0"},
		"--iptables-min-sync-period=1m":                 {`--iptables-min-sync-period "1m0s"`, "30s"},
		"--detect-local-mode=Magic":                     {`--detect-local-mode "Magic"`, "ClusterCIDR"},
		"--detect-local-mode=BridgeInterface":           {`--pod-bridge-interface ""`, "name of a link"},
		"--cluster-cidr=10.0.0.0/8,11.0.0.0/8":          {`--cluster-cidr "10.0.0.0/8,11.0.0.0/8"`, "one of each family"},
		"--cluster-cidr=10.0.0.0":                       {`--cluster-cidr "10.0.0.0"`},
		"--nodeport-addresses=primary,10.0.0.0/8":       {`--nodeport-addresses "primary"`, "primary alone"},
		"--bind-address=here":                           {`--bind-address "here"`},
		"--healthz-bind-address=:10256":                 {`--healthz-bind-address ":10256"`, "an IP address and a port"},
		"--metrics-bind-address=1.2.3.4:0":              {`--metrics-bind-address "1.2.3.4:0"`},
		"--conntrack-min=-1":                            {`--conntrack-min "-1"`, "0 or more"},
		"--conntrack-udp-timeout=-1s":                   {`--conntrack-udp-timeout "-1s"`},
		"--feature-gates=AllowServiceExternalIPs=false": {`--feature-gates "AllowServiceExternalIPs=false"`, "external IPs are served"},
		"--feature-gates=A=maybe":                       {`"A=maybe"`},
		"--config=/none/here":                           {"--config", "/none/here"},
		"--proxy-mode=ipvs --conntrack-min=-1":          {"--proxy-mode", "--conntrack-min"},
	} {
		_, _, err := Load(strings.Fields(args))
		if err == nil {
			t.Errorf("%s: accepted", args)
			continue
		}
		for _, w := range want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", args, err, w)
			}
		}
	}
}

func TestUsageNamesAllFlags(t *testing.T) {
	for name := range each {
		if name != "help" && !strings.Contains(Usage(), "--"+name) {
			t.Errorf("--%s is not in the usage", name)
		}
	}
}

func write(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
