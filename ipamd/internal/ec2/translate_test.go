package ec2

import (
	"net/netip"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func TestTranslate(t *testing.T) {
	tests := []struct {
		name string
		in   types.NetworkInterface
		want pool.ENI
	}{
		{name: "nothing"},
		{
			name: "empty parts",
			in: types.NetworkInterface{
				Attachment: &types.NetworkInterfaceAttachment{}, TagSet: []types.Tag{{}},
				PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{{}},
			},
			want: pool.ENI{Status: pool.Attached, Tags: map[string]string{"": ""}},
		},
		{
			name: "detached is available",
			in: types.NetworkInterface{Attachment: &types.NetworkInterfaceAttachment{
				Status: types.AttachmentStatusDetached, AttachmentId: aws.String("eni-attach-1"), DeviceIndex: aws.Int32(0),
			}},
		},
		{
			name: "detaching, other card",
			in: types.NetworkInterface{Attachment: &types.NetworkInterfaceAttachment{
				Status: types.AttachmentStatusDetaching, AttachmentId: aws.String("eni-attach-1"), DeviceIndex: aws.Int32(0), NetworkCardIndex: aws.Int32(1),
			}},
			want: pool.ENI{Status: pool.Detaching, AttachmentID: "eni-attach-1", Card: 1},
		},
		{
			name: "primary address told by its mark, prefixes",
			in: types.NetworkInterface{
				MacAddress: aws.String("0A:00:00:00:00:01"),
				PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{
					{PrivateIpAddress: aws.String("10.0.0.9")}, {PrivateIpAddress: aws.String("10.0.0.8"), Primary: aws.Bool(true)},
				},
				Ipv4Prefixes: []types.Ipv4PrefixSpecification{{Ipv4Prefix: aws.String("10.0.0.16/28")}},
			},
			want: pool.ENI{
				MAC: "0a:00:00:00:00:01", Address: netip.MustParseAddr("10.0.0.8"),
				Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.9")}, Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.16/28")},
			},
		},
		{
			name: "a creation tag that is no time",
			in:   types.NetworkInterface{TagSet: []types.Tag{{Key: aws.String(pool.TagCreated), Value: aws.String("yesterday")}}},
			want: pool.ENI{Tags: map[string]string{pool.TagCreated: "yesterday"}},
		},
	}
	for _, tt := range tests {
		got, err := translate(tt.in)
		if diff := cmp.Diff(tt.want, got, byValue); diff != "" || err != nil {
			t.Errorf("%s: error %v (-want +got)\n%s", tt.name, err, diff)
		}
	}
}

func TestTranslateRefuses(t *testing.T) {
	bad := aws.String("10.0.0.256")
	for name, in := range map[string]types.NetworkInterface{
		"primary address":   {PrivateIpAddress: bad},
		"secondary address": {PrivateIpAddresses: []types.NetworkInterfacePrivateIpAddress{{PrivateIpAddress: bad}}},
		"prefix":            {Ipv4Prefixes: []types.Ipv4PrefixSpecification{{Ipv4Prefix: bad}}},
		"no prefix":         {Ipv4Prefixes: []types.Ipv4PrefixSpecification{{}}},
	} {
		if got, err := translate(in); err == nil {
			t.Errorf("%s: %+v, want an error", name, got)
		}
	}
}

// TestContradictions passes over ENIs that are in use and attached to nothing,
// and over those seen before.
func TestContradictions(t *testing.T) {
	w := start(t, "profile: none")
	subnet := aws.String(string(w.id.Subnet))
	got, err := w.cloud.translate(t.Context(), []types.NetworkInterface{
		{},
		{NetworkInterfaceId: aws.String("eni-1"), SubnetId: subnet, Status: types.NetworkInterfaceStatusInUse},
		{NetworkInterfaceId: aws.String("eni-2"), SubnetId: subnet, Status: pending},
		{NetworkInterfaceId: aws.String("eni-2"), SubnetId: subnet, Status: types.NetworkInterfaceStatusAvailable, Description: aws.String("again")},
	})
	want := []pool.ENI{{ID: "eni-2", Subnet: w.id.Subnet, SubnetCIDR: netip.MustParsePrefix("10.0.0.0/24")}}
	if diff := cmp.Diff(want, got, byValue); diff != "" || err != nil {
		t.Errorf("error %v (-want +got)\n%s", err, diff)
	}
}

// TestConnectionTracking copies the primary ENI's time-outs to those that are
// created, and forgets them when it has none.
func TestConnectionTracking(t *testing.T) {
	w := start(t, "profile: none")
	primary := types.NetworkInterface{
		NetworkInterfaceId:              aws.String(string(w.id.PrimaryENI)),
		ConnectionTrackingConfiguration: &types.ConnectionTrackingConfiguration{UdpTimeout: aws.Int32(45)},
	}
	action := w.create("token", 0)
	if err := w.cloud.learn([]types.NetworkInterface{{}, primary}); err != nil {
		t.Fatal(err)
	}
	id := w.apply(action).Created.ID
	found, err := w.cloud.interfaces(t.Context(), filter("network-interface-id", string(id)))
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v, want 1 ENI", found, err)
	}
	got := found[0].ConnectionTrackingConfiguration
	if got == nil || aws.ToInt32(got.UdpTimeout) != 45 {
		t.Errorf("connection tracking %+v, want a UDP time-out of 45 s", got)
	}
	w.describe(false)
	if c := w.cloud.connectionTracking(); c != nil {
		t.Errorf("the primary ENI has no time-outs of its own, but %+v is kept", c)
	}
}
