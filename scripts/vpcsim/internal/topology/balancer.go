package topology

import (
	"cmp"
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// Types of load balancers.
const (
	NLB = "nlb" // translates packets, flow by flow
	ALB = "alb" // speaks HTTP with clients and with targets
)

// Schemes of load balancers.
const (
	Internal       = "internal"
	InternetFacing = "internet-facing"
)

// Kinds of targets.
const (
	TargetInstance = "instance" // a node, at its primary interface's primary address
	TargetIP       = "ip"       // an address
)

// LoadBalancer is a network or application load balancer with its listeners
// and target groups.
type LoadBalancer struct {
	Name   string `json:"name"`
	Type   string `json:"type,omitempty"`   // NLB (default) or ALB
	Scheme string `json:"scheme,omitempty"` // Internal (default) or InternetFacing
	// Subnets are names, one per availability zone; empty is all subnets.
	Subnets []string `json:"subnets,omitempty"`
	// CrossZone: an address of the balancer sends to targets in all enabled
	// zones. Default: false for an NLB; an ALB always does.
	CrossZone    *bool         `json:"crossZone,omitempty"`
	Listeners    []Listener    `json:"listeners"`
	TargetGroups []TargetGroup `json:"targetGroups"`
}

// Listener is a port that clients speak to.
type Listener struct {
	Protocol string `json:"protocol,omitempty"` // TCP (default of an NLB), UDP or HTTP (default of an ALB)
	Port     uint16 `json:"port"`
	// TargetGroup is the name of the group that it sends to; empty is the
	// first one, or with rules none: who asks for something else gets a 404.
	TargetGroup string `json:"targetGroup,omitempty"`
	Rules       []Rule `json:"rules,omitempty"` // of an ALB
}

// TargetGroup is a set of targets, how they are checked and how they are sent
// to.
type TargetGroup struct {
	Name       string `json:"name"`
	TargetType string `json:"targetType,omitempty"` // TargetInstance (default) or TargetIP
	Protocol   string `json:"protocol,omitempty"`   // default: that of the first listener of the group
	Port       uint16 `json:"port"`                 // of targets that name no port
	// PreserveClientIP: targets see the client's address. Default: as AWS
	// documents it, true for instances and for UDP, where it cannot be turned
	// off, and false for TCP to addresses.
	PreserveClientIP *bool `json:"preserveClientIP,omitempty"`
	// DeregistrationDelay is how long a target drains (default 300 s).
	DeregistrationDelay *span.Duration `json:"deregistrationDelay,omitempty"`
	HealthCheck         HealthCheck    `json:"healthCheck,omitzero"`
	Targets             []Target       `json:"targets,omitempty"`
}

// HealthCheck is how the targets of a group are checked.
type HealthCheck struct {
	Protocol           string        `json:"protocol,omitempty"`           // TCP (default of an NLB) or HTTP (default of an ALB)
	Port               uint16        `json:"port,omitempty"`               // 0 is the target's own
	Path               string        `json:"path,omitempty"`               // default /
	Interval           span.Duration `json:"interval,omitzero"`            // default 30 s
	Timeout            span.Duration `json:"timeout,omitzero"`             // default TCP 10 s, HTTP 6 s; ALB 5 s
	HealthyThreshold   int           `json:"healthyThreshold,omitempty"`   // default 5
	UnhealthyThreshold int           `json:"unhealthyThreshold,omitempty"` // default 2
	Codes              string        `json:"codes,omitempty"`              // HTTP, like 200-399,404; default 200-399, ALB 200
}

// Target is one member of a group: a node or an address, by the group's kind.
type Target struct {
	Node    string     `json:"node,omitempty"`
	Address netip.Addr `json:"address,omitzero"`
	Port    uint16     `json:"port,omitempty"` // 0 is the group's
}

// Complete returns the balancer with every default filled in. The defaults are
// those of the ELB API reference.
func (b LoadBalancer) Complete(subnets []string) LoadBalancer {
	b.Type, b.Scheme = or(b.Type, NLB), or(b.Scheme, Internal)
	if len(b.Subnets) == 0 {
		b.Subnets = subnets
	}
	if b.CrossZone == nil {
		b.CrossZone = new(b.Type == ALB)
	}
	protocol := "TCP"
	if b.Type == ALB {
		protocol = "HTTP"
	}
	b.Listeners = append([]Listener(nil), b.Listeners...)
	for i := range b.Listeners {
		l := &b.Listeners[i]
		l.Protocol = or(l.Protocol, protocol)
		if l.TargetGroup == "" && len(l.Rules) == 0 && len(b.TargetGroups) > 0 {
			l.TargetGroup = b.TargetGroups[0].Name
		}
	}
	b.TargetGroups = append([]TargetGroup(nil), b.TargetGroups...)
	for i := range b.TargetGroups {
		b.TargetGroups[i].complete(b)
	}
	return b
}

func (g *TargetGroup) complete(b LoadBalancer) {
	g.TargetType = or(g.TargetType, TargetInstance)
	for _, l := range b.Listeners {
		if l.TargetGroup == g.Name {
			g.Protocol = or(g.Protocol, l.Protocol)
		}
	}
	if b.Type == ALB {
		g.Protocol = or(g.Protocol, "HTTP")
	}
	g.Protocol = or(g.Protocol, "TCP")
	if g.PreserveClientIP == nil {
		g.PreserveClientIP = new(b.Type == NLB && (g.TargetType == TargetInstance || g.Protocol == "UDP"))
	}
	if g.DeregistrationDelay == nil {
		g.DeregistrationDelay = new(span.Duration(300 * time.Second))
	}
	g.HealthCheck.complete(b.Type)
	g.Targets = append([]Target(nil), g.Targets...)
	for i := range g.Targets {
		g.Targets[i] = g.Member(g.Targets[i])
	}
}

// Member returns a target of the group with the group's port if it has none.
func (g TargetGroup) Member(t Target) Target {
	if t.Port == 0 {
		t.Port = g.Port
	}
	return t
}

func (h *HealthCheck) complete(balancer string) {
	protocol, timeout, codes := "TCP", 10*time.Second, "200-399"
	if balancer == ALB {
		protocol, codes = "HTTP", "200"
	}
	h.Protocol = or(h.Protocol, protocol)
	switch {
	case balancer == ALB:
		timeout = 5 * time.Second
	case h.Protocol == "HTTP":
		timeout = 6 * time.Second
	}
	h.Path, h.Codes = or(h.Path, "/"), or(h.Codes, codes)
	h.Interval = cmp.Or(h.Interval, span.Duration(30*time.Second))
	h.Timeout = cmp.Or(h.Timeout, span.Duration(timeout))
	h.HealthyThreshold = cmp.Or(h.HealthyThreshold, 5)
	h.UnhealthyThreshold = cmp.Or(h.UnhealthyThreshold, 2)
}
