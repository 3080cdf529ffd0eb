package fabric

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
)

// table is the name of the fabric's nftables table in each place.
const table = "vpcsim"

// routerRules are the VPC's checks. They see packets before the router looks
// at where they go. Trunks are trusted; what comes over any other link has to
// be of an ENI that is known, with its MAC and one of its addresses. IPv6
// neighbour discovery and what else a host says under a link-local or no
// address is no fault of an agent: it is let through or dropped uncounted.
//
// A load balancer that keeps a client's address sends packets from the client
// to a target; the target's replies go back to the balancer, whatever address
// they are for. So the router remembers the flows that come from balancers, for
// as long as those do, and catches what goes the other way; the rest of the VPC
// stays without connection tracking.
//
// The mark chooses the default route; the last chain is the internet
// gateway's refusal of addresses without a public one, made here because here
// it is still known which ENI sent the packet.
const routerRules = `
table inet vpcsim {
	map source_mac { type ifname : counter; }
	map source_address { type ifname : counter; }
	map no_public_address { type ifname : counter; }
	set macs { type ifname . ether_addr; }
	set unchecked { type ifname; }
	set sources4 { type ifname . ipv4_addr; flags interval; }
	set sources6 { type ifname . ipv6_addr; flags interval; }
	set associated { type ipv4_addr; }
	map egress { type ifname : mark; }
	set intercepted {
		type ipv4_addr . ipv4_addr . inet_proto . inet_service . inet_service
		flags dynamic, timeout
		timeout 350s
		size 1048576
	}

	chain wrong_mac { counter name iifname map @source_mac; drop; }
	chain wrong_address { counter name iifname map @source_address; drop; }
	chain no_public { counter name iifname map @no_public_address; drop; }

	chain link_local {
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
		drop
	}

	chain source {
		type filter hook prerouting priority raw; policy accept;
		iifname "lb" meta mark set 1 accept
		iifname { "lo", "igw", "nat", "peer" } accept
		iifname . ether saddr != @macs jump wrong_mac
		ip saddr 0.0.0.0 drop
		ip6 saddr { ::, fe80::/10 } goto link_local
		iifname != @unchecked iifname . ip saddr != @sources4 jump wrong_address
		iifname != @unchecked iifname . ip6 saddr != @sources6 jump wrong_address
		meta mark set iifname map @egress
	}

	chain intercept {
		type filter hook prerouting priority mangle; policy accept;
		iifname "lb" update @intercepted { ip daddr . ip saddr . meta l4proto . th dport . th sport } accept
		ip saddr . ip daddr . meta l4proto . th sport . th dport @intercepted meta mark set 4
	}

	chain igw {
		type filter hook forward priority filter; policy accept;
		oifname "igw" ip saddr != @associated jump no_public
	}
}`

// igwRules translate one to one between private and public addresses, keeping
// ports. Connection tracking serves only to translate what is inside of ICMP
// errors; nothing is let in or out because of it.
const igwRules = `
table inet vpcsim {
	map to_private { type ipv4_addr : ipv4_addr; }
	map to_public { type ipv4_addr : ipv4_addr; }

	chain in {
		type nat hook prerouting priority dstnat; policy accept;
		dnat ip to ip daddr map @to_private
	}

	chain out {
		type nat hook postrouting priority srcnat; policy accept;
		iifname "vpc" snat ip to ip saddr map @to_public
	}

	chain translated {
		type filter hook forward priority filter; policy accept;
		iifname "inet" oifname "vpc" meta nfproto ipv4 ct status & (snat | dnat) == 0 drop
	}
}`

// natRules translate many to one, outgoing only.
var natRules = `
table inet vpcsim {
	chain out {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "igw" snat ip to ` + NATAddr.String() + `
	}

	chain in {
		type filter hook input priority filter; policy accept;
		iifname "igw" ct state new drop
	}
}`

func (f *Fabric) createRuleset(ctx context.Context) error {
	for _, r := range []struct{ place, rules string }{{Router, routerRules}, {IGW, igwRules}, {NAT, natRules}} {
		if _, err := f.nft(ctx, r.place, r.rules, "-f", "-"); err != nil {
			return err
		}
	}
	return nil
}

// applyElements changes sets, maps and counters, in one transaction per place.
func (f *Fabric) applyElements(ctx context.Context, c changes) error {
	var errs []error
	for _, place := range []string{Router, IGW} {
		removed, added := at(place, c.remove), at(place, c.add)
		if len(removed)+len(added) == 0 {
			continue
		}
		if _, err := f.nft(ctx, place, transaction(removed, added), "-f", "-"); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, o := range removed {
			errs = append(errs, f.done("removed", o, false, nil))
		}
		for _, o := range added {
			errs = append(errs, f.done("added", o, true, nil))
		}
	}
	return errors.Join(errs...)
}

func at(place string, objects []object) []object {
	return slices.DeleteFunc(slices.Clone(objects), func(o object) bool {
		switch o := o.(type) {
		case element:
			return o.place != place
		case counter:
			return place != Router
		}
		return true
	})
}

func transaction(removed, added []object) string {
	var b strings.Builder
	for _, o := range removed {
		e := o.(element)
		fmt.Fprintf(&b, "delete element inet %s %s { %s }\n", table, e.set, quoted(e.key))
	}
	for _, o := range added {
		switch o := o.(type) {
		case counter:
			fmt.Fprintf(&b, "add counter inet %s %s\n", table, o.name())
		case element:
			fmt.Fprintf(&b, "add element inet %s %s { %s%s }\n", table, o.set, quoted(o.key), value(o))
		}
	}
	return b.String()
}

// quoted puts the interface name that begins a key into quotes.
func quoted(key string) string {
	link, rest, _ := strings.Cut(key, " ")
	if !strings.HasPrefix(link, "eni-") {
		return key
	}
	return strings.TrimSpace(fmt.Sprintf("%q %s", link, rest))
}

func value(e element) string {
	if e.value == "" {
		return ""
	}
	if strings.HasPrefix(e.value, "eni-") {
		return fmt.Sprintf(" : %q", e.value)
	}
	return " : " + e.value
}

// LoadRules gives an nftables script to the kernel, in one transaction, in a
// place whose rules are not the fabric's.
func (f *Fabric) LoadRules(ctx context.Context, place, rules string) error {
	_, err := f.nft(ctx, place, rules, "-f", "-")
	return err
}

// nft runs the nft program inside a place and returns what it prints.
func (f *Fabric) nft(ctx context.Context, place, input string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "nft", args...)
	var out, complaint bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &complaint
	if err := namespace.Do(f.Space(place), cmd.Start); err != nil {
		return nil, fmt.Errorf("starting nft in %s: %w", f.Space(place), err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("nft in %s: %w: %s", f.Space(place), err, strings.TrimSpace(complaint.String()))
	}
	return out.Bytes(), nil
}

type count struct {
	Name    string `json:"name"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// decodeCounters reads the named counters of `nft -j list counters`.
func decodeCounters(r io.Reader) (map[string]count, error) {
	var list struct {
		Objects []struct {
			Counter *count `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.NewDecoder(r).Decode(&list); err != nil {
		return nil, fmt.Errorf("reading the counters that nft lists: %w", err)
	}
	counted := map[string]count{}
	for _, o := range list.Objects {
		if o.Counter != nil {
			counted[o.Counter.Name] = *o.Counter
		}
	}
	return counted, nil
}
