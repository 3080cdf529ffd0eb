package kernel

import (
	"context"
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/scripts/nstest"
)

// inHost runs a test in a fresh namespace that plays the node, with the
// namespace of a pod beside it.
func inHost(t *testing.T, body func(t *testing.T, host, pod *Handle)) {
	t.Helper()
	hostNS, podNS := nstest.New(t), nstest.New(t)
	if err := hostNS.Do(func(ns.NetNS) error {
		host, err := Open("")
		if err != nil {
			return err
		}
		defer host.Close()
		pod, err := Open(podNS.Path())
		if err != nil {
			return err
		}
		defer pod.Close()
		body(t, host, pod)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

var (
	hostMAC = linux.MAC{2, 0, 0, 0, 0, 1}
	podMAC  = linux.MAC{2, 0, 0, 0, 0, 2}
	address = netip.MustParsePrefix("10.0.0.5/32")
	gateway = netip.MustParseAddr("169.254.1.1")
	scope   = linux.Scope{VethPrefix: "eni", Tables: []int{2}, Priorities: []int{512, 1024, 1536}}
	sysctls = []string{"net/ipv4/ip_forward"}
)

func hostState() linux.State {
	veth := linux.Link{Name: "eni0123456789a", MAC: hostMAC, MTU: 9001, Up: true, Peer: linux.Peer{Name: "eth0", MAC: podMAC}}
	return linux.State{
		Links:  []linux.Link{veth},
		Routes: []linux.Route{{Table: 254, Dst: address, Link: veth.Name}, {Table: 2, Dst: linux.HostPrefix(netip.MustParseAddr("10.0.0.1")), Link: veth.Name}, {Table: 2, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1"), Link: veth.Name}},
		Rules: []linux.Rule{{Priority: 512, To: address, Table: 254}, {Priority: 1536, From: address, Table: 2},
			{Priority: 1024, Mark: 0x80, Mask: 0x80, Table: 254}},
		Sysctls: []linux.Sysctl{{Key: "net/ipv4/ip_forward", Value: "1"}},
	}
}

func podState() linux.State {
	return linux.State{
		Links:  []linux.Link{{Name: "eth0", MAC: podMAC, MTU: 9001, Up: true}},
		Addrs:  []linux.Addr{{Link: "eth0", Prefix: address}},
		Neighs: []linux.Neigh{{Link: "eth0", IP: gateway, MAC: hostMAC}},
		Routes: []linux.Route{{Table: 254, Dst: linux.HostPrefix(gateway), Link: "eth0"}, {Table: 254, Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: gateway, Link: "eth0"}},
	}
}

func mustApply(t *testing.T, h *Handle, peer *Handle, changes []linux.Change) {
	t.Helper()
	if err := h.Apply(changes, peer); err != nil {
		t.Fatal(err)
	}
}

func observe(t *testing.T, h *Handle) linux.State {
	t.Helper()
	s, err := h.Observe(scope)
	if err != nil {
		t.Fatal(err)
	}
	s.Sysctls = Sysctls(sysctls)
	return s
}

// What is applied is what is then observed, and what `ip` shows is what
// operators of EKS nodes know.
func TestApplyThenObserve(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		want := hostState()
		changes := linux.Diff(linux.State{}, want)
		mustApply(t, host, pod, changes)
		mustApply(t, pod, nil, linux.Diff(linux.State{Links: []linux.Link{{Name: "eth0", MAC: podMAC, MTU: 9001}}}, podState()))
		if left := linux.Diff(observe(t, host), want); len(left) > 0 {
			t.Errorf("host still wants %v", left)
		}
		inside, err := pod.ObservePod()
		if err != nil {
			t.Fatal(err)
		}
		if left := linux.Diff(inside, podState()); len(left) > 0 {
			t.Errorf("pod still wants %v", left)
		}
		wantRules := "0:\tfrom all lookup local\n512:\tfrom all to 10.0.0.5 lookup main\n1024:\tfrom all fwmark 0x80/0x80 lookup main\n1536:\tfrom 10.0.0.5 lookup 2\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
		if diff := cmp.Diff(wantRules, ip(t, "rule")); diff != "" {
			t.Errorf("ip rule (-want +got):\n%s", diff)
		}
		wantTable := "default via 10.0.0.1 dev eni0123456789a \n10.0.0.1 dev eni0123456789a scope link \n"
		if diff := cmp.Diff(wantTable, ip(t, "route", "show", "table", "2")); diff != "" {
			t.Errorf("ip route show table 2 (-want +got):\n%s", diff)
		}
		if got := ip(t, "route"); got != "10.0.0.5 dev eni0123456789a scope link \n" {
			t.Errorf("ip route: %q", got)
		}
		// All but the link may be applied again.
		mustApply(t, host, pod, changes[1:])
		if diff := cmp.Diff(wantRules, ip(t, "rule")); diff != "" {
			t.Errorf("after a second apply (-want +got):\n%s", diff)
		}
	})
}

func TestEveryDeletedItemComesBack(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		want := hostState()
		mustApply(t, host, pod, linux.Diff(linux.State{}, want))
		for _, damage := range [][]string{
			{"rule", "del", "priority", "512"}, {"rule", "del", "priority", "1536"}, {"rule", "del", "priority", "1024"},
			{"route", "del", "10.0.0.5"}, {"route", "flush", "table", "2"},
			{"rule", "add", "priority", "512", "to", "10.0.0.9", "lookup", "main"},
			{"link", "set", "eni0123456789a", "mtu", "1500"},
		} {
			ip(t, damage...)
			steps := linux.Diff(observe(t, host), want)
			if len(steps) == 0 {
				t.Errorf("ip %v was not noticed", damage)
			}
			mustApply(t, host, nil, steps)
			if left := linux.Diff(observe(t, host), want); len(left) > 0 {
				t.Errorf("after ip %v and repair: still %v", damage, left)
			}
		}
	})
}

// Another's IPv6 rule that looks like ours is neither ours nor a second one.
func TestARuleOfTheOtherFamily(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		want := hostState()
		mustApply(t, host, pod, linux.Diff(linux.State{}, want))
		ip(t, "-6", "rule", "add", "priority", "1024", "fwmark", "0x80/0x80", "lookup", "main")
		if left := linux.Diff(observe(t, host), want); len(left) > 0 {
			t.Errorf("wants %v", left)
		}
	})
}

func TestErrorsNameTheChangeAndTheCause(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		mustApply(t, host, pod, linux.Diff(linux.State{}, hostState()))
		err := host.Apply(linux.Diff(linux.State{}, linux.State{Links: hostState().Links}), pod)
		if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "add link eni0123456789a") {
			t.Errorf("a link that exists: %v", err)
		}
		bad := linux.Route{Table: 2, Dst: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("203.0.113.1"), Link: "eni0123456789a"}
		err = host.Apply([]linux.Change{{Op: linux.Add, Item: bad, Reason: "missing"}}, nil)
		if err == nil || !strings.Contains(err.Error(), "10.9.0.0/16 via 203.0.113.1") || !strings.Contains(err.Error(), "(") {
			t.Errorf("an unreachable gateway: %v", err)
		}
		gone := linux.Route{Table: 254, Dst: address, Link: "enigone"}
		mustApply(t, host, nil, []linux.Change{{Op: linux.Delete, Item: gone, Reason: "not wanted"},
			{Op: linux.Delete, Item: linux.Rule{Priority: 512, To: netip.MustParsePrefix("10.1.1.1/32"), Table: 254}, Reason: "not wanted"}})
	})
	if _, err := Open("/proc/version"); err == nil {
		t.Error("a file that is no namespace was opened")
	}
}

func TestLinksOfAGroupGoTogether(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		links := hostState().Links
		mustApply(t, host, pod, linux.Diff(linux.State{}, linux.State{Links: links}))
		index, mac, err := host.Find(links[0].Name)
		if err != nil || index == 0 || mac != links[0].MAC {
			t.Fatalf("found %d %s, %v", index, mac, err)
		}
		if gone, _, err := host.Find("enigone"); gone != 0 || err != nil {
			t.Errorf("found a link that is not there: %d, %v", gone, err)
		}
		for _, i := range []int{index, 1 << 20} {
			if err := host.MoveToGroup(i, 0x6377); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the second time the group is empty
			if err := host.DeleteGroup(0x6377); err != nil {
				t.Fatal(err)
			}
		}
		if err := host.DeleteLink(links[0].Name); err != nil {
			t.Errorf("deleting what is gone: %v", err)
		}
		if left := observe(t, host).Links; len(left) != 1 || left[0].Name != "lo" {
			t.Errorf("left: %v", left)
		}
	})
}

// More requests than one batch holds.
func TestManyChanges(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		want := hostState()
		for i := range 500 {
			a := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i / 250), byte(i % 250)}), 32)
			want.Routes = append(want.Routes, linux.Route{Table: 254, Dst: a, Link: want.Links[0].Name})
			want.Rules = append(want.Rules, linux.Rule{Priority: 512, To: a, Table: 254})
		}
		mustApply(t, host, pod, linux.Diff(linux.State{}, want))
		have := observe(t, host)
		if left := linux.Diff(have, want); len(left) > 0 {
			t.Errorf("%d changes left, the first: %s", len(left), left[0])
		}
		mustApply(t, host, nil, linux.Diff(have, linux.State{}))
		if have = observe(t, host); len(have.Rules)+len(have.Routes) > 0 {
			t.Errorf("left: %v %v", have.Rules, have.Routes)
		}
	})
}

// A kernel without a protocol, nf_tables say, has nothing to tell of it.
func TestWatchOfWhatTheKernelLacks(t *testing.T) {
	const unused = 31 // the last netlink protocol; nobody has it
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := watch(ctx, func() { t.Error("a change of what is not there") }, unused, 1); err != nil {
		t.Error(err)
	}
}

func TestWatchNotices(t *testing.T) {
	space := nstest.New(t)
	changed := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- space.Do(func(ns.NetNS) error { return Watch(ctx, func() { changed <- struct{}{} }) })
	}()
	<-changed // the first call: from now on it listens
	if err := space.Do(func(ns.NetNS) error {
		ip(t, "rule", "add", "priority", "512", "to", "10.0.0.9", "lookup", "main")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-time.After(5 * time.Second):
		t.Error("a new rule was not noticed")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestDeleteAddress deletes an address, which may be gone already.
func TestDeleteAddress(t *testing.T) {
	inHost(t, func(t *testing.T, host, _ *Handle) {
		own := linux.Addr{Link: "lo", Prefix: address}
		for _, op := range []linux.Op{linux.Add, linux.Delete, linux.Delete} {
			if err := host.Apply([]linux.Change{{Op: op, Item: own}}, nil); err != nil {
				t.Fatalf("%s: %v", op, err)
			}
			if there := strings.Contains(ip(t, "addr", "show", "lo"), address.Addr().String()); there != (op == linux.Add) {
				t.Errorf("after %s: there %t", op, there)
			}
		}
	})
}

// TestSysctlsOfAnotherNamespace writes and reads settings of a pod, and leaves
// those of the node.
func TestSysctlsOfAnotherNamespace(t *testing.T) {
	inHost(t, func(t *testing.T, host, pod *Handle) {
		want := linux.Sysctl{Key: "net/ipv6/conf/default/hop_limit", Value: "17"}
		keys := []string{want.Key, "net/ipv6/conf/nosuchlink/hop_limit"}
		before, err := host.Sysctls(keys)
		if err != nil || before[0].Value == want.Value {
			t.Fatalf("the node has %v, %v", before, err)
		}
		mustApply(t, pod, nil, []linux.Change{{Op: linux.Set, Item: want}, {Op: linux.Set, Item: linux.Sysctl{Key: keys[1], Value: "1"}}})
		got, err := pod.Sysctls(keys)
		if diff := cmp.Diff([]linux.Sysctl{want, {Key: keys[1]}}, got); diff != "" || err != nil {
			t.Errorf("%v, in the pod (-want +got):\n%s", err, diff)
		}
		after, err := host.Sysctls(keys)
		if diff := cmp.Diff(before, after); diff != "" || err != nil {
			t.Errorf("%v, on the node (-before +after):\n%s", err, diff)
		}
	})
}
