package vpc

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

func newModel(t *testing.T, yaml string) *Model {
	t.Helper()
	topo, err := topology.Parse([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(topo)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("seed %d", m.Seed())
	return m
}

func subnetID(m *Model, name string) string {
	i := slices.IndexFunc(m.Subnets(), func(s Subnet) bool { return s.Name == name })
	return m.Subnets()[i].ID
}

func instanceID(t *testing.T, m *Model, node string) string {
	t.Helper()
	i, err := m.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	return i.ID
}

// create makes an ENI in a subnet, which must succeed.
func create(t *testing.T, m *Model, subnet string, v4 Ask) ENI {
	t.Helper()
	e, err := m.CreateNetworkInterface(Call{}, CreateInput{SubnetID: subnetID(m, subnet), V4: v4})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func attach(t *testing.T, m *Model, c Call, eni, node string, index int) Attachment {
	t.Helper()
	a, err := m.AttachNetworkInterface(c, AttachInput{InterfaceID: eni, InstanceID: instanceID(t, m, node), DeviceIndex: index})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// at is the state of one ENI by all its readers.
func readers(t *testing.T, m *Model, id, node string) string {
	t.Helper()
	show := func(e *ENI) string {
		if e == nil {
			return "-"
		}
		text := string(e.Status)
		if e.Attachment != nil {
			text = string(e.Attachment.Status)
		}
		return fmt.Sprintf("%s/%d", text, len(e.Secondary))
	}
	var described, metadata *ENI
	for _, e := range m.Described(0) {
		if e.ID == id {
			described = &e
		}
	}
	md, err := m.Metadata(node, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range md.Interfaces {
		if e.ID == id {
			metadata = &e
		}
	}
	device := false
	for _, i := range m.View().Interfaces {
		device = device || i.ID == id && i.DevicePresent
	}
	return fmt.Sprintf("describe %s imds %s device %v", show(described), show(metadata), device)
}

// TestLifeOfAnInterface follows one ENI through its states, as EC2, IMDS and
// the guest see it.
func TestLifeOfAnInterface(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, `{delays: {pending: 20ms, attach: 30ms, deviceAppear: 100ms, imdsMAC: 40ms, imdsAddresses: 80ms,
			imdsAssign: 60ms, imdsRemove: 70ms, detach: 50ms, describeLag: 5ms}}`)
		start := time.Now()
		var got []string
		var e ENI
		var a Attachment
		see := func(ms int) {
			time.Sleep(time.Until(start.Add(time.Duration(ms) * time.Millisecond)))
			got = append(got, fmt.Sprintf("%d %s", ms, readers(t, m, e.ID, "n1")))
		}
		e = create(t, m, "a", Ask{Count: 2})
		if e.Status != StatusPending || len(e.Secondary) != 2 {
			t.Errorf("created %s with %v", e.Status, e.Secondary)
		}
		see(4)
		see(5)
		see(25) // pending until 20, seen 5 later
		a = attach(t, m, Call{}, e.ID, "n1", 1)
		see(31)
		see(60)  // attached at 55, seen at 60
		see(95)  // MAC at 55+40
		see(135) // addresses at 55+80
		see(155) // device at 55+100
		if _, _, err := m.AssignPrivateIPAddresses(Call{}, e.ID, Ask{Count: 1}, false); err != nil {
			t.Fatal(err)
		}
		see(214)
		see(215) // assign at 155+60
		if err := m.DetachNetworkInterface(Call{}, a.ID, false); err != nil {
			t.Fatal(err)
		}
		see(220)
		see(270) // detached at 265
		see(334)
		see(335) // IMDS forgets at 265+70
		if err := m.DeleteNetworkInterface(Call{}, e.ID); err != nil {
			t.Fatal(err)
		}
		see(339)
		see(340)
		want := []string{
			"4 describe - imds - device false",
			"5 describe pending/2 imds - device false",
			"25 describe available/2 imds - device false",
			"31 describe attaching/2 imds - device false",
			"60 describe attached/2 imds - device false",
			"95 describe attached/2 imds attached/0 device false",
			"135 describe attached/2 imds attached/2 device false",
			"155 describe attached/2 imds attached/2 device true",
			"214 describe attached/3 imds attached/2 device true",
			"215 describe attached/3 imds attached/3 device true",
			"220 describe detaching/3 imds attached/3 device false",
			"270 describe available/3 imds attached/3 device false",
			"334 describe available/3 imds detaching/3 device false",
			"335 describe available/3 imds - device false",
			"339 describe available/3 imds - device false",
			"340 describe - imds - device false",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		m.Close()
	})
}

// TestChanged holds that a step of a state machine wakes the fabric without
// anyone reading.
func TestChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, "{profile: none, delays: {attach: 1s, deviceAppear: 1m}}")
		defer m.Close()
		e := create(t, m, "a", Ask{})
		attach(t, m, Call{}, e.ID, "n1", 1)
		<-m.Changed()
		start := time.Now()
		<-m.Changed()
		if got := time.Since(start); got != time.Second {
			t.Errorf("attached after %v, want 1s", got)
		}
		<-m.Changed()
		if got := time.Since(start); got != 61*time.Second {
			t.Errorf("device after %v, want 1m1s", got)
		}
		i := slices.IndexFunc(m.View().Interfaces, func(v InterfaceView) bool { return v.ID == e.ID })
		if v := m.View().Interfaces[i]; !v.DevicePresent || v.Node != "n1" || v.DeviceIndex != 1 || !v.SourceDestCheck || v.Addresses[0] != e.Primary {
			t.Errorf("view %+v", v)
		}
	})
}

func TestFaultyVisibility(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, "profile: none")
		defer m.Close()
		e, err := m.CreateNetworkInterface(Call{Stale: time.Minute}, CreateInput{SubnetID: subnetID(m, "a")})
		if err != nil {
			t.Fatal(err)
		}
		attach(t, m, Call{IMDSLag: 2 * time.Minute, Device: DeviceFault{Delay: 3 * time.Minute}}, e.ID, "n1", 1)
		other := create(t, m, "a", Ask{})
		attach(t, m, Call{Device: DeviceFault{Never: true}}, other.ID, "n1", 2)
		var got []string
		for range 4 {
			time.Sleep(time.Minute)
			got = append(got, readers(t, m, e.ID, "n1"))
		}
		want := []string{
			"describe attached/0 imds - device false",
			"describe attached/0 imds attached/0 device false",
			"describe attached/0 imds attached/0 device true",
			"describe attached/0 imds attached/0 device true",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if got, want := readers(t, m, other.ID, "n1"), "describe attached/0 imds attached/0 device false"; got != want {
			t.Errorf("device that never comes: %s, want %s", got, want)
		}
		for _, old := range m.Described(5 * time.Minute) {
			if old.ID == e.ID {
				t.Error("a describe of five minutes ago shows a new ENI")
			}
		}
	})
}

func TestForcedDetachStaysInMetadata(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newModel(t, "profile: none")
		defer m.Close()
		e := create(t, m, "a", Ask{})
		a := attach(t, m, Call{}, e.ID, "n1", 1)
		if err := m.DetachNetworkInterface(Call{}, a.ID, true); err != nil {
			t.Fatal(err)
		}
		if err := m.DeleteNetworkInterface(Call{}, e.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got, want := readers(t, m, e.ID, "n1"), "describe - imds attached/0 device false"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

func TestTerminate(t *testing.T) {
	m := newModel(t, "profile: none")
	defer m.Close()
	free := m.Subnets()[0].Free
	kept := create(t, m, "a", Ask{})
	attach(t, m, Call{}, kept.ID, "n1", 1)
	if err := m.Terminate("n1"); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range m.Interfaces() {
		if e.SubnetID == subnetID(m, "a") {
			left = append(left, e.ID+" "+string(e.Status))
		}
	}
	if diff := cmp.Diff([]string{kept.ID + " available"}, left); diff != "" {
		t.Errorf("left after termination (-want +got)\n%s", diff)
	}
	if got := m.Subnets()[0].Free; got != free {
		t.Errorf("%d addresses free, want %d: the primary's is freed, the kept ENI's is not", got, free)
	}
	_, err := m.AttachNetworkInterface(Call{}, AttachInput{InterfaceID: kept.ID, InstanceID: instanceID(t, m, "n1"), DeviceIndex: 1})
	if err == nil || !strings.Contains(err.Error(), "IncorrectInstanceState") {
		t.Errorf("attaching to a terminated instance: %v", err)
	}
	if err := m.Terminate("n9"); err == nil {
		t.Error("terminated a node that is not there")
	}
}

func TestAdmin(t *testing.T) {
	m := newModel(t, "{profile: none, subnets: [{name: a, cidr: 10.0.0.0/27}]}")
	defer m.Close()
	refused := map[string]error{
		"bad egress":    m.SetEgress("a", "vpn"),
		"overlap":       m.AddCIDR(netip.MustParsePrefix("172.31.0.0/20")),
		"host bits":     m.AddCIDR(netip.MustParsePrefix("100.64.0.1/16")),
		"too large":     m.AddCIDR(netip.MustParsePrefix("100.64.0.0/10")),
		"not in egress": m.SetEgress("z", EgressNAT),
	}
	for name, err := range refused {
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := m.SetEgress("a", EgressNAT); err != nil {
		t.Fatal(err)
	}
	if err := m.AddCIDR(netip.MustParsePrefix("100.64.0.0/16")); err != nil {
		t.Fatal(err)
	}
	v := m.View()
	if v.Subnets[0].Egress != EgressNAT || len(v.CIDRs) != 2 {
		t.Errorf("view %v %v", v.Subnets, v.CIDRs)
	}
}

func TestSeedDecidesAll(t *testing.T) {
	build := func(seed int) View {
		m := newModel(t, fmt.Sprintf("seed: %d", seed))
		defer m.Close()
		return m.View()
	}
	compare := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	comparePrefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(build(5), build(5), compare, comparePrefix); diff != "" {
		t.Errorf("two models of one seed differ\n%s", diff)
	}
	if cmp.Equal(build(5), build(6), compare, comparePrefix) {
		t.Error("models of two seeds are the same")
	}
}

func TestIdentify(t *testing.T) {
	m := newModel(t, "profile: none")
	defer m.Close()
	e := create(t, m, "a", Ask{PrefixCount: 1})
	if _, ok := m.Identify(e.Primary); ok {
		t.Error("an ENI that is not attached identifies a node")
	}
	attach(t, m, Call{}, e.ID, "n1", 1)
	for _, a := range []netip.Addr{e.Primary, e.Prefixes[0].Addr().Next(), netip.AddrFrom16(e.Primary.As16())} {
		if node, ok := m.Identify(a); !ok || node != "n1" {
			t.Errorf("%s is %q, %v; want n1", a, node, ok)
		}
	}
}

// TestRandomWalk makes random calls and holds the model's invariants after
// each: no address has two owners, free counts add up, limits are kept.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			m := newModel(t, fmt.Sprintf(`{seed: %d, subnets: [{name: a, cidr: 10.0.0.0/25}], nodes: [{name: n1, subnet: a}, {name: n2, subnet: a, type: t3.small}]}`, seed+1))
			defer m.Close()
			rng := rand.New(rand.NewPCG(seed, 1))
			for range 400 {
				randomCall(m, rng)
				if rng.IntN(3) == 0 {
					time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
				}
				holdInvariants(t, m)
			}
		})
	}
}

func randomCall(m *Model, rng *rand.Rand) {
	enis := m.Interfaces()
	e := enis[rng.IntN(len(enis))]
	ask := Ask{Count: rng.IntN(4)}
	if rng.IntN(2) == 0 {
		ask = Ask{PrefixCount: 1 + rng.IntN(2)}
	}
	// Refusals are as welcome as successes: both must leave a sound state.
	switch rng.IntN(7) {
	case 0:
		_, _ = m.CreateNetworkInterface(Call{}, CreateInput{SubnetID: e.SubnetID, V4: ask})
	case 1:
		node := m.Instances()[rng.IntN(2)]
		_, _ = m.AttachNetworkInterface(Call{}, AttachInput{InterfaceID: e.ID, InstanceID: node.ID, DeviceIndex: rng.IntN(4)})
	case 2:
		if e.Attachment != nil {
			_ = m.DetachNetworkInterface(Call{}, e.Attachment.ID, false)
		}
	case 3:
		_ = m.DeleteNetworkInterface(Call{}, e.ID)
	case 4:
		_, _, _ = m.AssignPrivateIPAddresses(Call{}, e.ID, ask, false)
	case 5:
		if other := enis[rng.IntN(len(enis))]; len(other.Secondary) > 0 {
			_, _, _ = m.AssignPrivateIPAddresses(Call{}, e.ID, Ask{Addresses: other.Secondary[:1]}, true)
		}
	case 6:
		_ = m.UnassignPrivateIPAddresses(Call{}, e.ID, e.Secondary, e.Prefixes)
	}
}

func holdInvariants(t *testing.T, m *Model) {
	t.Helper()
	owner := map[netip.Addr]string{}
	own := func(a netip.Addr, id string) {
		if other, taken := owner[a]; taken {
			t.Fatalf("%s belongs to %s and %s", a, other, id)
		}
		owner[a] = id
	}
	count := map[string]int{}
	for _, e := range m.Interfaces() {
		for _, a := range append(e.Secondary, e.Primary) {
			own(a, e.ID)
		}
		for _, p := range e.Prefixes {
			if p.Bits() != 28 || p.Masked() != p {
				t.Fatalf("prefix %s is not an aligned /28", p)
			}
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				own(a, e.ID)
			}
		}
		if e.Attachment == nil {
			continue
		}
		i, err := m.Node(e.Attachment.Node)
		if err != nil {
			t.Fatal(err)
		}
		it, _ := m.Type(i.Type)
		count[i.Node]++
		if e.slots() > it.IPv4 || count[i.Node] > it.MaxInterfaces() {
			t.Fatalf("%s (%s) has %d interfaces, %s %d addresses", i.Node, i.Type, count[i.Node], e.ID, e.slots())
		}
	}
	s := m.Subnets()[0]
	for a := range owner {
		if topology.Reserved(s.CIDR, a) {
			t.Fatalf("reserved address %s is in use", a)
		}
	}
	if s.Free != 128-5-len(owner) {
		t.Fatalf("%d addresses free, want %d", s.Free, 128-5-len(owner))
	}
}
