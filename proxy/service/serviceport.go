package service

import (
	"net/netip"
	"time"
)

// PortName names a service-port: all that rules are named and commented by.
type PortName struct {
	Key
	Port     string
	Protocol Protocol
}

// String is "namespace/name:port", or "namespace/name" if the port has no name.
func (n PortName) String() string {
	if n.Port == "" {
		return n.Key.String()
	}
	return n.Key.String() + ":" + n.Port
}

// ServicePort is one port of a service for one family, with all that decides
// where its traffic goes. Addresses of other families, front ends that another
// service has, and what kube-proxy ignores are left out.
type ServicePort struct {
	Name      PortName
	Family    Family
	ClusterIP netip.Addr // invalid if another service has it
	Port      uint16
	// ExternalIPs, VIPs and NodePort are the front ends from outside the
	// cluster. VIPs are the load balancer's addresses that the node answers
	// for itself.
	ExternalIPs []netip.Addr
	VIPs        []netip.Addr
	NodePort    uint16 // 0 for none
	// HostPort is the front end of one pod on this node; such a service-port
	// has no other.
	HostPort HostPort
	// SourceRanges are who may use the VIPs; empty for everybody.
	SourceRanges []netip.Prefix
	// Affinity is for how long a client stays with an endpoint; 0 for none.
	Affinity           time.Duration
	Internal, External Policy
	// HealthCheckNodePort answers the balancer's health checks; 0 for none.
	HealthCheckNodePort uint16
	// Cluster are the endpoints for policy Cluster, LocalOnly those for policy
	// Local; empty if nothing uses that policy. Sorted by their text.
	Cluster, LocalOnly []Target
	// Anywhere says that some node has a usable endpoint: without one traffic
	// is rejected, with one that is out of reach it is dropped.
	Anywhere bool
	// Serving are all endpoints that serve, wherever they are, ready or not: a
	// flow that leads to one of them is left alone. UDP only; sorted.
	Serving []netip.AddrPort
}

// HostPort is a port of the node that leads to one of its pods, as a pod's
// hostPort asks for. Unlike a node port it is on all addresses of the node,
// loopback included where the kernel is told to route that.
type HostPort struct {
	Addr netip.Addr // one address of the node; invalid for all
	Port uint16     // 0 for none
}

// Target is an endpoint to translate to.
type Target struct {
	netip.AddrPort
	// Local says that it is on this node.
	Local bool
}

// ExternallyAccessible says whether there is a front end besides the cluster IP.
func (p ServicePort) ExternallyAccessible() bool {
	return p.NodePort != 0 || p.HostPort.Port != 0 || len(p.VIPs) > 0 || len(p.ExternalIPs) > 0
}

// UsesCluster says whether anything goes to endpoints of all nodes: what comes
// from inside to an external front end does, whatever the policy.
func (p ServicePort) UsesCluster() bool { return p.Internal == Cluster || p.ExternallyAccessible() }

// UsesLocal says whether anything goes to local endpoints only.
func (p ServicePort) UsesLocal() bool {
	return p.Internal == Local || p.External == Local && p.ExternallyAccessible()
}

// InternalTargets are where the cluster IP leads.
func (p ServicePort) InternalTargets() []Target { return p.targets(p.Internal) }

// ExternalTargets are where external traffic to external front ends leads.
func (p ServicePort) ExternalTargets() []Target { return p.targets(p.External) }

func (p ServicePort) targets(policy Policy) []Target {
	if policy == Local {
		return p.LocalOnly
	}
	return p.Cluster
}
