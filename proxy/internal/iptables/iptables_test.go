package iptables

import (
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

func TestTransaction(t *testing.T) {
	snat := ruleset.Line{"-m", "comment", "--comment", "AWS, SNAT", "-j", "SNAT", "--to-source", "192.168.1.50"}
	tests := map[string]struct {
		changes []ruleset.Change
		want    string
	}{
		"create": {
			[]ruleset.Change{{Op: ruleset.Create, Table: "nat", Chain: "A"}, {Op: ruleset.Create, Table: "nat", Chain: "B"}},
			"*nat\n:A - [0:0]\n:B - [0:0]\nCOMMIT\n",
		},
		"rewrite": {
			[]ruleset.Change{{Op: ruleset.Rewrite, Table: "nat", Chain: "A", Rules: []ruleset.Line{{"-j", "B"}, snat}}},
			"*nat\n:A - [0:0]\n-A A -j B\n-A A -m comment --comment \"AWS, SNAT\" -j SNAT --to-source 192.168.1.50\nCOMMIT\n",
		},
		"drop": {
			[]ruleset.Change{{Op: ruleset.Drop, Table: "nat", Chain: "A"}, {Op: ruleset.Drop, Table: "nat", Chain: "B"}},
			"*nat\n:A - [0:0]\n:B - [0:0]\n-X A\n-X B\nCOMMIT\n",
		},
	}
	for name, test := range tests {
		if diff := cmp.Diff(test.want, transaction(test.changes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestSameTransaction(t *testing.T) {
	changes := []ruleset.Change{
		{Op: ruleset.Rewrite, Table: "nat", Chain: "A"}, {Op: ruleset.Rewrite, Table: "nat", Chain: "B"},
		{Op: ruleset.Drop, Table: "nat", Chain: "B"},
		{Op: ruleset.Drop, Table: "mangle", Chain: "C"},
	}
	var got []int
	for len(changes) > 0 {
		n := sameTransaction(changes)
		got, changes = append(got, n), changes[n:]
	}
	if diff := cmp.Diff([]int{2, 1, 1}, got); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

func TestChoose(t *testing.T) {
	const (
		kubelet = "*mangle\n:KUBE-KUBELET-CANARY - [0:0]\nCOMMIT\n"
		aws     = "*nat\n:POSTROUTING ACCEPT [0:0]\n:AWS-SNAT-CHAIN-0 - [0:0]\n-A POSTROUTING -j AWS-SNAT-CHAIN-0\nCOMMIT\n"
		user    = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\n-A INPUT -j DROP\nCOMMIT\n"
	)
	tests := []struct {
		nft, legacy string
		want        Variant
	}{
		{"", "", NFT},
		{user, user, NFT},
		{"", user, Legacy},
		{user, "", NFT},
		{user, aws, Legacy},
		{aws, user, NFT},
		{aws, kubelet, Legacy},
		{kubelet, aws + user, NFT},
	}
	for _, test := range tests {
		if got, why := choose(count(t, test.nft), count(t, test.legacy)); got != test.want {
			t.Errorf("nft %q, legacy %q: chose %s (%s), want %s", test.nft, test.legacy, got, why, test.want)
		}
	}
}

func count(t *testing.T, text string) ruleset.Census {
	t.Helper()
	c, err := ruleset.Count(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestApplyTellsTheProgramsWords holds that a failure names the change, the
// program's message and the input.
func TestApplyTellsTheProgramsWords(t *testing.T) {
	for _, v := range []Variant{NFT, Legacy} {
		n := nstest.New(t)
		n.Do(func() {
			b, err := Open(v, service.IPv4)
			if err != nil {
				t.Error(err)
				return
			}
			done, err := b.Apply(t.Context(), []ruleset.Change{
				{Op: ruleset.Create, Table: "nat", Chain: "A"},
				{Op: ruleset.Rewrite, Table: "nat", Chain: "A", Rules: []ruleset.Line{{"-j", "NOWHERE-TO-GO"}}, Reason: "test"},
			})
			for _, want := range []string{"nat: rewrite A to 1 rules (test)", program(v, service.IPv4) + "-restore", ":A - [0:0]"} {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v, want %q in it", v, err, want)
				}
			}
			if done != 1 {
				t.Errorf("%s: %d changes done, want 1", v, done)
			}
		})
	}
}

// TestFingerprintSeesWhatCounts holds that a packet does not change it, and a
// rule that another of the same size replaces does.
func TestFingerprintSeesWhatCounts(t *testing.T) {
	for _, test := range []struct {
		family      service.Family
		self, other string
	}{{service.IPv4, "127.0.0.1", "127.0.0.2"}, {service.IPv6, "::1", "::2"}} {
		for _, v := range []Variant{NFT, Legacy} {
			n := nstest.New(t)
			iptables := func(args ...string) {
				n.Run(append([]string{program(v, test.family), "-w", "-t", "nat"}, args...)...)
			}
			fingerprint := func() (f Fingerprint) {
				n.Do(func() {
					b, err := Open(v, test.family)
					if err == nil {
						f, err = b.Fingerprint()
					}
					if err != nil {
						t.Error(err)
					}
				})
				return f
			}
			iptables("-A", "OUTPUT", "-d", test.self, "-j", "RETURN")
			before := fingerprint()
			n.Do(func() {
				if conn, err := net.Dial("udp", net.JoinHostPort(test.self, "9")); err == nil {
					conn.Write([]byte("hello"))
					conn.Close()
				} else {
					t.Error(err)
				}
			})
			if after := fingerprint(); after != before {
				t.Errorf("%s, %s: a packet changed %v to %v", v, test.family, before, after)
			}
			iptables("-R", "OUTPUT", "1", "-d", test.other, "-j", "RETURN")
			if fingerprint() == before {
				t.Errorf("%s, %s: another rule has the same fingerprint", v, test.family)
			}
		}
	}
}
