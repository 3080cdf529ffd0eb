// Package config turns the environment of the daemon into typed values.
//
// One table (settings.go) holds every setting: its name, environment variable,
// default, accepted values, meaning and parser. Loading, error messages and
// the settings page are read off that table, so that they cannot disagree. The
// variables are those of aws-node (amazon-vpc-cni-k8s README, "CNI
// configuration variables") wherever the meaning is the same; our own begin
// with CAUSEWAY_.
//
// The package reads no environment, file or clock; the caller hands in a
// lookup. It refuses what it does not understand: a bad value is an error that
// names variable, value and what would be right, and all such errors come at
// once. A setting of aws-node that this version does not carry out is refused
// where ignoring it would change what the node does, and otherwise accepted
// with a warning. A variable that is set to the empty string counts as unset.
//
// The package also holds every name and number by which our objects on a node
// are told from those of others (names.go).
package config

import (
	"net/netip"
	"time"
)

// Config is everything that can be set on a node, checked.
type Config struct {
	Network Network
	SNAT    SNAT
	Pool    Pool
	EC2     EC2
	Daemon  Daemon
	Host    Host
	Kube    Kube
	Proxy   Proxy
	// Conntrack is set only where services are served.
	Conntrack Conntrack
}

// Network says how pods' links and the node's routing are made.
type Network struct {
	// MTU of the ENIs in bytes, 576..9001.
	MTU int
	// PodMTU is the MTU inside pods and on their veths, 576..MTU bytes.
	PodMTU int
	// VethPrefix begins the names of the pods' host-side links, 1..4 letters.
	VethPrefix string
	// ConnectionMark is value and mask of the mark on connections that must
	// leave by the primary ENI; never 0.
	ConnectionMark uint32
	// IPv4 and IPv6 are the families of which a pod gets an address, one of each.
	IPv4, IPv6 bool
	// NodePortSupport keeps replies to node ports on the primary ENI.
	NodePortSupport bool
	// ExternalServices are IPv4 destinations that the main table routes, also
	// for pods of secondary ENIs. Masked, each once, in the order given; none
	// is 0.0.0.0/0.
	ExternalServices []netip.Prefix
}

// SNAT says which traffic leaves the VPC by the node's primary address.
type SNAT struct {
	// External means that a NAT gateway does it: this node does none.
	External bool
	// Excluded are IPv4 destinations outside the VPC that see the pod's own
	// address. Masked, each once, in the order given.
	Excluded []netip.Prefix
	// Random is how source ports are chosen.
	Random Random
}

// EC2 says how the EC2 API is reached and what our ENIs are tagged with.
type EC2 struct {
	// Endpoint is the URL of the API; empty means that of the region.
	Endpoint string
	// HTTPTimeout bounds one HTTP request to AWS.
	HTTPTimeout time.Duration
	// ClusterName is written on our ENIs; empty means no such tag.
	ClusterName string
	// Tags are the operator's own tags for our ENIs.
	Tags map[string]string
	// SweepEvery is how often ENIs of nodes that are gone are looked for; 0 means
	// never.
	SweepEvery time.Duration
}

// Daemon says how the process itself behaves.
type Daemon struct {
	LogLevel LogLevel
	// BackingStore is the path of the file in which aws-node keeps its
	// assignments.
	BackingStore string
	// MetricsAddr is the address and port of metrics and health; empty means
	// that none are served.
	MetricsAddr string
	IPTables    IPTables
	// Switches is the directory of the switches that can change at run time.
	Switches string
}

// Random is how SNAT chooses source ports; its text is that of aws-node.
type Random string

// The ways of choosing source ports (iptables-extensions(8), SNAT).
const (
	// RandomPRNG is --random-fully: ports come from a random generator.
	RandomPRNG Random = "prng"
	// RandomHash is --random: ports come from a hash with a random seed.
	RandomHash Random = "hashrandom"
	// RandomNone keeps the pod's source port where it is free.
	RandomNone Random = "none"
)

// LogLevel is the least level that is logged. Its text is understood by
// slog.Level.UnmarshalText.
type LogLevel string

// The log levels, most words first.
const (
	LogDebug LogLevel = "debug"
	LogInfo  LogLevel = "info"
	LogWarn  LogLevel = "warn"
	LogError LogLevel = "error"
)

// IPTables is which of the kernel's two implementations of iptables is written.
type IPTables string

// The choices of iptables.
const (
	// IPTablesAuto takes the one that the node's other programs use.
	IPTablesAuto   IPTables = "auto"
	IPTablesNFT    IPTables = "nft"
	IPTablesLegacy IPTables = "legacy"
)
