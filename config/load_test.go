package config

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// env is a lookup over a map.
func env(vars map[string]string) func(string) (string, bool) {
	return func(variable string) (string, bool) {
		value, ok := vars[variable]
		return value, ok
	}
}

func defaults() Config {
	return Config{
		Network: Network{MTU: 9001, PodMTU: 9001, VethPrefix: "eni", ConnectionMark: 0x80, NodePortSupport: true, IPv4: true},
		SNAT:    SNAT{Random: RandomPRNG},
		Pool:    Pool{CoolDown: 30 * time.Second, Discovery: true, ManageUntagged: true, AssignWait: 30 * time.Second, WarmENIs: Unset, WarmPrefixes: Unset, ReleaseAfter: time.Minute, ENIConfigAnnotation: "k8s.amazonaws.com/eniConfig", ENIConfigLabel: "k8s.amazonaws.com/eniConfig"},
		EC2:     EC2{HTTPTimeout: 10 * time.Second, SweepEvery: time.Hour},
		Daemon:  Daemon{LogLevel: LogInfo, BackingStore: "/var/run/aws-node/ipam.json", MetricsAddr: "127.0.0.1:61678", IPTables: IPTablesAuto, Switches: "/etc/causeway/switches"},
		Host:    Host{BinDir: "/host/opt/cni/bin"},
		Proxy: Proxy{Mode: ProxyIPTables, Window: 20 * time.Millisecond, Pods: LocalPods{Ours: true}, MasqueradeBit: 14,
			LocalhostNodePorts: true, HealthAddr: "0.0.0.0:10256", MetricsAddr: "127.0.0.1:10249"},
		Conntrack: Conntrack{MaxPerCore: 32768, Min: 131072, TCPEstablished: 24 * time.Hour, TCPCloseWait: time.Hour},
	}
}

func diff(want, got Config) string {
	return cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{}))
}

func TestLoadDefaults(t *testing.T) {
	empty := map[string]string{}
	for _, s := range settings() {
		empty[s.variable] = ""
	}
	for name, vars := range map[string]map[string]string{"unset": nil, "set to nothing": empty} {
		got, warnings, err := Load(env(vars))
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: warnings %q, error %v", name, warnings, err)
		}
		if d := diff(defaults(), got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// TestChartOfAWSNode loads what the chart of aws-node 1.23 sets by default: a
// node that is taken over must start.
func TestChartOfAWSNode(t *testing.T) {
	got, warnings, err := Load(env(map[string]string{
		"ADDITIONAL_ENI_TAGS": "{}", "AWS_VPC_CNI_NODE_PORT_SUPPORT": "true", "AWS_VPC_ENI_MTU": "9001",
		"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "false", "AWS_VPC_K8S_CNI_EXTERNALSNAT": "false",
		"AWS_VPC_K8S_CNI_LOGLEVEL": "DEBUG", "AWS_VPC_K8S_CNI_RANDOMIZESNAT": "prng",
		"AWS_VPC_K8S_CNI_VETHPREFIX": "eni", "CLUSTER_NAME": "prod-1", "DISABLE_METRICS": "false",
		"DISABLE_NETWORK_RESOURCE_PROVISIONING": "false", "ENABLE_IMDS_ONLY_MODE": "false",
		"ENABLE_IPv4": "true", "ENABLE_IPv6": "false", "ENABLE_MULTI_NIC": "false", "ENABLE_POD_ENI": "false",
		"ENABLE_PREFIX_DELEGATION": "false", "WARM_ENI_TARGET": "1", "WARM_PREFIX_TARGET": "1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Pool.WarmENIs, want.Pool.WarmPrefixes = 1, 1
	want.EC2.ClusterName, want.EC2.Tags, want.Daemon.LogLevel = "prod-1", map[string]string{}, LogDebug
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string(nil), warnings); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

func TestLoadGood(t *testing.T) {
	for _, test := range []struct {
		variable, value string
		want            func(*Config)
	}{
		{"ENABLE_IPv6", "true", func(c *Config) { c.Network.IPv6 = true }},
		{"ENABLE_PREFIX_DELEGATION", "true", func(c *Config) { c.Pool.Prefixes = true }},
		{"AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true", func(c *Config) { c.Pool.CustomNetwork = true }},
		{"ENABLE_SUBNET_DISCOVERY", "false", func(c *Config) { c.Pool.Discovery = false }},
		{"AWS_MANAGE_ENIS_NON_SCHEDULABLE", "true", func(c *Config) { c.Pool.ManageCordoned = true }},
		{"ENI_CONFIG_LABEL_DEF", "topology.kubernetes.io/zone", func(c *Config) { c.Pool.ENIConfigLabel = "topology.kubernetes.io/zone" }},
		{"ENI_CONFIG_ANNOTATION_DEF", "example.com/eni", func(c *Config) { c.Pool.ENIConfigAnnotation = "example.com/eni" }},
		{"WARM_IP_TARGET", "5", func(c *Config) { c.Pool.WarmAddresses = 5 }},
		{"MINIMUM_IP_TARGET", "10", func(c *Config) { c.Pool.MinimumAddresses = 10 }},
		{"WARM_PREFIX_TARGET", "0", func(c *Config) { c.Pool.WarmPrefixes = 0 }},
		{"WARM_ENI_TARGET", "0", func(c *Config) { c.Pool.WarmENIs = 0 }},
		{"CAUSEWAY_RELEASE_AFTER", "0s", func(c *Config) { c.Pool.ReleaseAfter = 0 }},
		{"AWS_VPC_ENI_MTU", "576", func(c *Config) { c.Network.MTU, c.Network.PodMTU = 576, 576 }},
		{"AWS_VPC_ENI_MTU", "1500", func(c *Config) { c.Network.MTU, c.Network.PodMTU = 1500, 1500 }},
		{"POD_MTU", "8900", func(c *Config) { c.Network.PodMTU = 8900 }},
		{"POD_MTU", "9001", func(*Config) {}},
		{"AWS_VPC_K8S_CNI_VETHPREFIX", "a", func(c *Config) { c.Network.VethPrefix = "a" }},
		{"AWS_VPC_K8S_CNI_VETHPREFIX", "etha", func(c *Config) { c.Network.VethPrefix = "etha" }},
		{"AWS_VPC_K8S_CNI_CONNMARK", "1", func(c *Config) { c.Network.ConnectionMark = 1 }},
		{"AWS_VPC_K8S_CNI_CONNMARK", "010", func(c *Config) { c.Network.ConnectionMark = 10 }},
		{"AWS_VPC_K8S_CNI_CONNMARK", "0XfF", func(c *Config) { c.Network.ConnectionMark = 0xff }},
		{"AWS_VPC_K8S_CNI_CONNMARK", "4294967295", func(c *Config) { c.Network.ConnectionMark = 1<<32 - 1 }},
		{"AWS_VPC_CNI_NODE_PORT_SUPPORT", "F", func(c *Config) { c.Network.NodePortSupport = false }},
		{"AWS_VPC_K8S_CNI_EXTERNALSNAT", "tRuE", func(c *Config) { c.SNAT.External = true }},
		{"AWS_VPC_K8S_CNI_EXTERNALSNAT", "1", func(c *Config) { c.SNAT.External = true }},
		{"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "203.0.113.7/24, 192.0.2.0/28,203.0.113.0/24", func(c *Config) {
			c.SNAT.Excluded = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.0/28")}
		}},
		{"AWS_EXTERNAL_SERVICE_CIDRS", "203.0.113.9/24,192.0.2.0/28, 203.0.113.0/24", func(c *Config) {
			c.Network.ExternalServices = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("192.0.2.0/28")}
		}},
		{"AWS_VPC_K8S_CNI_RANDOMIZESNAT", "hashrandom", func(c *Config) { c.SNAT.Random = RandomHash }},
		{"AWS_VPC_K8S_CNI_RANDOMIZESNAT", "None", func(c *Config) { c.SNAT.Random = RandomNone }},
		{"IP_COOLDOWN_PERIOD", "0", func(c *Config) { c.Pool.CoolDown = 0 }},
		{"MAX_ENI", "-1", func(*Config) {}},
		{"MAX_ENI", "1", func(c *Config) { c.Pool.MaxENIs = 1 }},
		{"MANAGE_UNTAGGED_ENI", "false", func(c *Config) { c.Pool.ManageUntagged = false }},
		{"CAUSEWAY_ASSIGN_WAIT", "0s", func(c *Config) { c.Pool.AssignWait = 0 }},
		{"CAUSEWAY_ASSIGN_WAIT", "2m", func(c *Config) { c.Pool.AssignWait = 2 * time.Minute }},
		{"AWS_EC2_ENDPOINT", "http://127.0.0.1:8080/ec2", func(c *Config) { c.EC2.Endpoint = "http://127.0.0.1:8080/ec2" }},
		{"HTTP_TIMEOUT", "15", func(c *Config) { c.EC2.HTTPTimeout = 15 * time.Second }},
		{"CLUSTER_NAME", "a_b-c.d9", func(c *Config) { c.EC2.ClusterName = "a_b-c.d9" }},
		{"ADDITIONAL_ENI_TAGS", `{"team": "net", "Kürzel": ""}`, func(c *Config) {
			c.EC2.Tags = map[string]string{"team": "net", "Kürzel": ""}
		}},
		{"AWS_VPC_K8S_CNI_LOGLEVEL", "Warn", func(c *Config) { c.Daemon.LogLevel = LogWarn }},
		{"AWS_VPC_K8S_CNI_BACKING_STORE", "/var/lib/x.json", func(c *Config) { c.Daemon.BackingStore = "/var/lib/x.json" }},
		{"CAUSEWAY_METRICS_BIND_ADDRESS", "[::1]:80", func(c *Config) { c.Daemon.MetricsAddr = "[::1]:80" }},
		{"CAUSEWAY_SWEEP_EVERY", "90m", func(c *Config) { c.EC2.SweepEvery = 90 * time.Minute }},
		{"DISABLE_LEAKED_ENI_CLEANUP", "true", func(c *Config) { c.EC2.SweepEvery = 0 }},
		{"DISABLE_METRICS", "true", func(c *Config) { c.Daemon.MetricsAddr = "" }},
		{"NETWORK_POLICY_ENFORCING_MODE", "standard", func(*Config) {}},
		{"CAUSEWAY_IPTABLES", "legacy", func(c *Config) { c.Daemon.IPTables = IPTablesLegacy }},
		{"PROXY_MODE", "NFTables", func(c *Config) { c.Proxy.Mode = ProxyNFTables }},
		{"CLUSTER_ENDPOINT", "https://abc.example", func(c *Config) { c.Kube.Endpoint = "https://abc.example" }},
		{"KUBECONFIG", "/etc/k", func(c *Config) { c.Kube.Kubeconfig = "/etc/k" }},
		{"MY_NODE_NAME", "ip-10-0-0-4.ec2.internal", func(c *Config) { c.Kube.NodeName = "ip-10-0-0-4.ec2.internal" }},
		{"CAUSEWAY_PROXY_WINDOW", "1s", func(c *Config) { c.Proxy.Window = time.Second }},
		{"CAUSEWAY_LOCAL_PODS", "none", func(c *Config) { c.Proxy.Pods = LocalPods{} }},
		{"CAUSEWAY_LOCAL_PODS", "node-cidr", func(c *Config) { c.Proxy.Pods = LocalPods{NodeBlocks: true} }},
		{"CAUSEWAY_LOCAL_PODS", "link:eni+", func(c *Config) { c.Proxy.Pods = LocalPods{Link: "eni+"} }},
		{"CAUSEWAY_LOCAL_PODS", "10.1.2.3/8,fd00::/8", func(c *Config) {
			c.Proxy.Pods = LocalPods{Blocks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
		}},
		{"CAUSEWAY_MASQUERADE_ALL", "true", func(c *Config) { c.Proxy.MasqueradeAll = true }},
		{"CAUSEWAY_MASQUERADE_BIT", "31", func(c *Config) { c.Proxy.MasqueradeBit = 31 }},
		{"CAUSEWAY_LOCALHOST_NODE_PORTS", "false", func(c *Config) { c.Proxy.LocalhostNodePorts = false }},
		{"CAUSEWAY_NODE_PORT_ADDRESSES", "primary", func(c *Config) { c.Proxy.NodePortAddrs = NodePortAddrs{Primary: true} }},
		{"CAUSEWAY_NODE_PORT_ADDRESSES", "10.0.0.0/16", func(c *Config) {
			c.Proxy.NodePortAddrs = NodePortAddrs{Blocks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}
		}},
		{"CAUSEWAY_HEALTHZ_BIND_ADDRESS", "[::]:10256", func(c *Config) { c.Proxy.HealthAddr = "[::]:10256" }},
		{"CAUSEWAY_CONNTRACK_MIN", "0", func(c *Config) { c.Conntrack.Min = 0 }},
		{"CAUSEWAY_CONNTRACK_UDP", "30s", func(c *Config) { c.Conntrack.UDP = 30 * time.Second }},
		{"CAUSEWAY_CONNTRACK_TCP_LIBERAL", "1", func(c *Config) { c.Conntrack.Liberal = true }},
	} {
		t.Run(test.variable+"="+test.value, func(t *testing.T) {
			got, warnings, err := Load(env(map[string]string{test.variable: test.value}))
			if err != nil || len(warnings) > 0 {
				t.Fatalf("warnings %q, error %v", warnings, err)
			}
			want := defaults()
			test.want(&want)
			if d := diff(want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// bad holds values that are refused, for every variable that refuses any.
func bad() map[string][]string {
	long := strings.Repeat("x", 129)
	vars := map[string][]string{
		"AWS_VPC_ENI_MTU":                    {"575", "9002", "-1", "jumbo", "1500.0", "99999999999999999999"},
		"POD_MTU":                            {"0", "575", "9002", "x"},
		"AWS_VPC_K8S_CNI_VETHPREFIX":         {"enieth", "eth", "lo", "vlan", "ENI", "e1", "e/"},
		"AWS_VPC_K8S_CNI_CONNMARK":           {"0", "0x0", "-1", "4294967296", "0x100000000", "0x", "0b1", "1_0", "80h"},
		"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": {"10.0.0.0", "10.0.0.0/33", "fd00::/8", "10.0.0.0/8,", ","},
		"AWS_EXTERNAL_SERVICE_CIDRS":         {"203.0.113.9", "0.0.0.0/0", "192.0.2.0/28,::/0"},
		"AWS_VPC_K8S_CNI_RANDOMIZESNAT":      {"random", "true"},
		"IP_COOLDOWN_PERIOD":                 {"-1", "30s", "86401", "9223372036854775807"},
		"MAX_ENI":                            {"0", "-2", "32769", "all"},
		"CAUSEWAY_ASSIGN_WAIT":               {"10", "-1s", "121s", "soon"},
		"AWS_EC2_ENDPOINT":                   {"ec2", "ftp://ec2", "http://", "http://:80", "http://%zz"},
		"HTTP_TIMEOUT":                       {"9", "10s", "1e3"},
		"CLUSTER_NAME":                       {"a b", "a/b", "é", long},
		"ADDITIONAL_ENI_TAGS": {"team=net", "[]", `{"a":1}`, `{"":"a"}`, `{"aws:a":"b"}`, `{"AWS:a":"b"}`,
			`{"node.k8s.amazonaws.com/no_manage":"true"}`, `{"` + long + `":""}`, `{"a":"` + long + long + `"}`},
		"AWS_VPC_K8S_CNI_LOGLEVEL":      {"verbose", "5"},
		"AWS_VPC_K8S_CNI_BACKING_STORE": {"ipam.json", "/", "/run/", "/run/../x"},
		"CAUSEWAY_METRICS_BIND_ADDRESS": {":61678", "localhost:61678", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536"},
		"CAUSEWAY_IPTABLES":             {"nftables"},
		"PROXY_MODE":                    {"ipvs", "true"},
		"CLUSTER_ENDPOINT":              {"10.0.0.1", "ftp://a"},
		"CAUSEWAY_PROXY_WINDOW":         {"11s", "-1s", "5"},
		"CAUSEWAY_LOCAL_PODS":           {"eni+", "link:", "link:+", "link:a b", "link:0123456789abcdef", "10.0.0.0", "10.0.0.0/8,11.0.0.0/8"},
		"CAUSEWAY_MASQUERADE_BIT":       {"32", "-1", "0x4000"},
		"CAUSEWAY_NODE_PORT_ADDRESSES":  {"secondary", "10.0.0.1", "10.0.0.0/8,"},
		"CAUSEWAY_HEALTHZ_BIND_ADDRESS": {"10256", ":10256"}, "CAUSEWAY_PROXY_METRICS_BIND_ADDRESS": {"x"},
		"CAUSEWAY_CONNTRACK_MAX_PER_CORE": {"-1", "many"}, "CAUSEWAY_CONNTRACK_MIN": {"-1"},
		"CAUSEWAY_CONNTRACK_TCP_ESTABLISHED": {"86400", "-1s"}, "CAUSEWAY_CONNTRACK_TCP_CLOSE_WAIT": {"x"},
		"CAUSEWAY_CONNTRACK_UDP": {"241h"}, "CAUSEWAY_CONNTRACK_UDP_STREAM": {"1d"},
		"WARM_IP_TARGET": {"-1", "x"}, "MINIMUM_IP_TARGET": {"-1"}, "WARM_PREFIX_TARGET": {"-1", "1.5"}, "WARM_ENI_TARGET": {"-1", "32769"},
		"CAUSEWAY_RELEASE_AFTER": {"25h", "60"},
		"ENI_CONFIG_LABEL_DEF":   {"a b", "a/b/c"}, "ENI_CONFIG_ANNOTATION_DEF": {"-x"},
		"ENABLE_IPv4":                   {"yes", "false", "0"},
		"NETWORK_POLICY_ENFORCING_MODE": {"strict", "true"},
	}
	for _, v := range []string{"AWS_VPC_CNI_NODE_PORT_SUPPORT", "AWS_VPC_K8S_CNI_EXTERNALSNAT", "MANAGE_UNTAGGED_ENI", "DISABLE_METRICS", "DISABLE_LEAKED_ENI_CLEANUP", "ENABLE_PREFIX_DELEGATION", "ENABLE_IPv6", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG",
		"CAUSEWAY_MASQUERADE_ALL", "CAUSEWAY_LOCALHOST_NODE_PORTS", "CAUSEWAY_CONNTRACK_TCP_LIBERAL"} {
		vars[v] = []string{"yes", "2", "on", " true"}
	}
	for _, v := range []string{"ENABLE_V6_EGRESS",
		"ENABLE_POD_ENI", "ENABLE_MULTI_NIC", "ENABLE_IMDS_ONLY_MODE", "DISABLE_NETWORK_RESOURCE_PROVISIONING",
		"DISABLE_POD_V6", "DISABLE_INTROSPECTION", "ANNOTATE_POD_IP", "ENABLE_BANDWIDTH_PLUGIN"} {
		vars[v] = []string{"true", "1", "yes"}
	}
	return vars
}

func TestLoadBad(t *testing.T) {
	for variable, values := range bad() {
		for _, value := range values {
			got, _, err := Load(env(map[string]string{variable: value}))
			if err == nil {
				t.Errorf("%s=%q was accepted", variable, value)
				continue
			}
			text := err.Error()
			if !strings.HasPrefix(text, variable+"=") || !strings.Contains(text, "; want ") || strings.Contains(text, "\n") {
				t.Errorf("%s=%q: error is not one line with variable, value and what is right: %v", variable, value, err)
			}
			if d := diff(Config{}, got); d != "" {
				t.Errorf("%s=%q: a Config beside an error (-want +got):\n%s", variable, value, d)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, test := range []struct {
		vars map[string]string
		want string
	}{
		{map[string]string{"AWS_VPC_ENI_MTU": "12"}, `AWS_VPC_ENI_MTU="12": out of range; want 576..9001 bytes`},
		{map[string]string{"AWS_VPC_ENI_MTU": "1500", "POD_MTU": "1501"},
			`POD_MTU="1501": larger than the MTU of the ENIs; want 576..1500 bytes`},
		{map[string]string{"AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": "192.0.2.0/24,x"},
			`AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS="192.0.2.0/24,x": entry "x" is not an IPv4 CIDR; want IPv4 CIDRs, separated by commas`},
		{map[string]string{"ENABLE_V6_EGRESS": "true"}, `ENABLE_V6_EGRESS="true": not carried out by this version; want only false`},
		{map[string]string{"ENABLE_IPv4": "false"}, `ENABLE_IPv4="false": pods would have no address; want true, or ENABLE_IPv6="true" beside it`},
		{map[string]string{"ENABLE_IPv4": "false", "ENABLE_IPv6": "true"},
			`ENABLE_PREFIX_DELEGATION="false": IPv6 addresses are of a prefix; want true with ENABLE_IPv6="true" and ENABLE_IPv4="false"`},
		{map[string]string{"ENABLE_IPv4": "false", "ENABLE_IPv6": "true", "ENABLE_PREFIX_DELEGATION": "true", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG": "true"},
			`AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG="true": pods with IPv6 alone are all on the primary ENI; want false with ENABLE_IPv4="false"`},
	} {
		_, _, err := Load(env(test.vars))
		if err == nil || err.Error() != test.want {
			t.Errorf("%v:\n got %v\nwant %s", test.vars, err, test.want)
		}
	}
}

// TestLoadAllErrorsAtOnce gives every variable a bad value and wants one line
// for each.
func TestLoadAllErrorsAtOnce(t *testing.T) {
	vars := map[string]string{}
	for variable, values := range bad() {
		vars[variable] = values[0]
	}
	_, _, err := Load(env(vars))
	if err == nil {
		t.Fatal("no error")
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		variable, _, _ := strings.Cut(line, "=")
		got = append(got, variable)
	}
	slices.Sort(got)
	if d := cmp.Diff(slices.Sorted(maps.Keys(vars)), got); d != "" {
		t.Errorf("variables in the error (-want +got):\n%s", d)
	}
}

func TestWarnings(t *testing.T) {
	for _, variable := range []string{"INTROSPECTION_BIND_ADDRESS",
		"AWS_VPC_K8S_CNI_LOG_FILE"} {
		_, warnings, err := Load(env(map[string]string{variable: "3"}))
		if d := cmp.Diff([]string{variable + `="3" has no effect in this version`}, warnings); d != "" || err != nil {
			t.Errorf("error %v, warnings (-want +got):\n%s", err, d)
		}
	}
	_, warnings, err := Load(env(map[string]string{
		"AWS_VPC_K8S_CNI_EXTERNALSNAT": "true", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS": "192.0.2.0/24",
	}))
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS has no effect") {
		t.Errorf("excluded beside external SNAT: warnings %q, error %v", warnings, err)
	}
}

// TestDisableMetricsWins holds the order of the two rows that write one field.
func TestDisableMetricsWins(t *testing.T) {
	got, _, err := Load(env(map[string]string{"DISABLE_METRICS": "true", "CAUSEWAY_METRICS_BIND_ADDRESS": "127.0.0.1:1"}))
	if err != nil || got.Daemon.MetricsAddr != "" {
		t.Errorf("address %q, error %v; want none", got.Daemon.MetricsAddr, err)
	}
}

// FuzzLoad gives one variable any value: Load does not panic, and an error
// names that variable.
func FuzzLoad(f *testing.F) {
	rows := settings()
	for i, s := range rows {
		f.Add(uint(i), s.fallback)
		for _, value := range bad()[s.variable] {
			f.Add(uint(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, row uint, value string) {
		variable := rows[row%uint(len(rows))].variable
		c, _, err := Load(env(map[string]string{variable: value}))
		if err != nil && !strings.HasPrefix(err.Error(), variable+"=") {
			t.Errorf("%s=%q: error names another variable: %v", variable, value, err)
		}
		if err == nil && (c.Network.PodMTU < 576 || c.Network.PodMTU > c.Network.MTU || c.Network.ConnectionMark == 0) {
			t.Errorf("%s=%q: out of range: %+v", variable, value, c.Network)
		}
	})
}
