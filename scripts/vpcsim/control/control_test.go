package control_test

import (
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/admin"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/simulator"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// dial runs a simulator's admin API on a unix socket.
func dial(t *testing.T, f admin.Fabric) *control.Client {
	t.Helper()
	s, err := simulator.New(topology.Default(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: s.Admin(f)}
	go func() { _ = server.Serve(l) }() // ends with Close
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return control.Dial(path)
}

func TestStatus(t *testing.T) {
	c := dial(t, admin.Fabric{Node: func(name string) (string, map[string]string) {
		return "vpcsim-" + name, map[string]string{"AWS_REGION": "us-west-2"}
	}})
	s, err := c.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Nodes) != 2 || len(s.Subnets) != 2 || s.Seed == 0 || s.Subnets[0].Free != 250 {
		t.Fatalf("status %+v", s)
	}
	n := s.Nodes[0]
	if n.Name != "n1" || n.Namespace != "vpcsim-n1" || n.Env["AWS_REGION"] != "us-west-2" || n.State != "running" || n.Subnet != "a" || len(n.Interfaces) != 1 {
		t.Errorf("node %+v", n)
	}
	e := n.Interfaces[0]
	if !e.DevicePresent || e.AttachmentStatus != "attached" || !e.DeleteOnTermination || e.Public[e.Addresses[0].String()] == "" || e.Subnet != "a" {
		t.Errorf("interface %+v", e)
	}
}

func TestFaults(t *testing.T) {
	c := dial(t, admin.Fabric{})
	rules, err := control.ParseRules([]byte("{action: CreateTags, effect: {latency: 1s}}"))
	if err != nil {
		t.Fatal(err)
	}
	ids, err := c.AddFaults(t.Context(), rules...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"f1"}, ids); diff != "" {
		t.Errorf("ids (-want +got)\n%s", diff)
	}
	if _, err := c.AddFaults(t.Context(), control.Rule{Action: "CreateTags"}); err == nil || !strings.Contains(err.Error(), "effect is empty") {
		t.Errorf("adding a bad rule: %v", err)
	}
	rules[0].ID = "f1"
	list, err := c.Faults(t.Context())
	if diff := cmp.Diff([]control.FaultState{{Rule: rules[0]}}, list); diff != "" || err != nil {
		t.Errorf("list (-want +got)\n%s%v", diff, err)
	}
	if err := c.ClearFaults(t.Context(), "f9"); err == nil {
		t.Error("cleared a rule that is not there")
	}
	if err := c.ClearFaults(t.Context()); err != nil {
		t.Error(err)
	}
	if list, err = c.Faults(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("after clearing: %v, %v", list, err)
	}
}

func TestChanges(t *testing.T) {
	c := dial(t, admin.Fabric{})
	ctx := t.Context()
	if err := c.AddCIDR(ctx, netip.MustParsePrefix("100.64.0.0/16")); err != nil {
		t.Error(err)
	}
	if err := c.AddCIDR(ctx, netip.MustParsePrefix("100.64.0.0/16")); err == nil || !strings.Contains(err.Error(), "overlaps") {
		t.Errorf("adding a block twice: %v", err)
	}
	if err := c.SetEgress(ctx, "b", "nat"); err != nil {
		t.Error(err)
	}
	if err := c.SetEgress(ctx, "b", "vpn"); err == nil {
		t.Error("an unknown egress was accepted")
	}
	if free, err := c.Take(ctx, control.Tenants{Subnet: "b", Addresses: 50, Pattern: control.Packed}); err != nil || free != 200 {
		t.Errorf("take: %d free, %v", free, err)
	}
	if _, err := c.Take(ctx, control.Tenants{Subnet: "b", Addresses: 50, Pattern: "loose"}); err == nil || !strings.Contains(err.Error(), `pattern "loose"`) {
		t.Errorf("an unknown pattern: %v", err)
	}
	if free, err := c.Give(ctx, "b", -1); err != nil || free != 250 {
		t.Errorf("give: %d free, %v", free, err)
	}
	if free, err := c.Fragment(ctx, "b"); err != nil || free >= 250 || free < 235 {
		t.Errorf("fragment: %d free, %v", free, err)
	}
	if err := c.Terminate(ctx, "n2"); err != nil {
		t.Error(err)
	}
	if err := c.DropTokens(ctx); err != nil {
		t.Error(err)
	}
	s, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if s.Nodes[1].State != "terminated" || s.Subnets[1].Egress != "nat" || len(s.CIDRs) != 2 {
		t.Errorf("status %+v", s)
	}
	calls, err := c.Calls(ctx)
	if err != nil || len(calls) != 0 {
		t.Errorf("calls %v, %v", calls, err)
	}
}

func TestDrops(t *testing.T) {
	if _, err := dial(t, admin.Fabric{}).Drops(t.Context()); err == nil {
		t.Error("a simulator without a fabric counted drops")
	}
	if _, err := dial(t, admin.Fabric{}).Balancers(t.Context()); err == nil {
		t.Error("a simulator without a fabric has load balancers")
	}
	want := []control.Drop{{Node: "n1", ENI: "eni-1", Reason: "source", Packets: 3, Bytes: 180}}
	c := dial(t, admin.Fabric{Drops: func() ([]control.Drop, error) { return want, nil }})
	got, err := c.Drops(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got)\n%s%v", diff, err)
	}
}

func TestNobodyThere(t *testing.T) {
	if _, err := control.Dial(filepath.Join(t.TempDir(), "none.sock")).Status(t.Context()); err == nil {
		t.Error("a socket that is not there answered")
	}
}

// TestWireNames holds the JSON that scripts may read.
func TestWireNames(t *testing.T) {
	data, err := json.Marshal(control.Rule{Action: "CreateTags", Effect: control.Effect{Reset: true}})
	if want := `{"action":"CreateTags","effect":{"reset":true}}`; string(data) != want || err != nil {
		t.Errorf("%s, want %s (%v)", data, want, err)
	}
}
