package vpc

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// TestBalancerInterface follows an ENI that EC2's users may only look at.
func TestBalancerInterface(t *testing.T) {
	m, err := New(topology.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	web := topology.LoadBalancer{Name: "web", Type: topology.NLB, Scheme: topology.InternetFacing}
	e, err := m.AddBalancerInterface(web, "a")
	if err != nil {
		t.Fatal(err)
	}
	if !e.Managed || e.Status != StatusInUse || e.InterfaceType != "network_load_balancer" || e.RequesterID != "amazon-elb" {
		t.Errorf("interface %+v", e)
	}
	if want := netip.MustParseAddr("198.51.100.13"); e.Public[e.Primary] != want {
		t.Errorf("public address %s, want %s, the first after those of the nodes", e.Public[e.Primary], want)
	}
	want := []BalancerView{{ID: e.ID, Subnet: e.SubnetID, Address: e.Primary, Public: e.Public[e.Primary]}}
	if diff := cmp.Diff(want, m.View().Balancers, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("view (-want +got)\n%s", diff)
	}
	for what, err := range map[string]error{
		"delete": m.DeleteNetworkInterface(Call{}, e.ID),
		"modify": m.ModifyNetworkInterface(Call{}, e.ID, ModifyInput{Description: new("mine")}),
	} {
		var refusal *awserr.Error
		if !errors.As(err, &refusal) || refusal.Code != "OperationNotPermitted" {
			t.Errorf("%s: %v, want OperationNotPermitted", what, err)
		}
	}
	m.RemoveBalancerInterface(e.ID)
	m.RemoveBalancerInterface(e.ID)
	if v := m.View(); len(v.Balancers) != 0 || len(v.Interfaces) != 2 {
		t.Errorf("after removal: %+v", v)
	}
	again, err := m.AddBalancerInterface(web, "a")
	if err != nil || again.Public[again.Primary] != e.Public[e.Primary] {
		t.Errorf("the public address was not given back: %v %v", again.Public, err)
	}
	if _, err := m.AddBalancerInterface(web, "z"); err == nil {
		t.Error("a subnet that is not there was accepted")
	}
}
