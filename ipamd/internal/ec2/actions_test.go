package ec2

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func TestDescribePrimary(t *testing.T) {
	w := start(t, "profile: none")
	n1 := w.status().Nodes[0].Interfaces[0]
	got := w.describe(true)
	want := []pool.ENI{{
		ID: w.id.PrimaryENI, MAC: n1.MAC, Primary: true, Type: "interface", AttachmentID: n1.AttachmentID, Status: pool.Attached,
		DeleteOnTermination: true, Subnet: w.id.Subnet, SubnetCIDR: netip.MustParsePrefix("10.0.0.0/24"),
		SecurityGroups: got[0].SecurityGroups, Address: w.id.PrimaryAddress, Tags: n1.Tags, Description: n1.Description,
	}}
	if diff := cmp.Diff(want, got, byValue); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if len(got[0].SecurityGroups) == 0 {
		t.Error("the primary ENI has no security group")
	}
	w.describe(false)
	if n := w.attempts("DescribeSubnets"); n != 1 {
		t.Errorf("the subnet was described %d times, want once", n)
	}
}

// TestLifeOfAnENI takes an ENI through every action.
func TestLifeOfAnENI(t *testing.T) {
	w := start(t, "profile: none")
	answer := w.apply(w.create("token-1", 2)).Created
	want := pool.ENI{
		ID: answer.ID, MAC: answer.MAC, Type: "interface", Status: pool.Available, Subnet: w.id.Subnet,
		SubnetCIDR: netip.MustParsePrefix("10.0.0.0/24"), SecurityGroups: w.eni(w.id.PrimaryENI).SecurityGroups,
		Address: answer.Address, Addresses: answer.Addresses, Description: "aws-K8S-" + w.id.InstanceID, Created: created,
		Tags: map[string]string{
			"node.k8s.amazonaws.com/instance_id": w.id.InstanceID,
			"node.k8s.amazonaws.com/createdAt":   "2025-07-01T10:20:30Z",
			"cluster.k8s.amazonaws.com/name":     "story",
			"eks:eni:owner":                      "amazon-vpc-cni",
			"team":                               "net",
		},
	}
	check := func(what string) {
		t.Helper()
		if diff := cmp.Diff(want, w.eni(want.ID), byValue); diff != "" {
			t.Errorf("after %s (-want +got)\n%s", what, diff)
		}
	}
	if diff := cmp.Diff(want, *answer, byValue); diff != "" {
		t.Errorf("answer of the creation (-want +got)\n%s", diff)
	}
	if len(answer.Addresses) != 2 || slices.Contains(answer.Addresses, answer.Address) {
		t.Errorf("addresses %v beside %s, want 2 others", answer.Addresses, answer.Address)
	}
	check("creation")
	if enis := w.describe(false); len(enis) != 1 {
		t.Errorf("without leftovers: %+v, want the primary ENI only", enis)
	}

	want.AttachmentID = w.apply(pool.AttachENI{ENI: want.ID, Device: 2}).AttachmentID
	want.Status, want.Device = pool.Attached, 2
	check("attachment")
	w.apply(pool.ProtectENI{ENI: want.ID, AttachmentID: want.AttachmentID})
	want.DeleteOnTermination = true
	check("protection")
	assigned := w.apply(pool.AssignAddresses{ENI: want.ID, Count: 3}).Assigned
	if len(assigned) != 3 {
		t.Errorf("assigned %v, want 3 addresses", assigned)
	}
	want.Addresses = append(want.Addresses, assigned...)
	check("assignment")
	w.apply(pool.UnassignAddresses{ENI: want.ID, Addresses: want.Addresses[1:3]})
	want.Addresses = slices.Delete(want.Addresses, 1, 3)
	check("return of addresses")
	if f := w.refused(pool.DeleteENI{ENI: want.ID}); f.Class != pool.InUse {
		t.Errorf("deleting an attached ENI: %s (%v), want in use", f.Class, f)
	}

	left := w.apply(w.create("token-2", 0)).Created
	w.apply(pool.DeleteENI{ENI: left.ID})
	if enis := w.describe(true); len(enis) != 2 {
		t.Errorf("after the deletion: %+v, want 2 ENIs", enis)
	}
	if f := w.refused(pool.DeleteENI{ENI: left.ID}); f.Class != pool.NotFound {
		t.Errorf("deleting it again: %s (%v), want not found", f.Class, f)
	}
}

// TestAttaching sees the states between.
func TestAttaching(t *testing.T) {
	w := start(t, "{profile: none, delays: {attach: 10s}}")
	eni := w.apply(w.create("token", 0)).Created
	w.apply(pool.AttachENI{ENI: eni.ID, Device: 1})
	if got := w.eni(eni.ID); got.Status != pool.Attaching || got.Device != 1 || got.Primary {
		t.Errorf("%+v, want device 1 attaching", got)
	}
}

// TestNoClusterName leaves out the tags that name the cluster.
func TestNoClusterName(t *testing.T) {
	w := start(t, "profile: none", func(s *Settings) { s.ClusterName, s.ExtraTags = "", nil })
	want := map[string]string{pool.TagInstance: w.id.InstanceID, pool.TagCreated: "2025-07-01T10:20:30Z"}
	if diff := cmp.Diff(want, w.apply(w.create("token", 0)).Created.Tags); diff != "" {
		t.Errorf("tags (-want +got)\n%s", diff)
	}
}

// TestPages describes more ENIs than a page holds.
func TestPages(t *testing.T) {
	w := start(t, "{profile: none, pageLimit: 5, throttle: {enabled: false}}")
	for i := range 12 {
		w.apply(w.create(string(rune('a'+i)), 0))
	}
	if enis := w.describe(true); len(enis) != 13 {
		t.Errorf("%d ENIs are described, want 13", len(enis))
	}
}

// TestLeftoversAreOurs passes over what another node left.
func TestLeftoversAreOurs(t *testing.T) {
	w := start(t, "profile: none")
	action := w.create("token", 0)
	id := w.id
	id.InstanceID = w.sim.Instance("n2")
	other, err := New(t.Context(), w.cloud.settings, id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Apply(t.Context(), action); err != nil {
		t.Fatal(err)
	}
	if enis := w.describe(true); len(enis) != 1 {
		t.Errorf("%+v, want the primary ENI only", enis)
	}
}

func TestUnknownAction(t *testing.T) {
	w := start(t, "profile: none")
	if f := w.refused(nil); f.Class != pool.Refused {
		t.Errorf("%s, want refused", f.Class)
	}
}

// TestIPv6Prefixes creates an ENI with a /80 and assigns one to another.
func TestIPv6Prefixes(t *testing.T) {
	w := start(t, `{profile: none, vpc: {ipv6CIDRs: ["2001:db8::/56"]}, subnets: [{name: a, cidr: 10.0.0.0/24, ipv6CIDR: "2001:db8::/64"}], nodes: [{name: n1, subnet: a}]}`)
	ofSubnet := func(got []netip.Prefix) {
		t.Helper()
		if len(got) != 1 || got[0].Bits() != 80 || !netip.MustParsePrefix("2001:db8::/64").Contains(got[0].Addr()) {
			t.Errorf("%v, want one /80 of the subnet", got)
		}
	}
	action := w.create("token", 2)
	action.Prefixes6 = 1
	answer := w.apply(action).Created
	ofSubnet(answer.Prefixes6)
	shown := w.eni(answer.ID)
	if diff := cmp.Diff(answer.Prefixes6, shown.Prefixes6, byValue); diff != "" || len(shown.Addresses) != 2 {
		t.Errorf("described with the addresses %v; IPv6 prefixes (-answer +description)\n%s", shown.Addresses, diff)
	}
	got := w.apply(pool.AssignAddresses{ENI: w.id.PrimaryENI, Prefixes6: 1})
	ofSubnet(got.AssignedPrefixes6)
	if diff := cmp.Diff(pool.Result{AssignedPrefixes6: w.eni(w.id.PrimaryENI).Prefixes6}, got, byValue); diff != "" {
		t.Errorf("(-description +answer)\n%s", diff)
	}
	w.fault("{action: AssignIpv6Addresses, effect: {lost: true}}")
	if f := w.refused(pool.AssignAddresses{ENI: answer.ID, Prefixes6: 1}); f.Class != pool.Ambiguous || w.attempts("AssignIpv6Addresses") != 2 {
		t.Errorf("%s (%v) after %d attempts in all, want that its outcome is unknown after 2", f.Class, f, w.attempts("AssignIpv6Addresses"))
	}
	if got := w.eni(answer.ID).Prefixes6; len(got) != 2 {
		t.Errorf("%v, want 2: it was carried out", got)
	}
}

func TestNoIPv6(t *testing.T) {
	w := start(t, "profile: none")
	action := w.create("token", 0)
	action.Prefixes6 = 1
	for _, a := range []pool.Action{action, pool.AssignAddresses{ENI: w.id.PrimaryENI, Prefixes6: 1}} {
		if f := w.refused(a); f.Class != pool.Refused {
			t.Errorf("%s: %s (%v), want refused", a, f.Class, f)
		}
	}
}
