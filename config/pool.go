package config

import (
	"errors"
	"strings"
	"time"
)

// Pool says how many ENIs and addresses the node may hold, and for how long.
type Pool struct {
	// CoolDown is how long a released address rests before it is handed out again.
	CoolDown time.Duration
	// MaxENIs is the operator's limit, primary ENI included; 0 means only
	// that of the instance type.
	MaxENIs int
	// ManageUntagged is whether ENIs that others attached, without our tag,
	// may serve pods.
	ManageUntagged bool
	// AssignWait is how long a request waits for an address before it fails.
	AssignWait time.Duration
	// Prefixes is whether the node asks for /28 prefixes in place of single
	// addresses.
	Prefixes bool
	// WarmAddresses and MinimumAddresses are how many addresses are to be free,
	// and how many the node is to have; 0 means no such target.
	WarmAddresses, MinimumAddresses int
	// WarmENIs and WarmPrefixes are how many ENIs' and prefixes' worth of
	// addresses are to be free; Unset means no such target.
	WarmENIs, WarmPrefixes int
	// ReleaseAfter is for how long there must be too much before it goes back
	// to the subnet; 0 means that it never does.
	ReleaseAfter time.Duration
	// ManageCordoned is whether a node that takes no new pods creates and
	// returns ENIs as others do.
	ManageCordoned bool
	// Discovery is whether ENIs of pods are made also in subnets that are tagged
	// for them, and none in those that are kept from them.
	Discovery bool
	// CustomNetwork is whether ENIs of pods are made where an ENIConfig says.
	CustomNetwork bool
	// ENIConfigAnnotation and ENIConfigLabel are those of the Node that name it.
	ENIConfigAnnotation, ENIConfigLabel string
}

// Unset is a target that is not set, which is not the same as 0.
const Unset = -1

// poolSettings are the rows of the pool.
func poolSettings() []setting {
	const target = "0..32768; unset: none"
	return []setting{
		{"Pool.CoolDown", "IP_COOLDOWN_PERIOD", "30", "0..86400 seconds",
			"rest of a released address before it is handed out again", into(parseSeconds(0, 86400), func(c *Config) *time.Duration { return &c.Pool.CoolDown })},
		{"Pool.MaxENIs", "MAX_ENI", "-1", "-1 or 1..32768",
			"most ENIs, primary included; -1: as many as the instance type has", into(parseMaxENIs, func(c *Config) *int { return &c.Pool.MaxENIs })},
		{"Pool.ManageUntagged", "MANAGE_UNTAGGED_ENI", "true", "true or false",
			"use ENIs for pods that others attached", into(parseBool, func(c *Config) *bool { return &c.Pool.ManageUntagged })},
		{"Pool.AssignWait", "CAUSEWAY_ASSIGN_WAIT", "30s", "0s..2m, as in 500ms or 10s",
			"how long a pod's request waits for an address", into(parseDuration(2*time.Minute), func(c *Config) *time.Duration { return &c.Pool.AssignWait })},
		{"Pool.Prefixes", "ENABLE_PREFIX_DELEGATION", "false", "true or false",
			"/28 prefixes in place of single addresses, where instance type and subnet have them", into(parseBool, func(c *Config) *bool { return &c.Pool.Prefixes })},
		{"Pool.WarmAddresses", "WARM_IP_TARGET", "0", "0..32768",
			"free addresses to hold; 0: no such target", into(parseInt(0, 1<<15), func(c *Config) *int { return &c.Pool.WarmAddresses })},
		{"Pool.MinimumAddresses", "MINIMUM_IP_TARGET", "0", "0..32768",
			"addresses to hold, with those of pods; 0: no such target", into(parseInt(0, 1<<15), func(c *Config) *int { return &c.Pool.MinimumAddresses })},
		{"Pool.WarmPrefixes", "WARM_PREFIX_TARGET", "", target,
			"free prefixes to hold, unless WARM_IP_TARGET or MINIMUM_IP_TARGET is set", into(parseTarget, func(c *Config) *int { return &c.Pool.WarmPrefixes })},
		{"Pool.WarmENIs", "WARM_ENI_TARGET", "", target + ": the pool follows demand",
			"ENIs' worth of free addresses to hold, unless one of the targets above is set", into(parseTarget, func(c *Config) *int { return &c.Pool.WarmENIs })},
		{"Pool.ReleaseAfter", "CAUSEWAY_RELEASE_AFTER", "1m", "0s..24h, as in 90s or 10m",
			"for how long there must be too much before it goes back to the subnet; 0: it never does", into(parseDuration(24*time.Hour), func(c *Config) *time.Duration { return &c.Pool.ReleaseAfter })},
		{"Pool.ManageCordoned", "AWS_MANAGE_ENIS_NON_SCHEDULABLE", "false", "true or false",
			"create and return ENIs also while the node is cordoned; if not, it holds no spare addresses then", into(parseBool, func(c *Config) *bool { return &c.Pool.ManageCordoned })},
		{"Pool.Discovery", "ENABLE_SUBNET_DISCOVERY", "true", "true or false",
			"ENIs also in subnets tagged kubernetes.io/role/cni=1, none in those tagged =0; without effect on custom networking", into(parseBool, func(c *Config) *bool { return &c.Pool.Discovery })},
		{"Pool.CustomNetwork", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false", "true or false",
			"make the ENIs of pods where the node's ENIConfig says", into(parseBool, func(c *Config) *bool { return &c.Pool.CustomNetwork })},
		{"Pool.ENIConfigAnnotation", "ENI_CONFIG_ANNOTATION_DEF", "k8s.amazonaws.com/eniConfig", "an annotation",
			"annotation of the Node that names its ENIConfig", into(parseName, func(c *Config) *string { return &c.Pool.ENIConfigAnnotation })},
		{"Pool.ENIConfigLabel", "ENI_CONFIG_LABEL_DEF", "k8s.amazonaws.com/eniConfig", "a label",
			"label of the Node that names its ENIConfig; topology.kubernetes.io/zone for one in each zone", into(parseName, func(c *Config) *string { return &c.Pool.ENIConfigLabel })},
	}
}

// parseTarget reads the empty text as Unset.
func parseTarget(s string) (int, error) {
	if s == "" {
		return Unset, nil
	}
	return parseInt(0, 1<<15)(s)
}

// parseName reads the key of a label or annotation: a name of up to 63
// characters, after an optional DNS name and a slash (Kubernetes, "Labels and
// Selectors", syntax).
func parseName(s string) (string, error) {
	domain, name, split := strings.Cut(s, "/")
	if !split {
		domain, name = "example.com", s
	}
	if !isName(domain, 253) || !isName(name, 63) {
		return "", errors.New("not the name of a label")
	}
	return s, nil
}

func isName(s string, longest int) bool {
	const ends = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return s != "" && len(s) <= longest && strings.Trim(s, ends+"-_.") == "" &&
		strings.ContainsAny(s[:1], ends) && strings.ContainsAny(s[len(s)-1:], ends)
}
