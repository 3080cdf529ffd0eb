package lb

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRuleset(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("10.0.1.5")
	got := tables{
		fronts: []front{
			{"web a tcp 80", at(a, 80), "tcp", true, []netip.AddrPort{at(here, 30080), at(b, 30081)}},
			{"web b udp 53", at(b, 53), "udp", false, []netip.AddrPort{at(here, 53)}},
			{"web b tcp 80", at(b, 80), "tcp", true, nil},
		},
		hairpin: map[pair]bool{{netip.MustParsePrefix("10.0.0.16/28"), here}: true, {netip.PrefixFrom(here, 32), here}: true},
		proxied: []netip.AddrPort{at(b, 8080)},
	}.ruleset()
	const want = `add rule ip vpcsim listen ip daddr 10.0.0.5 tcp dport 80 jhash ip saddr . tcp sport . ip daddr . tcp dport mod 2 seed 0x55a83e7b == 0 ct mark set 1 dnat to 10.0.0.10:30080 comment "web a tcp 80"
add rule ip vpcsim listen ip daddr 10.0.0.5 tcp dport 80 jhash ip saddr . tcp sport . ip daddr . tcp dport mod 2 seed 0x55a83e7b == 1 ct mark set 1 dnat to 10.0.1.5:30081 comment "web a tcp 80"
add rule ip vpcsim listen ip daddr 10.0.1.5 udp dport 53 jhash ip saddr . udp sport . ip daddr . udp dport mod 1 seed 0x2159b5b5 == 0 ct mark set 2 dnat to 10.0.0.10:53 comment "web b udp 53"
add rule ip vpcsim own_address ct mark 2 snat to ct original ip daddr
add rule ip vpcsim hairpin ct mark 1 ct direction original ip saddr . ip daddr { 10.0.0.10 . 10.0.0.10, 10.0.0.16/28 . 10.0.0.10 } drop
add rule ip vpcsim local ct state established,related accept
add rule ip vpcsim local ct state invalid meta l4proto tcp reject with tcp reset
add rule ip vpcsim local ip daddr 10.0.1.5 tcp dport 8080 accept
`
	if diff := cmp.Diff(want, strings.TrimPrefix(got, chains)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
