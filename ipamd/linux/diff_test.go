package linux

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func changes(c []Change) []string {
	out := []string{}
	for _, x := range c {
		out = append(out, x.String())
	}
	return out
}

func TestDiff(t *testing.T) {
	pfx := netip.MustParsePrefix
	gw := netip.MustParseAddr("10.0.0.1")
	toPod := Rule{Priority: 512, To: pfx("10.0.0.5/32"), Table: 254}
	for _, c := range []struct {
		name       string
		have, want State
		changes    []string
	}{
		{"nothing", State{}, State{}, []string{}},
		{"gateway route after the route to its gateway", State{},
			State{Routes: []Route{{2, pfx("0.0.0.0/0"), gw, "eth1"}, {2, pfx("10.0.0.1/32"), netip.Addr{}, "eth1"}}},
			[]string{"add route 10.0.0.1 dev eth1 scope link table 2 (missing)", "add route default via 10.0.0.1 dev eth1 table 2 (missing)"}},
		{"a route that moves is replaced, not deleted",
			State{Routes: []Route{{254, pfx("10.0.0.5/32"), netip.Addr{}, "eniold"}}},
			State{Routes: []Route{{254, pfx("10.0.0.5/32"), netip.Addr{}, "eninew"}}},
			[]string{"set route 10.0.0.5 dev eninew scope link (is 10.0.0.5 dev eniold scope link)"}},
		{"a rule that is there twice", State{Rules: []Rule{toPod, toPod}}, State{Rules: []Rule{toPod}},
			[]string{"delete rule 512:\tfrom all to 10.0.0.5 lookup main (is there twice)"}},
		{"a rule of another table: add, then delete",
			State{Rules: []Rule{{Priority: 1536, From: pfx("10.0.0.5/32"), Table: 2}}},
			State{Rules: []Rule{{Priority: 1536, From: pfx("10.0.0.5/32"), Table: 3}}},
			[]string{"add rule 1536:\tfrom 10.0.0.5 lookup 3 (missing)", "delete rule 1536:\tfrom 10.0.0.5 lookup 2 (not wanted)"}},
		{"links are never deleted", State{Links: []Link{{Name: "eth1", MTU: 1500}}}, State{}, []string{}},
		{"mtu", State{Links: []Link{{Name: "eth1", MTU: 1500, Up: true}}}, State{Links: []Link{{Name: "eth1", MTU: 9001, Up: true}}},
			[]string{"set link eth1 mtu 9001 up (mtu is 1500)"}},
		{"sysctl", State{Sysctls: []Sysctl{{"net/ipv4/ip_forward", "0"}, {"net/ipv6/x", ""}}},
			State{Sysctls: []Sysctl{{"net/ipv4/ip_forward", "1"}, {"net/ipv6/x", "0"}}},
			[]string{"set sysctl net.ipv4.ip_forward = 1 (is net.ipv4.ip_forward = 0)"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.changes, changes(Diff(c.have, c.want))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// apply is the kernel as Diff understands it.
func apply(s State, changes []Change) State {
	out := Join(s)
	for _, c := range changes {
		switch i := c.Item.(type) {
		case Link:
			out.Links = put(out.Links, i, func(l Link) string { return l.Name })
		case Sysctl:
			out.Sysctls = put(out.Sysctls, i, func(s Sysctl) string { return s.Key })
		case Addr:
			out.Addrs = put(out.Addrs, i, func(a Addr) Addr { return a })
		case Neigh:
			out.Neighs = put(out.Neighs, i, func(n Neigh) Neigh { n.MAC = MAC{}; return n })
		case Route:
			if c.Op == Delete {
				out.Routes = drop(out.Routes, i)
			} else {
				out.Routes = put(out.Routes, i, keyOf)
			}
		case Rule:
			if c.Op == Delete {
				out.Rules = drop(out.Rules, i)
			} else {
				out.Rules = append(out.Rules, i)
			}
		}
	}
	return out
}

func put[T any, K comparable](items []T, item T, key func(T) K) []T {
	for i := range items {
		if key(items[i]) == key(item) {
			items[i] = item
			return items
		}
	}
	return append(items, item)
}

func drop[T comparable](items []T, item T) []T {
	for i := range items {
		if items[i] == item {
			return append(items[:i:i], items[i+1:]...)
		}
	}
	return items
}

// randomState draws from few values, so that two states meet often.
func randomState(r *rand.Rand) State {
	var s State
	seen := map[string]bool{}
	once := func(k string) bool { fresh := !seen[k]; seen[k] = true; return fresh }
	for range r.IntN(6) {
		dst := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(4))}), 32)
		link := fmt.Sprintf("eni%d", r.IntN(3))
		if table := 254 + r.IntN(2); once(fmt.Sprint(table, dst)) {
			s.Routes = append(s.Routes, Route{Table: table, Dst: dst, Link: link})
		}
		if rule := (Rule{Priority: 512, To: dst, Table: r.IntN(3)}); once(rule.String()) {
			s.Rules = append(s.Rules, rule)
		}
		if once(link) {
			s.Links = append(s.Links, Link{Name: link, MTU: 1500 + r.IntN(2), Up: true})
		}
		if once("neigh" + link) {
			s.Neighs = append(s.Neighs, Neigh{Link: link, IP: dst.Addr(), MAC: MAC{byte(r.IntN(3))}})
		}
	}
	return s
}

// From any state to any other: applying the difference leaves no difference.
func TestDiffConverges(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, seed))
	at := State{}
	for i := range 5000 {
		want := randomState(r)
		steps := Diff(at, want)
		at = apply(at, steps)
		if left := Diff(at, want); len(left) > 0 {
			t.Fatalf("seed %d, step %d: after %q there is still %q", seed, i, changes(steps), changes(left))
		}
	}
}

func FuzzParseMAC(f *testing.F) {
	f.Add("02:ab:CD:ef:01:23")
	f.Add("02:ab:cd:ef:01:2")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseMAC(s)
		if err != nil {
			return
		}
		if again, err := ParseMAC(m.String()); err != nil || again != m {
			t.Errorf("%q reads as %s, which reads as %s, %v", s, m, again, err)
		}
	})
}
