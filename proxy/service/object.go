package service

import (
	"net/netip"
	"time"
)

// Key names a Service or an EndpointSlice.
type Key struct{ Namespace, Name string }

// String is "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Service is a Service of the cluster, with the fields that a proxy uses. What
// the API leaves open has the API's default: an unset policy is Cluster.
// spec.trafficDistribution is not here: the control plane turns it into the
// hints of Endpoint, which alone decide.
type Service struct {
	Key
	// Type is spec.type, as "ClusterIP".
	Type Type
	// OtherProxy says that the label service.kubernetes.io/service-proxy-name
	// is present: another proxy serves this one.
	OtherProxy bool
	// ClusterIPs is spec.clusterIPs, at most one of each family; it is empty
	// for a headless service ("None").
	ClusterIPs []netip.Addr
	// ExternalIPs is spec.externalIPs.
	ExternalIPs []netip.Addr
	// Ingress is status.loadBalancer.ingress, without those that have only a
	// host name.
	Ingress []Ingress
	// SourceRanges is spec.loadBalancerSourceRanges; if none is of a family,
	// that family is not restricted.
	SourceRanges []netip.Prefix
	// Affinity is the timeout of spec.sessionAffinity ClientIP, whole seconds;
	// 0 for no affinity.
	Affinity time.Duration
	// Internal is spec.internalTrafficPolicy, for cluster IPs; External is
	// spec.externalTrafficPolicy, for everything else.
	Internal, External Policy
	// HealthCheckNodePort is spec.healthCheckNodePort; 0 for none.
	HealthCheckNodePort int32
	// Ports is spec.ports.
	Ports []Port
	// Faults are what could not be read of the object, each naming the field
	// and the value. A service with faults is refused whole.
	Faults []string
}

// Type is the type of a Service, in the words of the API.
type Type string

// The types.
const (
	ClusterIP    Type = "ClusterIP"
	NodePort     Type = "NodePort"
	LoadBalancer Type = "LoadBalancer"
	ExternalName Type = "ExternalName"
)

// Policy is a traffic policy.
type Policy uint8

const (
	// Cluster sends to endpoints of all nodes.
	Cluster Policy = iota
	// Local sends to endpoints of this node only.
	Local
)

// String is the policy in the words of the API.
func (p Policy) String() string { return [...]string{"Cluster", "Local"}[p] }

// Ingress is an address of a load balancer.
type Ingress struct {
	Addr netip.Addr
	// Proxy is ipMode Proxy: the balancer wants to see all traffic, so the
	// node does not answer for it. Unset and VIP are false.
	Proxy bool
}

// Protocol is a transport protocol, in the words of the API.
type Protocol string

// The protocols.
const (
	TCP  Protocol = "TCP"
	UDP  Protocol = "UDP"
	SCTP Protocol = "SCTP"
)

// Port is a port of a Service. Numbers are as the API carries them, unchecked.
type Port struct {
	Name     string // "" if the service's only port has none
	Protocol Protocol
	Port     int32
	NodePort int32 // 0 for none
}

// EndpointSlice is a part of a service's endpoints.
type EndpointSlice struct {
	Key
	// Service is the label kubernetes.io/service-name; "" belongs to none.
	Service string
	// Headless says that the label service.kubernetes.io/headless is present.
	Headless bool
	// Family is the addressType. Slices of OtherFamily are not used.
	Family    Family
	Ports     []EndpointPort
	Endpoints []Endpoint
	// Triggered is the annotation
	// endpoints.kubernetes.io/last-change-trigger-time; zero without it. The
	// model does not use it: it is for measuring how long programming took.
	Triggered time.Time
}

// Family is a family of addresses.
type Family uint8

// The families.
const (
	OtherFamily Family = iota // FQDN
	IPv4
	IPv6
)

// String is the family in the words of the API.
func (f Family) String() string { return [...]string{"FQDN", "IPv4", "IPv6"}[f] }

// FamilyOf is the family of an address; OtherFamily if it is invalid.
func FamilyOf(a netip.Addr) Family {
	switch {
	case a.Is4():
		return IPv4
	case a.Is6():
		return IPv6
	}
	return OtherFamily
}

// EndpointPort is a port of an EndpointSlice; its name is that of the Port of
// the Service. One without a number (0) is not used.
type EndpointPort struct {
	Name     string
	Protocol Protocol
	Port     int32
}

// Endpoint is one pod, usually.
type Endpoint struct {
	// Addr is addresses[0]; the others are never used.
	Addr netip.Addr
	// Ready and Serving are true if the API does not say; Terminating false.
	Ready, Serving, Terminating bool
	// Node is nodeName; "" if the API does not say.
	Node string
	// HintZones and HintNodes are hints.forZones and hints.forNodes.
	HintZones, HintNodes []string
}

// Node is the node that we run on.
type Node struct {
	Name string
	// Zone is the label topology.kubernetes.io/zone.
	Zone string
	// Addrs are the addresses of status.addresses of types InternalIP and
	// ExternalIP, in that order.
	Addrs []netip.Addr
	// PodCIDRs is spec.podCIDRs.
	PodCIDRs []netip.Prefix
	// Deleting says that deletionTimestamp is set.
	Deleting bool
	// Taints are the keys of spec.taints.
	Taints []string
}
