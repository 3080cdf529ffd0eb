package ec2

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func (w *world) addCIDR(block string) {
	w.Helper()
	if err := w.sim.Control().AddCIDR(w.Context(), netip.MustParsePrefix(block)); err != nil {
		w.Fatal(err)
	}
}

func (w *world) blocks(want ...string) {
	w.Helper()
	got, err := w.cloud.VPCCIDRs(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	if diff := cmp.Diff(prefixes(want...), got, byValue); diff != "" {
		w.Errorf("blocks of the VPC (-want +got)\n%s", diff)
	}
}

func TestVPCCIDRs(t *testing.T) {
	w := start(t, "{profile: none, vpc: {cidr: 10.0.0.0/16, secondaryCIDRs: [10.9.0.0/16]}}")
	w.blocks("10.0.0.0/16", "10.9.0.0/16")
	w.addCIDR("10.8.0.0/16")
	w.blocks("10.0.0.0/16", "10.8.0.0/16", "10.9.0.0/16")

	w.fault("{action: DescribeVpcs, effect: {error: {code: InternalError}}}")
	got, err := w.cloud.VPCCIDRs(t.Context())
	if f := w.failure(got, err); f.Class != pool.Unavailable {
		t.Errorf("EC2 fails after it answered: %s (%v), want EC2 unavailable", f.Class, f)
	}
	w.clear()
	w.fault("{action: DescribeVpcs, effect: {error: {code: UnauthorizedOperation}}}")
	w.addCIDR("10.7.0.0/16")
	w.blocks("10.0.0.0/16", "10.7.0.0/16", "10.8.0.0/16", "10.9.0.0/16")
}

// TestVPCCIDRsByMetadata has EC2 silent from the start.
func TestVPCCIDRsByMetadata(t *testing.T) {
	w := start(t, "{profile: none, vpc: {cidr: 10.0.0.0/16, secondaryCIDRs: [10.9.0.0/16]}}")
	w.fault("{action: DescribeVpcs, effect: {reset: true}}")
	w.blocks("10.0.0.0/16", "10.9.0.0/16")
	w.fault("{action: IMDS, effect: {error: {status: 500}}}")
	got, err := w.cloud.VPCCIDRs(t.Context())
	if f := w.failure(got, err); f.Class != pool.Unavailable {
		t.Errorf("nobody answers: %s (%v), want EC2 unavailable", f.Class, f)
	}
}

func TestParseBlocks(t *testing.T) {
	got, err := parseBlocks("192.168.0.0/16", []string{"192.168.0.0/16", "100.64.0.0/16", "10.0.0.0/8", "192.168.0.0/16"})
	if diff := cmp.Diff(prefixes("192.168.0.0/16", "10.0.0.0/8", "100.64.0.0/16"), got, byValue); diff != "" || err != nil {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
	for _, bad := range [][]string{{""}, {"10.0.0.0/16", "x"}, {"10.0.0.0"}} {
		if got, err := parseBlocks(bad[0], bad); err == nil {
			t.Errorf("%q: %v, want an error", bad, got)
		}
	}
}

func TestLimits(t *testing.T) {
	w := start(t, `{profile: none, instanceTypes: {x99.large: {ipv4: 7, hypervisor: nitro, cards: [{index: 0, max_eni: 5}, {index: 1, max_eni: 2}]}}}`)
	tests := []struct {
		name string
		want pool.Limits
		asks int
	}{
		{"m5.large", pool.Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true}, 0},
		{"x99.large", pool.Limits{ENIs: 5, AddressesPerENI: 7, Prefixes: true}, 1},
	}
	for _, tt := range tests {
		got, err := w.cloud.Limits(t.Context(), tt.name)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil || w.attempts("DescribeInstanceTypes") != tt.asks {
			t.Errorf("%s: EC2 asked %d times, want %d; error %v (-want +got)\n%s", tt.name, w.attempts("DescribeInstanceTypes"), tt.asks, err, diff)
		}
	}
	got, err := w.cloud.Limits(t.Context(), "x100.large")
	if f := w.failure(got, err); f.Class != pool.Refused {
		t.Errorf("unknown type: %s (%v), want refused", f.Class, f)
	}
}

func TestInterfaceLimits(t *testing.T) {
	card := func(index, enis *int32) types.NetworkCardInfo {
		return types.NetworkCardInfo{NetworkCardIndex: index, MaximumNetworkInterfaces: enis}
	}
	tests := []struct {
		name string
		info *types.NetworkInfo
		want pool.Limits
		ok   bool
	}{
		{name: "nothing"},
		{name: "empty", info: &types.NetworkInfo{}},
		{
			name: "no cards", info: &types.NetworkInfo{MaximumNetworkInterfaces: aws.Int32(4), Ipv4AddressesPerInterface: aws.Int32(15)},
			want: pool.Limits{ENIs: 4, AddressesPerENI: 15}, ok: true,
		},
		{
			name: "default card",
			info: &types.NetworkInfo{
				MaximumNetworkInterfaces: aws.Int32(16), Ipv4AddressesPerInterface: aws.Int32(50), DefaultNetworkCardIndex: aws.Int32(1),
				NetworkCards: []types.NetworkCardInfo{card(nil, aws.Int32(8)), card(aws.Int32(1), aws.Int32(7)), card(aws.Int32(2), nil)},
			},
			want: pool.Limits{ENIs: 7, AddressesPerENI: 50}, ok: true,
		},
	}
	for _, tt := range tests {
		if got, ok := interfaceLimits(types.InstanceTypeInfo{NetworkInfo: tt.info}); ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

const zoned = `
profile: none
vpc: {cidr: 10.0.0.0/16}
subnets:
- {name: a, cidr: 10.0.0.0/24, zone: us-west-2a}
- {name: pods, cidr: 10.0.4.0/22, zone: us-west-2a, tags: {kubernetes.io/role/cni: "1"}, tenants: {addresses: 19}}
- {name: b, cidr: 10.0.1.0/24, zone: us-west-2b, tags: {kubernetes.io/role/cni: "1"}}
nodes: [{name: n1, subnet: a}]
`

// TestSubnets describes those of the node's zone, with what is free and how they
// are tagged.
func TestSubnets(t *testing.T) {
	w := start(t, zoned)
	got, err := w.cloud.Subnets(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id := map[string]pool.SubnetID{}
	for _, s := range w.status().Subnets {
		id[s.Name] = pool.SubnetID(s.ID)
	}
	want := []pool.Subnet{{ID: id["a"], Free: 250}, {ID: id["pods"], Free: 1000, Tags: map[string]string{"kubernetes.io/role/cni": "1"}}}
	byID := cmpopts.SortSlices(func(a, b pool.Subnet) bool { return a.ID < b.ID })
	if diff := cmp.Diff(want, got, byID, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w.describe(true)
	w.apply(pool.CreateENI{Subnet: id["pods"], Token: "token", Created: created})
	if n := w.attempts("DescribeSubnets"); n != 1 {
		t.Errorf("subnets were described %d times, want once for all of them", n)
	}
}

// TestSubnetsUnknown has a role that lacks ec2:DescribeSubnets: the metadata
// service says what must be known.
func TestSubnetsUnknown(t *testing.T) {
	w := start(t, zoned)
	w.fault("{action: DescribeSubnets, effect: {error: {code: UnauthorizedOperation}}}")
	subnets, err := w.cloud.Subnets(t.Context())
	if f := w.failure(subnets, err); f.Class != pool.Unauthorized {
		t.Errorf("%s (%v), want unauthorized", f.Class, f)
	}
	if got := w.eni(w.id.PrimaryENI).SubnetCIDR; got != netip.MustParsePrefix("10.0.0.0/24") {
		t.Errorf("block of the primary ENI's subnet: %s", got)
	}
	if got := w.apply(w.create("token", 1)).Created.SubnetCIDR; got != netip.MustParsePrefix("10.0.0.0/24") {
		t.Errorf("block of a new ENI's subnet: %s", got)
	}
	other := w.create("other", 1)
	other.Subnet = "subnet-00000000000000000"
	if f := w.refused(other); f.Class != pool.Unauthorized {
		t.Errorf("in a subnet that nobody describes: %s (%v), want unauthorized", f.Class, f)
	}
}
