package control

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// LoadBalancer describes a load balancer; see its fields for the defaults.
type LoadBalancer = topology.LoadBalancer

// Target is a member of a target group.
type Target = topology.Target

// Duration is a length of time that JSON and YAML spell as "1.5s".
type Duration = span.Duration

// Listener is a port that a load balancer listens on.
type Listener = topology.Listener

// ListenerRule sends requests of a host and a path to a target group.
type ListenerRule = topology.Rule

// HealthCheck is how targets are checked.
type HealthCheck = topology.HealthCheck

// TargetGroup is a set of targets and how they are checked.
type TargetGroup = topology.TargetGroup

// BalancerStatus is a load balancer and where it is reached.
type BalancerStatus struct {
	LoadBalancer
	Zones []BalancerZone `json:"zones"`
}

// BalancerZone is a load balancer in one availability zone.
type BalancerZone struct {
	Zone    string     `json:"zone"`
	Subnet  string     `json:"subnet"` // name
	ENI     string     `json:"eni"`
	Address netip.Addr `json:"address"`
	Public  netip.Addr `json:"public,omitzero"`
}

// TargetHealth is the state of one target, in the words of the ELB API.
type TargetHealth struct {
	Balancer    string         `json:"balancer"`
	Group       string         `json:"group"`
	Target      Target         `json:"target"`
	Endpoint    netip.AddrPort `json:"endpoint,omitzero"` // where packets go
	Zone        string         `json:"zone,omitempty"`    // empty for addresses outside the VPC
	State       string         `json:"state"`             // initial, healthy, unhealthy, draining or unused
	Reason      string         `json:"reason,omitempty"`  // like Elb.InitialHealthChecking
	Description string         `json:"description,omitempty"`
}

// TargetChange registers or deregisters targets of a group.
type TargetChange struct {
	Balancer string   `json:"balancer"`
	Group    string   `json:"group,omitempty"` // empty is the balancer's first
	Targets  []Target `json:"targets"`
}

// CreateBalancer makes a load balancer with its interfaces.
func (c *Client) CreateBalancer(ctx context.Context, b LoadBalancer) (BalancerStatus, error) {
	var out BalancerStatus
	err := c.call(ctx, http.MethodPost, "/v1/balancers", b, &out)
	return out, err
}

// ModifyBalancer gives a load balancer other listeners, groups and settings;
// its addresses, and the targets of groups that stay, stay.
func (c *Client) ModifyBalancer(ctx context.Context, b LoadBalancer) (BalancerStatus, error) {
	var out BalancerStatus
	err := c.call(ctx, http.MethodPut, "/v1/balancers", b, &out)
	return out, err
}

// DeleteBalancer removes a load balancer.
func (c *Client) DeleteBalancer(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/balancers?"+url.Values{"name": {name}}.Encode(), nil, nil)
}

// Balancers lists the load balancers by name.
func (c *Client) Balancers(ctx context.Context) ([]BalancerStatus, error) {
	var out []BalancerStatus
	err := c.call(ctx, http.MethodGet, "/v1/balancers", nil, &out)
	return out, err
}

// RegisterTargets adds targets to a group. One that is there stays as it is;
// one that drains begins anew.
func (c *Client) RegisterTargets(ctx context.Context, t TargetChange) error {
	return c.call(ctx, http.MethodPost, "/v1/balancers/register", t, nil)
}

// DeregisterTargets lets targets of a group drain and then go.
func (c *Client) DeregisterTargets(ctx context.Context, t TargetChange) error {
	return c.call(ctx, http.MethodPost, "/v1/balancers/deregister", t, nil)
}

// TargetHealth lists the targets of a load balancer, of all without a name.
func (c *Client) TargetHealth(ctx context.Context, balancer string) ([]TargetHealth, error) {
	var out []TargetHealth
	err := c.call(ctx, http.MethodGet, "/v1/balancers/health?"+url.Values{"name": {balancer}}.Encode(), nil, &out)
	return out, err
}
