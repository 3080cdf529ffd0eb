package topology

import (
	"fmt"
	"net/netip"

	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/limits"
)

// file is a topology as written: addresses are text, so that an error can name
// the field, and what is absent takes its default.
type file struct {
	Region         string                 `json:"region"`
	Account        string                 `json:"account"`
	Seed           uint64                 `json:"seed"`
	StrictAuth     bool                   `json:"strictAuth"`
	PageLimit      int                    `json:"pageLimit"`
	InterfaceQuota int                    `json:"interfaceQuota"`
	VPC            fileVPC                `json:"vpc"`
	Subnets        []fileSubnet           `json:"subnets"`
	SecurityGroups []fileGroup            `json:"securityGroups"`
	Nodes          []fileNode             `json:"nodes"`
	LoadBalancers  []LoadBalancer         `json:"loadBalancers"`
	InstanceTypes  map[string]limits.Type `json:"instanceTypes"`
	Profile        string                 `json:"profile"`
	Delays         map[string]string      `json:"delays"`
	Throttle       fileThrottle           `json:"throttle"`
	Faults         []fault.Rule           `json:"faults"`
}

type fileVPC struct {
	CIDR           string            `json:"cidr"`
	SecondaryCIDRs []string          `json:"secondaryCIDRs"`
	IPv6CIDRs      []string          `json:"ipv6CIDRs"`
	PeerCIDRs      []string          `json:"peerCIDRs"`
	PublicPool     string            `json:"publicPool"`
	Tags           map[string]string `json:"tags"`
}

type fileSubnet struct {
	Name     string            `json:"name"`
	CIDR     string            `json:"cidr"`
	IPv6CIDR string            `json:"ipv6CIDR"`
	Zone     string            `json:"zone"`
	Egress   string            `json:"egress"`
	Tags     map[string]string `json:"tags"`
	Tenants  *fileTenants      `json:"tenants"`
}

type fileGroup struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Tags        map[string]string `json:"tags"`
}

type fileNode struct {
	Name           string            `json:"name"`
	Subnet         string            `json:"subnet"`
	Type           string            `json:"type"`
	Address        string            `json:"address"`
	PublicIP       *bool             `json:"publicIP"`
	SecurityGroups []string          `json:"securityGroups"`
	Tags           map[string]string `json:"tags"`
	Metadata       fileMetadata      `json:"metadata"`
}

type fileMetadata struct {
	HTTPEndpoint string `json:"httpEndpoint"` // enabled or disabled
	HTTPTokens   string `json:"httpTokens"`   // required or optional
	HopLimit     *int   `json:"hopLimit"`
	InstanceTags bool   `json:"instanceTags"`
}

type fileThrottle struct {
	Enabled           *bool             `json:"enabled"`
	DescribeByIDSmall *bool             `json:"describeByIDSmall"`
	Buckets           map[string]Bucket `json:"buckets"`
}

// Default is the topology of an empty file: one VPC 10.0.0.0/16, subnets a and
// b in two zones, nodes n1 and n2.
func Default() Topology {
	t, err := Parse(nil)
	if err != nil {
		panic("the default topology is refused: " + err.Error()) // fixed input, held by a test
	}
	return t
}

// Parse reads a topology file, fills in defaults and validates it.
func Parse(data []byte) (Topology, error) {
	f := file{
		Region: "us-west-2", Account: "123456789012", PageLimit: 1000, InterfaceQuota: 5000, Profile: "fast",
		VPC: fileVPC{CIDR: "10.0.0.0/16", PeerCIDRs: []string{"172.31.0.0/16"}, PublicPool: "198.51.100.0/24"},
	}
	if err := yaml.UnmarshalStrict(data, &f); err != nil {
		return Topology{}, fmt.Errorf("reading the topology: %w", err)
	}
	f.defaultLists()
	t, err := f.typed()
	if err != nil {
		return Topology{}, fmt.Errorf("reading the topology: %w", err)
	}
	if err := t.Validate(); err != nil {
		return Topology{}, fmt.Errorf("checking the topology: %w", err)
	}
	return t, nil
}

func (f *file) defaultLists() {
	if f.Subnets == nil {
		f.Subnets = []fileSubnet{{Name: "a", CIDR: "10.0.0.0/24"}, {Name: "b", CIDR: "10.0.1.0/24"}}
	}
	for i := range f.Subnets {
		s := &f.Subnets[i]
		s.Zone = or(s.Zone, f.Region+string(rune('a'+i%26)))
		s.Egress = or(s.Egress, "igw")
	}
	if f.Nodes == nil && len(f.Subnets) > 0 {
		f.Nodes = []fileNode{{Name: "n1", Subnet: f.Subnets[0].Name}, {Name: "n2", Subnet: f.Subnets[min(1, len(f.Subnets)-1)].Name}}
	}
	for i := range f.Nodes {
		n := &f.Nodes[i]
		n.Type = or(n.Type, "m5.large")
		n.Metadata.HTTPEndpoint = or(n.Metadata.HTTPEndpoint, "enabled")
		n.Metadata.HTTPTokens = or(n.Metadata.HTTPTokens, "required")
	}
}

func (f *file) typed() (Topology, error) {
	delays, err := Profile(f.Profile)
	if err != nil {
		return Topology{}, err
	}
	if err := delays.override(f.Delays); err != nil {
		return Topology{}, err
	}
	var p parser
	t := Topology{
		Region: f.Region, Account: f.Account, Seed: f.Seed, StrictAuth: f.StrictAuth,
		PageLimit: f.PageLimit, InterfaceQuota: f.InterfaceQuota,
		VPC: VPC{
			CIDR:       p.prefix("vpc.cidr", f.VPC.CIDR),
			Secondary:  p.prefixes("vpc.secondaryCIDRs", f.VPC.SecondaryCIDRs),
			IPv6:       p.prefixes("vpc.ipv6CIDRs", f.VPC.IPv6CIDRs),
			Peers:      p.prefixes("vpc.peerCIDRs", f.VPC.PeerCIDRs),
			PublicPool: p.prefix("vpc.publicPool", f.VPC.PublicPool),
			Tags:       f.VPC.Tags,
		},
		InstanceTypes: f.InstanceTypes, Delays: delays, Faults: f.Faults,
		Throttle: Throttle{
			Enabled:           f.Throttle.Enabled == nil || *f.Throttle.Enabled,
			DescribeByIDSmall: f.Throttle.DescribeByIDSmall == nil || *f.Throttle.DescribeByIDSmall,
			Buckets:           f.Throttle.Buckets,
		},
	}
	for _, s := range f.Subnets {
		t.Subnets = append(t.Subnets, p.subnet(s))
	}
	for _, g := range f.SecurityGroups {
		t.SecurityGroups = append(t.SecurityGroups, SecurityGroup(g))
	}
	for _, n := range f.Nodes {
		t.Nodes = append(t.Nodes, p.node(n))
	}
	for _, b := range f.LoadBalancers {
		t.LoadBalancers = append(t.LoadBalancers, b.Complete(t.SubnetNames()))
	}
	return t, p.err
}

// parser turns text into values and keeps the first error.
type parser struct{ err error }

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
}

func (p *parser) prefix(field, text string) netip.Prefix {
	v, err := netip.ParsePrefix(text)
	if err != nil {
		p.fail("%s %q is not a CIDR: write it like 10.0.0.0/16", field, text)
	}
	return v
}

func (p *parser) prefixes(field string, texts []string) []netip.Prefix {
	var out []netip.Prefix
	for i, text := range texts {
		out = append(out, p.prefix(fmt.Sprintf("%s[%d]", field, i), text))
	}
	return out
}

func (p *parser) subnet(s fileSubnet) Subnet {
	field := fmt.Sprintf("subnets[%s]", s.Name)
	out := Subnet{Name: s.Name, CIDR: p.prefix(field+".cidr", s.CIDR), Zone: s.Zone, Egress: s.Egress, Tags: s.Tags}
	out.Tenants = p.tenants(field+".tenants", s.Tenants)
	if s.IPv6CIDR != "" {
		out.IPv6CIDR = p.prefix(field+".ipv6CIDR", s.IPv6CIDR)
	}
	return out
}

func (p *parser) node(n fileNode) Node {
	field := fmt.Sprintf("nodes[%s]", n.Name)
	out := Node{
		Name: n.Name, Subnet: n.Subnet, Type: n.Type, SecurityGroups: n.SecurityGroups, Tags: n.Tags,
		PublicIP: n.PublicIP == nil || *n.PublicIP,
		Metadata: Metadata{HopLimit: 1, InstanceTags: n.Metadata.InstanceTags},
	}
	if n.Metadata.HopLimit != nil {
		out.Metadata.HopLimit = *n.Metadata.HopLimit
	}
	out.Metadata.Disabled = p.choice(field+".metadata.httpEndpoint", n.Metadata.HTTPEndpoint, "enabled", "disabled")
	out.Metadata.TokensOption = p.choice(field+".metadata.httpTokens", n.Metadata.HTTPTokens, "required", "optional")
	if n.Address != "" {
		addr, err := netip.ParseAddr(n.Address)
		if err != nil {
			p.fail("%s.address %q is not an address: write it like 10.0.0.10", field, n.Address)
		}
		out.Address = addr
	}
	return out
}

// choice reports whether text is the second of two words.
func (p *parser) choice(field, text, no, yes string) bool {
	if text != no && text != yes {
		p.fail("%s %q is unknown: use %q or %q", field, text, no, yes)
	}
	return text == yes
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
