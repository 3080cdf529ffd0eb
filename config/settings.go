package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// A setting is one row of the table.
type setting struct {
	name     string // the field of Config, "" if there is none
	variable string // the environment variable
	fallback string // the text that is parsed when the variable is unset
	accepts  string // what would be right, for errors and for the page
	meaning  string
	// read parses the value into c. A warning is for the operator's log.
	read func(c *Config, value string) (warning string, err error)
}

// settings is the table, in the order of the page.
func settings() []setting {
	const boolean = "true or false"
	return slices.Concat([]setting{
		{"Network.MTU", "AWS_VPC_ENI_MTU", strconv.Itoa(DefaultMTU), "576..9001 bytes",
			"MTU of the ENIs", into(parseInt(576, 9001), func(c *Config) *int { return &c.Network.MTU })},
		{"Network.PodMTU", "POD_MTU", "", "576..AWS_VPC_ENI_MTU bytes",
			"MTU of pods; unset: that of the ENIs", into(optional(parseInt(576, 9001)), func(c *Config) *int { return &c.Network.PodMTU })},
		{"Network.VethPrefix", "AWS_VPC_K8S_CNI_VETHPREFIX", VethPrefix, "1..4 letters a-z, not eth, lo or vlan",
			"start of the names of pods' links on the host", into(parseVethPrefix, func(c *Config) *string { return &c.Network.VethPrefix })},
		{"Network.ConnectionMark", "AWS_VPC_K8S_CNI_CONNMARK", fmt.Sprintf("%#x", ConnectionMark), "1..4294967295, decimal or 0x",
			"mark and mask of connections that leave by the primary ENI", into(parseMark, func(c *Config) *uint32 { return &c.Network.ConnectionMark })},
		{"Network.NodePortSupport", "AWS_VPC_CNI_NODE_PORT_SUPPORT", "true", boolean,
			"answer node ports by the primary ENI", into(parseBool, func(c *Config) *bool { return &c.Network.NodePortSupport })},
		{"Network.ExternalServices", "AWS_EXTERNAL_SERVICE_CIDRS", "", "IPv4 CIDRs, separated by commas, not 0.0.0.0/0",
			"destinations that the main table routes for all pods", into(optional(parseDestinations), func(c *Config) *[]netip.Prefix { return &c.Network.ExternalServices })},
		{"Network.IPv4", "ENABLE_IPv4", "true", boolean + "; not both this and ENABLE_IPv6 false",
			"an IPv4 address for each pod; with ENABLE_IPv6 beside it, both of one ENI", into(parseBool, func(c *Config) *bool { return &c.Network.IPv4 })},
		{"Network.IPv6", "ENABLE_IPv6", "false", boolean,
			"an IPv6 address for each pod, of a /80 of its ENI; without ENABLE_IPv4 of the primary one, and ENABLE_PREFIX_DELEGATION is needed", into(parseBool, func(c *Config) *bool { return &c.Network.IPv6 })},

		{"SNAT.External", "AWS_VPC_K8S_CNI_EXTERNALSNAT", "false", boolean,
			"a NAT gateway does SNAT; the node does none", into(parseBool, func(c *Config) *bool { return &c.SNAT.External })},
		{"SNAT.Excluded", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "", "IPv4 CIDRs, separated by commas",
			"destinations outside the VPC without SNAT", into(optional(parsePrefixes), func(c *Config) *[]netip.Prefix { return &c.SNAT.Excluded })},
		{"SNAT.Random", "AWS_VPC_K8S_CNI_RANDOMIZESNAT", "prng", "prng, hashrandom or none",
			"how SNAT chooses source ports", into(parseChoice(RandomPRNG, RandomHash, RandomNone), func(c *Config) *Random { return &c.SNAT.Random })},
	}, poolSettings(), []setting{
		{"EC2.Endpoint", "AWS_EC2_ENDPOINT", "", "an http or https URL",
			"the EC2 API; unset: that of the region", into(optional(parseURL), func(c *Config) *string { return &c.EC2.Endpoint })},
		{"EC2.HTTPTimeout", "HTTP_TIMEOUT", "10", "10..86400 seconds",
			"limit for one HTTP request to AWS", into(parseSeconds(10, 86400), func(c *Config) *time.Duration { return &c.EC2.HTTPTimeout })},
		{"EC2.ClusterName", "CLUSTER_NAME", "", "at most 100 of A-Z a-z 0-9 - _ .",
			"name of the cluster, for the tags of ENIs", into(parseClusterName, func(c *Config) *string { return &c.EC2.ClusterName })},
		{"EC2.Tags", "ADDITIONAL_ENI_TAGS", "", "a JSON object of strings, no key with k8s.amazonaws.com or aws:",
			"more tags for our ENIs", into(optional(parseTags), func(c *Config) *map[string]string { return &c.EC2.Tags })},
		{"EC2.SweepEvery", "CAUSEWAY_SWEEP_EVERY", "1h", "0s..24h, as in 90m",
			"how often two nodes or so of the cluster delete ENIs that nodes left which are gone; 0: never; needs CLUSTER_NAME", into(parseDuration(24*time.Hour), func(c *Config) *time.Duration { return &c.EC2.SweepEvery })},
		{"EC2.SweepEvery", "DISABLE_LEAKED_ENI_CLEANUP", "false", boolean,
			"leave such ENIs where they are", disableSweep},

		{"Daemon.LogLevel", "AWS_VPC_K8S_CNI_LOGLEVEL", "info", "debug, info, warn or error",
			"least level that is logged", into(parseChoice(LogDebug, LogInfo, LogWarn, LogError), func(c *Config) *LogLevel { return &c.Daemon.LogLevel })},
		{"Daemon.BackingStore", "AWS_VPC_K8S_CNI_BACKING_STORE", BackingStore, "an absolute path",
			"aws-node's book: read when the node comes from it, written by `ipamd export`", into(parsePath, func(c *Config) *string { return &c.Daemon.BackingStore })},
		{"Daemon.MetricsAddr", "CAUSEWAY_METRICS_BIND_ADDRESS", "127.0.0.1:61678", "an IP address and a port",
			"where metrics, health and state are served", into(parseListenAddr, func(c *Config) *string { return &c.Daemon.MetricsAddr })},
		{"Daemon.MetricsAddr", "DISABLE_METRICS", "false", boolean,
			"serve no metrics, health and state", disableMetrics},
		{"Daemon.Switches", "CAUSEWAY_SWITCHES", "/etc/causeway/switches", "an absolute path",
			"directory of switches, read every 2 seconds: a file stop-releasing or stop-calling-ec2 that says true", into(parsePath, func(c *Config) *string { return &c.Daemon.Switches })},
		{"Daemon.IPTables", "CAUSEWAY_IPTABLES", "auto", "auto, nft or legacy",
			"the iptables that is written; auto: the one the node uses", into(parseChoice(IPTablesAuto, IPTablesNFT, IPTablesLegacy), func(c *Config) *IPTables { return &c.Daemon.IPTables })},
	}, hostSettings(), proxySettings(), []setting{
		must("ENABLE_V6_EGRESS", false, "IPv6 egress of IPv4 pods"),
		must("ENABLE_POD_ENI", false, "branch ENIs, security groups for pods"),
		must("ENABLE_MULTI_NIC", false, "several interfaces in a pod"),
		must("ENABLE_IMDS_ONLY_MODE", false, "work without the EC2 API"),
		must("DISABLE_NETWORK_RESOURCE_PROVISIONING", false, "leave ENIs and addresses to others"),
		must("DISABLE_POD_V6", false, "switch IPv6 off in pods"),
		must("DISABLE_INTROSPECTION", false, "serve no state; DISABLE_METRICS does that here"),
		must("ANNOTATE_POD_IP", false, "write addresses into annotations of pods"),
		must("ENABLE_BANDWIDTH_PLUGIN", false, "bandwidth limits of pods"),
		{"", "NETWORK_POLICY_ENFORCING_MODE", "none", "none or standard", "network policies; enforced by another agent, if at all", notStrict},
		unused("INTROSPECTION_BIND_ADDRESS", "another address for the state"),
		unused("AWS_VPC_K8S_CNI_LOG_FILE", "file for the log, which goes to standard error"),
	})
}

// into makes a row's reader from a parser and the field that takes its value.
func into[T any](parse func(string) (T, error), field func(*Config) *T) func(*Config, string) (string, error) {
	return func(c *Config, value string) (string, error) {
		v, err := parse(value)
		if err == nil {
			*field(c) = v
		}
		return "", err
	}
}

// optional reads the empty text as the zero value.
func optional[T any](parse func(string) (T, error)) func(string) (T, error) {
	return func(s string) (T, error) {
		if s == "" {
			var zero T
			return zero, nil
		}
		return parse(s)
	}
}

// disableMetrics stands below the row of the address that it empties.
func disableMetrics(c *Config, value string) (string, error) {
	disabled, err := parseBool(value)
	if disabled {
		c.Daemon.MetricsAddr = ""
	}
	return "", err
}

// disableSweep stands below the row of the time that it empties.
func disableSweep(c *Config, value string) (string, error) {
	disabled, err := parseBool(value)
	if disabled {
		c.EC2.SweepEvery = 0
	}
	return "", err
}

// notStrict refuses the mode in which a pod has no network until its policies
// are enforced: nobody would wait for that.
func notStrict(_ *Config, value string) (string, error) {
	_, err := parseChoice("none", "standard")(value)
	return "", err
}

// must is the row of a switch of aws-node that this version has in one
// position only.
func must(variable string, only bool, meaning string) setting {
	text := strconv.FormatBool(only)
	return setting{"", variable, text, "only " + text, meaning, func(_ *Config, value string) (string, error) {
		b, err := parseBool(value)
		if err == nil && b != only {
			err = errors.New("not carried out by this version")
		}
		return "", err
	}}
}

// unused is the row of a setting of aws-node whose absence does no harm.
func unused(variable, meaning string) setting {
	return setting{"", variable, "", "anything", meaning + "; no effect in this version", func(_ *Config, value string) (string, error) {
		if value == "" {
			return "", nil
		}
		return fmt.Sprintf("%s=%q has no effect in this version", variable, value), nil
	}}
}
