package fabric

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// lines shows objects as text, sorted.
func lines(objects []object) []string {
	var out []string
	for _, o := range objects {
		out = append(out, o.String())
	}
	slices.Sort(out)
	return out
}

// TestChanges says what a change of the view changes, and nothing else.
func TestChanges(t *testing.T) {
	const a1 = "eni-000000000a1"
	tests := map[string]struct {
		change      func(*vpc.View)
		remove, add []string
	}{
		"nothing": {change: func(*vpc.View) {}},
		"address assigned": {
			change: func(v *vpc.View) {
				v.Interfaces[1].Addresses = append(v.Interfaces[1].Addresses, netip.MustParseAddr("10.0.0.22"))
			},
			add: []string{
				"element sources4 { " + a1 + " . 10.0.0.22 } in router",
				"route 10.0.0.22/32 via 169.254.173.1 dev " + a1 + " in router",
			},
		},
		"prefix assigned": {
			change: func(v *vpc.View) {
				v.Interfaces[1].Prefixes = []netip.Prefix{netip.MustParsePrefix("2600:1f14:1:1:5::/80")}
			},
			add: []string{
				"element sources6 { " + a1 + " . 2600:1f14:1:1:5::/80 } in router",
				"route 2600:1f14:1:1:5::/80 via fe80::ec2:1 dev " + a1 + " in router",
			},
		},
		"check off": {
			change: func(v *vpc.View) { v.Interfaces[1].SourceDestCheck = false },
			add:    []string{"element unchecked { " + a1 + " } in router"},
		},
		"egress": {
			change: func(v *vpc.View) { v.Subnets[1].Egress = vpc.EgressNone },
			remove: []string{"element egress { eni-000000000b0 : 2 } in router"},
		},
		"public address lost": {
			change: func(v *vpc.View) { clear(v.Interfaces[0].Public) },
			remove: []string{
				"element associated { 10.0.0.10 } in router",
				"element to_private { 198.51.100.7 : 10.0.0.10 } in igw",
				"element to_public { 10.0.0.10 : 198.51.100.7 } in igw",
			},
		},
		"device gone": {
			change: func(v *vpc.View) { v.Interfaces[1].DevicePresent = false },
			remove: []string{
				"device eni-0000000000000000a1 on a",
				"element egress { " + a1 + " : 1 } in router",
				"element macs { " + a1 + " . 0a:00:00:00:00:a1 } in router",
				"element no_public_address { " + a1 + " : eni-0000000000000000a1/no-public-address } in router",
				"element source_address { " + a1 + " : eni-0000000000000000a1/source-address } in router",
				"element source_mac { " + a1 + " : eni-0000000000000000a1/source-mac } in router",
				"element sources4 { " + a1 + " . 10.0.0.20 } in router",
				"element sources4 { " + a1 + " . 10.0.0.21 } in router",
				"route 10.0.0.20/32 via 169.254.173.1 dev " + a1 + " in router",
				"route 10.0.0.21/32 via 169.254.173.1 dev " + a1 + " in router",
			},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			have, err := wanted(testView())
			if err != nil {
				t.Fatal(err)
			}
			v := testView()
			test.change(&v)
			want, err := wanted(v)
			if err != nil {
				t.Fatal(err)
			}
			got := diff(have, want)
			if d := cmp.Diff(test.remove, lines(got.remove)); d != "" {
				t.Errorf("removed (-want +got):\n%s", d)
			}
			if d := cmp.Diff(test.add, lines(got.add)); d != "" {
				t.Errorf("added (-want +got):\n%s", d)
			}
		})
	}
}

// TestUnknownSubnet refuses a view that contradicts itself.
func TestUnknownSubnet(t *testing.T) {
	v := testView()
	v.Interfaces[0].Subnet = "subnet-x"
	if _, err := wanted(v); err == nil || !strings.Contains(err.Error(), `"subnet-x"`) {
		t.Errorf("got %v, want an error that names the subnet", err)
	}
}

// TestLinkName keeps the names of links within the kernel's 15 bytes, and
// apart.
func TestLinkName(t *testing.T) {
	for id, want := range map[string]string{"eni-0123456789abcdef0": "eni-6789abcdef0", "eni-7": "eni-7"} {
		if got := LinkName(id); got != want || len(got) > 15 {
			t.Errorf("LinkName(%s) = %s, want %s", id, got, want)
		}
	}
}
