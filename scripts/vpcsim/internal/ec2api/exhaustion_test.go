package ec2api_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// TestExhaustion asks subnets of all kinds of fullness for addresses and
// prefixes, to create with and to assign. Refused calls take nothing.
func TestExhaustion(t *testing.T) {
	const (
		addresses = "InsufficientFreeAddressesInSubnet: The specified subnet does not have enough free addresses to satisfy the request."
		blocks    = "InsufficientCidrBlocks: The specified subnet does not have enough free cidr blocks to satisfy the request."
		capacity  = "InvalidParameterValue: There aren't sufficient free Ipv4 addresses or prefixes"
	)
	create := func(count, prefixes int32) func(*world) error {
		return func(w *world) error {
			in := &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(w.subnet("a"))}
			if count > 0 {
				in.SecondaryPrivateIpAddressCount = aws.Int32(count)
			}
			if prefixes > 0 {
				in.Ipv4PrefixCount = aws.Int32(prefixes)
			}
			_, err := w.ec2.CreateNetworkInterface(w.ctx, in)
			return err
		}
	}
	assign := func(count, prefixes int32) func(*world) error {
		return func(w *world) error {
			in := &ec2.AssignPrivateIpAddressesInput{NetworkInterfaceId: w.primary().NetworkInterfaceId}
			if count > 0 {
				in.SecondaryPrivateIpAddressCount = aws.Int32(count)
			}
			if prefixes > 0 {
				in.Ipv4PrefixCount = aws.Int32(prefixes)
			}
			_, err := w.ec2.AssignPrivateIpAddresses(w.ctx, in)
			return err
		}
	}
	calls := map[string]func(*world) error{
		"create": create(0, 0), "create with 3 addresses": create(3, 0), "create with 2 prefixes": create(0, 2),
		"assign 3 addresses": assign(3, 0), "assign 2 prefixes": assign(0, 2),
	}
	tests := []struct {
		tenants string
		free    int32
		refused map[string]string // all others succeed
	}{
		{"{free: 500}", 500, map[string]string{"create with 2 prefixes": blocks, "assign 2 prefixes": blocks}},
		{"{free: 40, pattern: packed}", 40, map[string]string{"create with 2 prefixes": blocks, "assign 2 prefixes": blocks}},
		{"{free: 64, pattern: packed}", 64, nil},
		{"{free: 15}", 15, map[string]string{"create with 2 prefixes": capacity, "assign 2 prefixes": capacity}},
		{"{free: 3}", 3, map[string]string{"create with 3 addresses": addresses, "create with 2 prefixes": capacity, "assign 2 prefixes": capacity}},
		{"{free: 0}", 0, map[string]string{
			"create": addresses, "create with 3 addresses": addresses, "create with 2 prefixes": addresses,
			"assign 3 addresses": addresses, "assign 2 prefixes": capacity,
		}},
	}
	for _, tt := range tests {
		for name, call := range calls {
			t.Run(tt.tenants+" "+name, func(t *testing.T) {
				w := start(t, "{profile: none, subnets: [{name: a, cidr: 10.0.0.0/22, tenants: "+tt.tenants+"}], nodes: [{name: n1, subnet: a, address: 10.0.0.10}]}")
				if free := w.free(); free != tt.free {
					t.Fatalf("%d addresses are free at first, want %d", free, tt.free)
				}
				err := call(w)
				want, refused := tt.refused[name]
				if !refused {
					w.ok(err)
					return
				}
				code, message, _ := strings.Cut(want, ": ")
				w.refused(err, code, 400, message)
				if free := w.free(); free != tt.free {
					t.Errorf("%d addresses are free after the refusal, want %d", free, tt.free)
				}
			})
		}
	}
}

// TestFreeAgain exhausts a subnet for a while.
func TestFreeAgain(t *testing.T) {
	inBubble(t, "profile: none", func(w *world) {
		must(w.sim.Control().Take(w.ctx, control.Tenants{Subnet: "a", Addresses: -1, For: seconds(60)}))(w)
		if free := w.free(); free != 0 {
			t.Errorf("%d addresses are free, want none", free)
		}
		time.Sleep(time.Minute)
		if free := w.free(); free != 250 {
			t.Errorf("%d addresses are free after a minute, want 250", free)
		}
	})
}

// free is the count of free addresses that DescribeSubnets tells of subnet a.
func (w *world) free() int32 {
	w.Helper()
	out := must(w.ec2.DescribeSubnets(w.ctx, &ec2.DescribeSubnetsInput{SubnetIds: []string{w.subnet("a")}}))(w)
	return *out.Subnets[0].AvailableIpAddressCount
}
