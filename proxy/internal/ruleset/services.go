package ruleset

import (
	"net/netip"

	"github.com/causeway-cni/causeway/proxy/service"
)

// Services puts the rules of service-ports and those that they share into two
// tables, filter and nat, in the order given. The settings must be valid.
func Services(s Settings, all []ServiceRules) Ruleset {
	var chains []Chain
	for _, r := range all {
		chains = append(chains, r.Chains...)
	}
	filter := Table{Name: "filter", Base: filterJumps(s), Chains: []Chain{
		{kubeServices, gather(all, func(r ServiceRules) []Rule { return r.NoEndpoints })},
		{kubeExternal, gather(all, func(r ServiceRules) []Rule { return r.NoExternal })},
		{kubeNodePorts, gather(all, func(r ServiceRules) []Rule { return r.HealthChecks })},
		{kubeProxyFirewall, gather(all, func(r ServiceRules) []Rule { return r.ProxyFirewalled })},
		{kubeForward, s.forward()},
	}}
	if s.LocalhostNodePorts {
		filter.Chains = append(filter.Chains, Chain{kubeFirewall, s.localnet()})
	}
	services := append(gather(all, func(r ServiceRules) []Rule { return r.Services }), s.nodePorts()...)
	hostPorts := gather(all, func(r ServiceRules) []Rule { return r.HostPorts })
	if len(hostPorts) > 0 {
		services = append(services, s.toHostPorts())
		chains = append(chains, Chain{kubeHostPorts, hostPorts})
	}
	return Ruleset{filter, {Name: "nat", Base: natJumps(), Chains: append([]Chain{
		{kubeServices, services},
		{kubeNodePorts, gather(all, func(r ServiceRules) []Rule { return r.NodePorts })},
		{kubePostrouting, s.postrouting()},
		{kubeMarkMasq, []Rule{{Target: SetMark(s.MasqueradeMark)}}},
	}, chains...)}}
}

func gather(all []ServiceRules, of func(ServiceRules) []Rule) []Rule {
	var rules []Rule
	for _, r := range all {
		rules = append(rules, of(r)...)
	}
	return rules
}

// filterJumps are in the order that kube-proxy's prepending leaves.
func filterJumps(s Settings) []Base {
	jump := func(chain, comment string, match Match) Rule {
		return Rule{Comment: comment, Match: match, Target: Jump(chain)}
	}
	fresh := CTState("NEW")
	firewall := jump(kubeProxyFirewall, "kubernetes load balancer firewall", fresh)
	services := jump(kubeServices, "kubernetes service portals", fresh)
	external := jump(kubeExternal, "kubernetes externally-visible service portals", fresh)
	bases := []Base{
		{Chain: "INPUT", Rules: []Rule{firewall, jump(kubeNodePorts, "kubernetes health check service ports", nil), external}},
		{Chain: "FORWARD", Rules: []Rule{firewall, jump(kubeForward, "kubernetes forwarding rules", nil), services, external}},
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
	services := []Rule{{Comment: "kubernetes service portals", Target: Jump(kubeServices)}}
	return []Base{
		{Chain: "PREROUTING", Rules: services},
		{Chain: "OUTPUT", Rules: services},
		{Chain: "POSTROUTING", Rules: []Rule{{Comment: "kubernetes postrouting rules", Target: Jump(kubePostrouting)}}},
	}
}

// forward lets service traffic through nodes that forward nothing else, and
// drops what conntrack cannot place: answers that were not translated back
// would make a client reset its connection.
func (s Settings) forward() []Rule {
	rules := []Rule{
		{Comment: "kubernetes forwarding rules", Match: Mark(s.MasqueradeMark), Target: Accept{}},
		{Comment: "kubernetes forwarding conntrack rule", Match: CTState("RELATED,ESTABLISHED"), Target: Accept{}},
	}
	if s.DropInvalid {
		return append([]Rule{{Match: CTState("INVALID"), Target: Discard{}}}, rules...)
	}
	return rules
}

// localnet keeps neighbours away from 127.0.0.0/8, which localhost node ports
// open to them (CVE-2020-8558).
func (s Settings) localnet() []Rule {
	return []Rule{{
		Dst: loopback, Not: Not{Src: loopback}, Comment: "block incoming localnet connections",
		Match: NotCTState("RELATED,ESTABLISHED,DNAT"), Target: Discard{},
	}}
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// postrouting translates what was marked. The mark goes, so that a packet that
// comes by again in a tunnel is not translated once more.
func (s Settings) postrouting() []Rule {
	return []Rule{
		{Match: NotMark(s.MasqueradeMark), Target: Return{}},
		{Target: FlipMark(s.MasqueradeMark)},
		{Comment: "kubernetes service traffic requiring SNAT", Target: Masquerade{}},
	}
}

// nodePorts are the last rules of nat's KUBE-SERVICES, as kube-proxy has them.
func (s Settings) nodePorts() []Rule {
	rule := Rule{
		Comment: "kubernetes service nodeports; NOTE: this must be the last rule in this chain",
		Target:  Jump(kubeNodePorts),
	}
	if len(s.NodePortAddrs) == 0 {
		return []Rule{s.toNode(rule)}
	}
	var rules []Rule
	for _, a := range s.NodePortAddrs {
		rule.Dst = host(a)
		rules = append(rules, rule)
	}
	return rules
}

// toHostPorts comes after the node ports, which win over host ports. Without
// host ports there is no such rule, so that all is as kube-proxy has it.
func (s Settings) toHostPorts() Rule {
	return s.toNode(Rule{Comment: "host ports of pods", Target: Jump(kubeHostPorts)})
}

// toNode narrows a rule to all addresses of the node; to those of loopback
// only if the kernel routes them to pods.
func (s Settings) toNode(r Rule) Rule {
	r.Local = ToLocal
	switch {
	case s.Family == service.IPv6:
		r.Not.Dst = host(netip.IPv6Loopback())
	case !s.LocalhostNodePorts:
		r.Not.Dst = loopback
	}
	return r
}
