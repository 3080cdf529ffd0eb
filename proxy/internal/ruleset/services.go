package ruleset

import (
	"net/netip"
	"slices"

	"github.com/causeway-cni/causeway/proxy/service"
)

// common is a chain that has rules of many services, and then its own.
type common struct {
	table, name string
	of          func(ServiceRules) []Rule
	tail        func(s Settings, hostPorts bool) []Rule // nil for none
}

// hostPortsCommon is the one of commons that is there only if it has rules.
const hostPortsCommon = 6

// commons are all of them.
func commons() []common {
	return []common{
		{"filter", kubeServices, func(r ServiceRules) []Rule { return r.NoEndpoints }, nil},
		{"filter", kubeExternal, func(r ServiceRules) []Rule { return r.NoExternal }, nil},
		{"filter", kubeNodePorts, func(r ServiceRules) []Rule { return r.HealthChecks }, nil},
		{"filter", kubeProxyFirewall, func(r ServiceRules) []Rule { return r.ProxyFirewalled }, nil},
		{"nat", kubeServices, func(r ServiceRules) []Rule { return r.Services }, Settings.lastServices},
		{"nat", kubeNodePorts, func(r ServiceRules) []Rule { return r.NodePorts }, nil},
		{"nat", kubeHostPorts, func(r ServiceRules) []Rule { return r.HostPorts }, nil},
	}
}

// constant are the chains that have the same rules whatever the services.
func (s Settings) constant(table string) []Chain {
	if table == "nat" {
		return []Chain{
			{kubePostrouting, s.postrouting()},
			{kubeMarkMasq, []Rule{{Target: SetMark(s.MasqueradeMark)}}},
		}
	}
	chains := []Chain{{kubeForward, s.forward()}}
	if s.LocalhostNodePorts {
		chains = append(chains, Chain{kubeFirewall, s.localnet()})
	}
	return chains
}

// Services puts the rules of service-ports and those that they share into two
// tables, filter and nat, in the order given. The settings must be valid.
func Services(s Settings, all []ServiceRules) Ruleset {
	tables := Ruleset{{Name: "filter", Base: filterJumps(s)}, {Name: "nat", Base: natJumps()}}
	hostPorts := slices.ContainsFunc(all, func(r ServiceRules) bool { return len(r.HostPorts) > 0 })
	for i := range tables {
		t := &tables[i]
		for _, c := range commons() {
			if c.table != t.Name || c.name == kubeHostPorts && !hostPorts {
				continue
			}
			var rules []Rule
			for _, r := range all {
				rules = append(rules, c.of(r)...)
			}
			if c.tail != nil {
				rules = append(rules, c.tail(s, hostPorts)...)
			}
			t.Chains = append(t.Chains, Chain{c.name, rules})
		}
		t.Chains = append(t.Chains, s.constant(t.Name)...)
	}
	for _, r := range all {
		tables[1].Chains = append(tables[1].Chains, r.Chains...)
	}
	return tables
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

// nodePorts lead to node ports, as kube-proxy does.
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

// lastServices are the last rules of nat's KUBE-SERVICES.
func (s Settings) lastServices(hostPorts bool) []Rule {
	if !hostPorts {
		return s.nodePorts()
	}
	return append(s.nodePorts(), s.toHostPorts())
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
