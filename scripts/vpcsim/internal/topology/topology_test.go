package topology

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

var comparePrefixes = cmp.Options{
	cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}),
	cmpopts.EquateEmpty(),
}

func TestDefault(t *testing.T) {
	fast, err := Profile("fast")
	if err != nil {
		t.Fatal(err)
	}
	options := Metadata{HopLimit: 1}
	want := Topology{
		Region: "us-west-2", Account: "123456789012", PageLimit: 1000, InterfaceQuota: 5000,
		VPC: VPC{
			CIDR:       netip.MustParsePrefix("10.0.0.0/16"),
			Peers:      []netip.Prefix{netip.MustParsePrefix("172.31.0.0/16")},
			PublicPool: netip.MustParsePrefix("198.51.100.0/24"),
		},
		Subnets: []Subnet{
			{Name: "a", CIDR: netip.MustParsePrefix("10.0.0.0/24"), Zone: "us-west-2a", Egress: "igw", Tenants: Tenants{Pattern: Scattered}},
			{Name: "b", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-west-2b", Egress: "igw", Tenants: Tenants{Pattern: Scattered}},
		},
		Nodes: []Node{
			{Name: "n1", Subnet: "a", Type: "m5.large", PublicIP: true, Metadata: options},
			{Name: "n2", Subnet: "b", Type: "m5.large", PublicIP: true, Metadata: options},
		},
		Delays:   fast,
		Throttle: Throttle{Enabled: true, DescribeByIDSmall: true},
	}
	if diff := cmp.Diff(want, Default(), comparePrefixes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestParseOverrides(t *testing.T) {
	got, err := Parse([]byte(`
region: eu-central-1
profile: realistic
delays: {attach: 1ms..2ms}
vpc: {secondaryCIDRs: [100.64.0.0/16], ipv6CIDRs: ["2001:db8::/56"]}
subnets:
- {name: x, cidr: 10.0.4.0/22, ipv6CIDR: "2001:db8::/64", egress: nat}
- {name: y, cidr: 100.64.0.0/20}
securityGroups: [{name: nodes}]
nodes:
- {name: one, subnet: y, type: t2.micro, publicIP: false, address: 100.64.0.4, securityGroups: [nodes], metadata: {hopLimit: 2, httpTokens: optional, instanceTags: true}}
throttle: {enabled: false, buckets: {CreateTags: {size: 1, refill: 0}}}
instanceTypes: {new.large: {ipv4: 10, hypervisor: nitro, cards: [{index: 0, max_eni: 3}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if n := got.Nodes[0]; n.PublicIP || n.Metadata != (Metadata{TokensOption: true, HopLimit: 2, InstanceTags: true}) {
		t.Errorf("node %+v", n)
	}
	if got.Subnets[1].Zone != "eu-central-1b" || got.Throttle.Enabled {
		t.Errorf("zone %q, throttle %v", got.Subnets[1].Zone, got.Throttle.Enabled)
	}
	if want := (span.Range{Min: time.Millisecond, Max: 2 * time.Millisecond}); got.Delays.Attach != want {
		t.Errorf("delays.attach %v, want %v", got.Delays.Attach, want)
	}
}

// web is a balancer that needs no more.
const web = "{name: web, listeners: [{port: 80}], targetGroups: [{name: web, port: 30080}]}"

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, text, problem string }{
		{"unknown field", "subnet: []", `unknown field "subnet"`},
		{"unknown node field", "nodes: [{name: n1, subnet: a, kind: x}]", `unknown field "kind"`},
		{"region", "region: Oregon", `region "Oregon"`},
		{"account", `account: "12"`, `account "12"`},
		{"page limit", "pageLimit: 5000", "pageLimit 5000"},
		{"quota", "interfaceQuota: 1", "interfaceQuota 1"},
		{"not a CIDR", "vpc: {cidr: 10.0.0.0}", `vpc.cidr "10.0.0.0" is not a CIDR`},
		{"VPC too large", "vpc: {cidr: 10.0.0.0/8}", "vpc.cidr 10.0.0.0/8: an IPv4 block of a VPC is a /16 to a /28"},
		{"host bits", "vpc: {secondaryCIDRs: [100.64.1.0/16]}", "write 100.64.0.0/16"},
		{"blocks overlap", "vpc: {secondaryCIDRs: [10.0.128.0/17]}", "10.0.128.0/17 overlaps 10.0.0.0/16"},
		{"peer overlaps", "vpc: {peerCIDRs: [10.0.0.0/8]}", "overlaps"},
		{"IPv6 block", `vpc: {ipv6CIDRs: ["2001:db8::/96"]}`, "vpc.ipv6CIDRs[0]"},
		{"public pool", "vpc: {publicPool: 198.51.100.0/30}", "vpc.publicPool"},
		{"full public pool", "{vpc: {publicPool: 198.51.100.0/28}, subnets: [{name: a, cidr: 10.0.0.0/24}], nodes: [{name: a, subnet: a}, {name: b, subnet: a}, {name: c, subnet: a}, {name: d, subnet: a}, {name: e, subnet: a}, {name: f, subnet: a}]}", "room for 5 public addresses, 6 are wanted"},
		{"no subnet", "subnets: []", "subnets is empty"},
		{"subnet outside", "subnets: [{name: a, cidr: 10.1.0.0/24}]", "subnets[a].cidr 10.1.0.0/24 lies outside the VPC"},
		{"subnet too small", "subnets: [{name: a, cidr: 10.0.0.0/29}]", "a subnet is an IPv4 /16 to /28"},
		{"subnets overlap", "subnets: [{name: a, cidr: 10.0.0.0/24}, {name: b, cidr: 10.0.0.128/25}]", "subnets block 10.0.0.128/25 overlaps 10.0.0.0/24"},
		{"subnet name taken", "subnets: [{name: a, cidr: 10.0.0.0/24}, {name: a, cidr: 10.0.1.0/24}]", `"a" is taken`},
		{"subnet IPv6 size", `{vpc: {ipv6CIDRs: ["2001:db8::/56"]}, subnets: [{name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8::/60"}]}`, "an IPv6 subnet is a /64"},
		{"subnet IPv6 outside", `subnets: [{name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8::/64"}]`, "lies outside the VPC"},
		{"zone", "subnets: [{name: a, cidr: 10.0.0.0/24, zone: eu-west-1a}]", `zone "eu-west-1a" is not in region us-west-2`},
		{"egress", "subnets: [{name: a, cidr: 10.0.0.0/24, egress: vpn}]", `egress "vpn"`},
		{"tenants of nothing", "subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {pattern: packed}}]", "subnets[a].tenants: set addresses"},
		{"tenants twice", "subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {addresses: 1, free: 2}}]", "addresses 1 and free 2 are both set"},
		{"tenants below zero", "subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {addresses: -1}}]", "subnets[a].tenants.addresses -1"},
		{"too many tenants", "subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {addresses: 250}}]", "subnets[a].tenants.addresses 250: 10.0.0.0/24 has 249"},
		{"too few tenants", "subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {free: 300}}]", "subnets[a].tenants.free 300"},
		{"tenants pattern", "subnets: [{name: a, cidr: 10.0.0.0/24, tenants: {free: 3, pattern: random}}]", `subnets[a].tenants.pattern "random"`},
		{"group name", "securityGroups: [{name: default}]", `"default" is taken`},
		{"node name", "nodes: [{name: N_1, subnet: a}]", `nodes[N_1].name "N_1"`},
		{"node subnet", "nodes: [{name: n1, subnet: z}]", `nodes[n1].subnet "z"`},
		{"type", "nodes: [{name: n1, subnet: a, type: m5.huge}]", `nodes[n1].type "m5.huge"`},
		{"hop limit", "nodes: [{name: n1, subnet: a, metadata: {hopLimit: 0}}]", "hopLimit 0"},
		{"tokens", "nodes: [{name: n1, subnet: a, metadata: {httpTokens: maybe}}]", `httpTokens "maybe"`},
		{"endpoint", "nodes: [{name: n1, subnet: a, metadata: {httpEndpoint: off}}]", "httpEndpoint"},
		{"node group", "nodes: [{name: n1, subnet: a, securityGroups: [x]}]", `"x" is not in securityGroups`},
		{"reserved address", "nodes: [{name: n1, subnet: a, address: 10.0.0.3}]", "nodes[n1].address 10.0.0.3"},
		{"last address", "nodes: [{name: n1, subnet: a, address: 10.0.0.255}]", "nodes[n1].address 10.0.0.255"},
		{"bad address", "nodes: [{name: n1, subnet: a, address: here}]", `nodes[n1].address "here"`},
		{"address twice", "nodes: [{name: n1, subnet: a, address: 10.0.0.9}, {name: n2, subnet: a, address: 10.0.0.9}]", "is that of node n1"},
		{"profile", "profile: slow", `profile "slow"`},
		{"delay name", "delays: {attack: 1s}", "delays.attack is unknown"},
		{"delay", "delays: {attach: soon}", `delays.attach: "soon"`},
		{"balancer type", "loadBalancers: [{name: l, type: clb}]", `loadBalancers[l].type "clb"`},
		{"balancer scheme", "loadBalancers: [{name: l, scheme: open}]", `scheme "open"`},
		{"balancer without a port", "loadBalancers: [{name: l}]", "listeners is empty"},
		{"balancer name twice", "loadBalancers: [" + web + "," + web + "]", `"web" is taken`},
		{"balancer subnet", "loadBalancers: [{name: l, subnets: [z], listeners: [{port: 80}]}]", `"z" is not in subnets`},
		{"balancer zone twice", "{subnets: [{name: a, cidr: 10.0.0.0/24}, {name: c, cidr: 10.0.2.0/24, zone: us-west-2a}], loadBalancers: [{name: l, listeners: [{port: 80}]}]}", "are both in zone us-west-2a"},
		{"balancer without a group", "loadBalancers: [{name: l, listeners: [{port: 80}]}]", "not in targetGroups"},
		{"listener protocol", "loadBalancers: [{name: l, listeners: [{port: 80, protocol: HTTP}]}]", "an nlb has TCP and UDP"},
		{"target kind", "loadBalancers: [{name: l, listeners: [{port: 80}], targetGroups: [{name: g, port: 1, targetType: lambda}]}]", `targetType "lambda"`},
		{"target node", "loadBalancers: [{name: l, listeners: [{port: 80}], targetGroups: [{name: g, port: 1, targets: [{node: n9}]}]}]", `target node "n9"`},
		{"target address", "loadBalancers: [{name: l, listeners: [{port: 80}], targetGroups: [{name: g, port: 1, targetType: ip, targets: [{address: 8.8.8.8}]}]}]", "target address 8.8.8.8"},
		{"hidden UDP client", "loadBalancers: [{name: l, listeners: [{port: 80, protocol: UDP}], targetGroups: [{name: g, port: 1, preserveClientIP: false}]}]", "cannot be turned off for UDP"},
		{"check codes", "loadBalancers: [{name: l, listeners: [{port: 80}], targetGroups: [{name: g, port: 1, healthCheck: {codes: ok}}]}]", `codes "ok"`},
		{"check threshold", "loadBalancers: [{name: l, listeners: [{port: 80}], targetGroups: [{name: g, port: 1, healthCheck: {healthyThreshold: 11}}]}]", "healthyThreshold 11"},
		{"zone-bound ALB", "loadBalancers: [{name: l, type: alb, crossZone: false}]", "crossZone false"},
		{"bucket action", "throttle: {buckets: {RunInstances: {size: 1}}}", "throttle.buckets.RunInstances"},
		{"bucket size", "throttle: {buckets: {CreateTags: {size: 0}}}", "throttle.buckets.CreateTags"},
		{"instance type", "instanceTypes: {x.large: {ipv4: 4}}", "instanceTypes.x.large"},
		{"fault", "faults: [{action: Nope, effect: {reset: true}}]", "faults[0]: action"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("error %v, want one with %q", err, tt.problem)
			}
		})
	}
}

// FuzzParse holds that parsing never panics and that what is accepted is valid.
func FuzzParse(f *testing.F) {
	f.Add([]byte("subnets: [{name: a, cidr: 10.0.0.0/24}]"))
	f.Add([]byte("{vpc: {cidr: ::/0}, nodes: [{name: n1, address: ::1}]}"))
	f.Add([]byte("region: us-west-2\nprofile: none"))
	f.Fuzz(func(t *testing.T, data []byte) {
		topo, err := Parse(data)
		if err != nil {
			return
		}
		if err := topo.Validate(); err != nil {
			t.Fatalf("accepted and then refused: %v", err)
		}
	})
}

// TestFullFile holds that the documented file is read, and that the delays and
// scalars that it shows are the defaults.
func TestFullFile(t *testing.T) {
	data, err := os.ReadFile("full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	full, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	base := Default()
	if diff := cmp.Diff(base.Delays, full.Delays); diff != "" {
		t.Errorf("delays (-default +file)\n%s", diff)
	}
	for name := range base.Delays.fields() {
		if !strings.Contains(string(data), "\n  "+name+": ") {
			t.Errorf("the file does not show the delay %s", name)
		}
	}
	if full.PageLimit != base.PageLimit || full.InterfaceQuota != base.InterfaceQuota || full.VPC.PublicPool != base.VPC.PublicPool {
		t.Error("the file shows other scalars than the defaults")
	}
}
