package ruleset

import (
	"slices"
	"strings"
)

// What the comments of jumps to chains of services begin with: ours, and
// kube-proxy's. They say whose a jump is, for when kube-proxy starts in nftables
// mode it deletes its own from iptables, and then all chains of services unless
// jumps of another are left, a second before it serves them elsewhere.
const (
	ourJumps       = "Causeway, "
	kubeProxyJumps = "kubernetes "
)

func jumpTo(chain, comment string, match Match) Rule {
	return Rule{Comment: ourJumps + comment, Match: match, Target: Jump(chain)}
}

// filterJumps are in the order that kube-proxy's prepending leaves. That to
// kubeFirewall is everybody's.
func filterJumps(s Settings) []Base {
	fresh := CTState("NEW")
	firewall := jumpTo(kubeProxyFirewall, "load balancer firewall", fresh)
	services := jumpTo(kubeServices, "service portals", fresh)
	external := jumpTo(kubeExternal, "externally-visible service portals", fresh)
	bases := []Base{
		{Chain: "INPUT", Rules: []Rule{firewall, jumpTo(kubeNodePorts, "health check service ports", nil), external}},
		{Chain: "FORWARD", Rules: []Rule{firewall, jumpTo(kubeForward, "forwarding rules", nil), services, external}},
		{Chain: "OUTPUT", Rules: []Rule{firewall, services}},
	}
	if s.LocalhostNodePorts {
		localnet := []Rule{{Target: Jump(kubeFirewall)}}
		bases[0].Rules = append(localnet, bases[0].Rules...)
		bases[2].Rules = append(localnet, bases[2].Rules...)
	}
	return bases
}

func natJumps() []Base {
	services := []Rule{jumpTo(kubeServices, "service portals", nil)}
	return []Base{
		{Chain: "PREROUTING", Rules: services},
		{Chain: "OUTPUT", Rules: services},
		{Chain: "POSTROUTING", Rules: []Rule{jumpTo(kubePostrouting, "postrouting rules", nil)}},
	}
}

// jumps are a built-in chain's to chains of services whose comments begin so.
func (c SavedChain) jumps(whose string) []Line {
	var jumps []Line
	for _, r := range c.Rules {
		if builtIn(c.Name) && strings.HasPrefix(r.comment(), whose) && ofServices(r.jump()) {
			jumps = append(jumps, r)
		}
	}
	return jumps
}

// beside are the jumps of the one that lead where the other has one, too; alone
// says whether it has more.
func (c SavedChain) beside(whose, other string) (jumps []Line, alone bool) {
	others := c.jumps(other)
	for _, r := range c.jumps(whose) {
		if slices.ContainsFunc(others, func(o Line) bool { return o.jump() == r.jump() }) {
			jumps = append(jumps, r)
		} else {
			alone = true
		}
	}
	return jumps, alone
}
