package compare

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

var addr = netip.MustParseAddr

// world is a book, EC2 and a kernel that agree: a pod on each of two ENIs, one
// with an address that cools down and one that is free.
type world struct {
	book Book
	enis []pool.ENI
	node Node
}

func agreed() world {
	mac := linux.MAC{2, 0, 0, 0, 0, 1}
	first := pool.ENI{ID: "eni-0", Primary: true, Managed: true, Status: pool.Attached, MAC: "02:00:00:00:00:00", Address: addr("10.0.0.5"),
		Addresses: []netip.Addr{addr("10.0.0.10"), addr("10.0.0.11"), addr("10.0.0.12")}}
	second := pool.ENI{ID: "eni-1", Device: 1, Managed: true, Status: pool.Attached, MAC: mac.String(), Address: addr("10.0.0.6"),
		Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.32/28")}}
	return world{
		book: Book{
			Assignments: []pool.Assignment{
				{Pod: pool.Pod{Namespace: "default", Name: "a"}, Address: addr("10.0.0.10"), ENI: "eni-0", Link: "enia"},
				{Pod: pool.Pod{Namespace: "default", Name: "b"}, Address: addr("10.0.0.33"), ENI: "eni-1", Link: "enib"},
			},
			Cooling: map[netip.Addr]time.Time{addr("10.0.0.11"): time.Unix(1, 0)},
		},
		enis: []pool.ENI{first, second},
		node: Node{
			VethPrefix: "eni", Addresses: []netip.Addr{addr("127.0.0.1"), addr("10.0.0.5"), addr("10.0.0.6")},
			Links: []linux.Link{{Name: "lo"}, {Name: "eth0", MAC: linux.MAC{2}}, {Name: "eth1", MAC: mac}, {Name: "enia"}, {Name: "enib"},
				{Name: "enidead", Group: config.DeadLinkGroup}},
			Routes: []linux.Route{{Dst: linux.HostPrefix(addr("10.0.0.10")), Link: "enia"}, {Dst: linux.HostPrefix(addr("10.0.0.33")), Link: "enib"},
				{Dst: linux.HostPrefix(addr("10.0.0.11")), Link: "enidead"}}, // its DEL is under way
		},
	}
}

func TestDifferences(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*world)
		want   []Difference
	}{
		{"none", func(*world) {}, nil},
		{"a stranger's address and prefix", func(w *world) {
			w.enis[0].Quarantined = []netip.Prefix{netip.MustParsePrefix("10.0.0.12/32"), netip.MustParsePrefix("10.0.0.48/28")}
		}, []Difference{{AddressUnknown, "10.0.0.12", "EC2 shows it on eni-0, and nobody here asked for it"},
			{AddressUnknown, "10.0.0.48/28", "EC2 shows it on eni-0, and nobody here asked for it"}}},
		{"the node has a free address", func(w *world) { w.node.Addresses = append(w.node.Addresses, addr("10.0.0.12")) },
			[]Difference{{AddressInUse, "10.0.0.12", "the node itself has it"}}},
		{"a link has a free address", func(w *world) {
			w.node.Routes = append(w.node.Routes, linux.Route{Dst: linux.HostPrefix(addr("10.0.0.34")), Link: "enia"})
		}, []Difference{{AddressInUse, "10.0.0.34", "the node has a route for it to link enia"}}},
		{"an address of a pod is no ENI's", func(w *world) { w.enis[0].Addresses = w.enis[0].Addresses[1:] },
			[]Difference{{AddressLost, "10.0.0.10", "pod default/a holds it, and no ENI of this node has it"}}},
		{"it is another ENI's", func(w *world) { w.book.Assignments[0].ENI = "eni-1" },
			[]Difference{{AddressMoved, "10.0.0.10", `pod default/a holds it as one of "eni-1", and eni-0 has it`}}},
		{"an ENI is not shown", func(w *world) { w.enis[1].Missing = true },
			[]Difference{{ENIMissing, "eni-1", "pods hold addresses of it, and EC2 does not show it"}}},
		{"an ENI is attached to nothing", func(w *world) { w.enis[1].Status = pool.Available },
			[]Difference{{ENIUnattached, "eni-1", "it is attached to nothing"}}},
		{"its device is not there", func(w *world) { w.node.Links[2].MAC[5]++ },
			[]Difference{{DeviceMissing, "eni-1", "it is attached, and the node has no link with its MAC 02:00:00:00:00:01"}}},
		{"the same of an ENI of others", func(w *world) { w.node.Links[2].MAC[5]++; w.enis[1].Managed = false }, nil},
		{"a pod's link is not there", func(w *world) { w.node.Links[4].Name = "eth7" },
			[]Difference{{SandboxGone, "10.0.0.33", "pod default/b holds it, and its link enib is not there"}}},
		{"a link is no pod's", func(w *world) { w.node.Links = append(w.node.Links, linux.Link{Name: "enic"}) },
			[]Difference{{LinkUnknown, "enic", "no assignment names it"}}},
	} {
		w := agreed()
		c.change(&w)
		if diff := cmp.Diff(c.want, Differences(w.book, w.enis, w.node)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestInUse(t *testing.T) {
	found := []Difference{{AddressUnknown, "10.0.0.12", ""}, {AddressInUse, "10.0.0.13", ""}, {LinkUnknown, "enic", ""}}
	if got := InUse(found); len(got) != 1 || got[0] != addr("10.0.0.13") {
		t.Errorf("%v", got)
	}
}

// Each kind has a name of its own, and a remedy.
func TestKinds(t *testing.T) {
	names := map[string]bool{}
	for i, k := range Kinds() {
		if names[k.String()] || k.Remedy() == "" || int(k) != i {
			t.Errorf("%d: %s, %q", k, k, k.Remedy())
		}
		names[k.String()] = true
	}
}
