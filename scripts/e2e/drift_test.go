package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// How soon what is ours must be back. Rules, routes and links are watched;
// rules of netfilter as well, but legacy iptables tells nobody, so they are
// also looked at; sysctls are only looked at.
const (
	watched   = time.Second
	netfilter = 2 * time.Second
	lookedAt  = 6 * time.Second
)

// TestDrift deletes and changes by hand what the daemon owns on a node.
func TestDrift(t *testing.T) {
	t.Parallel()
	s := raise(t, small)
	node := s.start("n1")
	pods := s.addUntil(node, 1)
	veth := link(pods[len(pods)-1])
	const network = "ip rule | sort; ip route | sort; ip route show table 2 | sort; ip -o link | grep -o '.* state UP'"

	for _, line := range lines(s.shell(node, "ip rule")) {
		priority, selector, _ := strings.Cut(line, ":")
		if priority == "512" || priority == "1024" || priority == "1536" {
			s.repairs(node, network, watched, "ip rule del priority "+priority+" "+selector)
		}
	}
	for _, line := range lines(s.shell(node, "ip route | grep ' dev eni'")) {
		s.repairs(node, network, watched, "ip route del "+line)
	}
	for _, line := range lines(s.shell(node, "ip route show table 2")) {
		s.repairs(node, network, watched, "ip route del table 2 "+line)
	}
	for _, command := range []string{
		"for p in 512 512 512 512 1024 1536; do ip rule del priority $p; done",
		"ip rule add priority 1536 from 10.9.9.9 lookup 3", // as if left by a pod that is gone
		"ip route flush table 2",
		"ip route flush table 2; ip rule del priority 1536; ip rule del priority 1024",
		"ip route replace default via 10.0.0.3 dev eth1 table 2 onlink", // reserved in every subnet: nobody's address
		"ip link set eth1 mtu 1500",
		"ip link set eth1 down",
		"ip link set " + veth + " mtu 1400",
		"ip link set " + veth + " down",
	} {
		s.repairs(node, network, watched, command)
	}
	const sysctls = "sysctl net.ipv4.ip_forward net.ipv4.conf.eth0.rp_filter net.ipv4.conf.eth1.rp_filter"
	s.repairs(node, sysctls, lookedAt, "sysctl -w net.ipv4.ip_forward=0 net.ipv4.conf.eth0.rp_filter=1 net.ipv4.conf.eth1.rp_filter=1")
	s.reach(pods...)
}

// TestDriftOfNAT does so with external SNAT, in each variant of iptables.
func TestDriftOfNAT(t *testing.T) {
	for _, variant := range []struct{ setting, program string }{{"nft", "iptables"}, {"legacy", "iptables-legacy"}} {
		t.Run(variant.setting, func(t *testing.T) {
			t.Parallel()
			s := raise(t, small)
			node := s.start("n1", "CAUSEWAY_IPTABLES="+variant.setting)
			rules := strings.ReplaceAll("IPT -t nat -S; IPT -t mangle -S", "IPT", variant.program)
			for _, table := range []string{"nat", "mangle"} {
				for _, line := range lines(s.shell(node, variant.program+" -t "+table+" -S")) {
					if rule, found := strings.CutPrefix(line, "-A "); found {
						s.repairs(node, rules, netfilter, variant.program+" -t "+table+" -D "+rule)
					}
				}
			}
			for _, command := range []string{
				"IPT -t nat -F AWS-SNAT-CHAIN-0",
				"IPT -t nat -A AWS-SNAT-CHAIN-0 -j RETURN",
				"IPT -t nat -F",
				"IPT -t nat -F; IPT -t nat -X; IPT -t mangle -F",
			} {
				s.repairs(node, rules, netfilter, strings.ReplaceAll(command, "IPT", variant.program))
			}
		})
	}
}

// repairs demands that what show prints is as it was soon after a command.
func (s *story) repairs(node *harness.Node, show string, limit time.Duration, command string) {
	s.Helper()
	want := s.shell(node, show)
	s.shell(node, command)
	began := time.Now()
	err := s.poll(limit, func() error {
		if diff := gocmp.Diff(want, s.shell(node, show)); diff != "" {
			return fmt.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		s.Errorf("%s: not back within %s %v", command, limit, err)
	}
	s.Logf("%s: back after %s", command, time.Since(began).Round(time.Millisecond))
}
