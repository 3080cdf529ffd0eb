// Package control is the admin side of a running simulator: a client and the
// values that it exchanges. The API is JSON over HTTP on a unix socket; the
// command line, the demo and end-to-end tests all speak through Client.
package control

import (
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// Rule is a fault rule; see its fields for what can go wrong.
type Rule = fault.Rule

// Effect is what a rule does to the calls that it matches.
type Effect = fault.Effect

// Error is an injected EC2 error, or an IMDS status.
type Error = fault.Error

// Window is the stretch of time in which a rule acts.
type Window = fault.Window

// FaultState is a rule in force with its counts.
type FaultState = fault.State

// Call counts an action by caller and outcome.
type Call = reqlog.Count

// RulesHelp explains the language of fault rules, for people.
const RulesHelp = fault.Help

// ParseRules reads fault rules from YAML or JSON, one or a list.
func ParseRules(data []byte) ([]Rule, error) { return fault.Parse(data) }

// Status is the whole simulator at one moment.
type Status struct {
	Seed   uint64         `json:"seed"`
	Region string         `json:"region"`
	VPCID  string         `json:"vpcID"`
	CIDRs  []netip.Prefix `json:"cidrs"`
	// ClusterEndpoint is the URL of the Kubernetes API inside the VPC.
	ClusterEndpoint string           `json:"clusterEndpoint,omitempty"`
	Subnets         []SubnetStatus   `json:"subnets"`
	Nodes           []NodeStatus     `json:"nodes"`
	LoadBalancers   []BalancerStatus `json:"loadBalancers,omitempty"`
	// Detached are ENIs without an attachment, but for those of load balancers.
	Detached []InterfaceStatus `json:"detached,omitempty"`
}

// SubnetStatus is one subnet.
type SubnetStatus struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Zone     string `json:"zone"`
	CIDR     string `json:"cidr"`
	IPv6CIDR string `json:"ipv6CIDR,omitempty"`
	Egress   string `json:"egress"`
	Free     int    `json:"free"`    // IPv4 addresses
	Tenants  int    `json:"tenants"` // IPv4 addresses that others hold
}

// NodeStatus is one instance.
type NodeStatus struct {
	Name       string            `json:"name"`
	InstanceID string            `json:"instanceID"`
	Type       string            `json:"type"`
	State      string            `json:"state"`
	Subnet     string            `json:"subnet"`
	Zone       string            `json:"zone"`
	AccessKey  string            `json:"accessKey"`
	Namespace  string            `json:"namespace,omitempty"` // of the network, if there is a fabric
	Env        map[string]string `json:"env,omitempty"`       // what a program on the node needs
	Interfaces []InterfaceStatus `json:"interfaces"`          // by card and device index
}

// InterfaceStatus is one ENI.
type InterfaceStatus struct {
	ID                  string            `json:"id"`
	MAC                 string            `json:"mac"`
	Subnet              string            `json:"subnet"` // name
	Status              string            `json:"status"`
	Description         string            `json:"description,omitempty"`
	AttachmentID        string            `json:"attachmentID,omitempty"`
	AttachmentStatus    string            `json:"attachmentStatus,omitempty"`
	DeviceIndex         int               `json:"deviceIndex"`
	NetworkCard         int               `json:"networkCard"`
	DevicePresent       bool              `json:"devicePresent"`
	SourceDestCheck     bool              `json:"sourceDestCheck"`
	DeleteOnTermination bool              `json:"deleteOnTermination"`
	Addresses           []netip.Addr      `json:"addresses"` // primary, secondary, IPv6
	Prefixes            []netip.Prefix    `json:"prefixes,omitempty"`
	Public              map[string]string `json:"public,omitempty"` // private to public address
	Tags                map[string]string `json:"tags,omitempty"`
}

// Drop counts packets that the fabric dropped at an ENI.
type Drop struct {
	Node    string `json:"node"`
	ENI     string `json:"eni"`
	Reason  string `json:"reason"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// Request is one line of the request log.
type Request struct {
	Time       time.Time         `json:"time"`
	Service    string            `json:"service"` // ec2, imds or kubernetes
	Node       string            `json:"node,omitempty"`
	Caller     string            `json:"caller,omitempty"`
	Action     string            `json:"action"`
	Params     map[string]string `json:"params,omitempty"`
	Attempt    string            `json:"attempt,omitempty"`
	Invocation string            `json:"invocation,omitempty"`
	Status     int               `json:"status"`
	Code       string            `json:"code,omitempty"`
	Faults     []string          `json:"faults,omitempty"`
	LatencyMS  float64           `json:"latencyMs"`
}

// SubnetChange sets the default route of a subnet, named by its name or id.
type SubnetChange struct {
	Subnet string `json:"subnet"`
	Egress string `json:"egress,omitempty"` // "igw", "nat" or "none"
}

// Tenants are others who take IPv4 addresses of a subnet. EC2 shows of them
// only that the addresses are not free.
type Tenants struct {
	Subnet    string   `json:"subnet"`       // name or id
	Addresses int      `json:"addresses"`    // -1 is all
	Pattern   Pattern  `json:"pattern"`      // empty is Scattered
	For       Duration `json:"for,omitzero"` // then they give them back; 0 is when Give tells them to
}

// Pattern says how the addresses of tenants lie in the subnet.
type Pattern = topology.Pattern

// Scattered leaves no /28 free while a subnet has addresses, Packed as many as
// can be.
const (
	Scattered = topology.Scattered
	Packed    = topology.Packed
)

// Problem is the body of every refusal.
type Problem struct {
	Error string `json:"error"`
}
