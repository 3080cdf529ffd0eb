package ruleset

import (
	"fmt"
	"net/netip"
	"strconv"

	"github.com/causeway-cni/causeway/proxy/service"
)

// ServiceRules are the rules of one service-port: chains of its own in nat, and
// the rules that lead to them, or refuse, in chains that all services share.
type ServiceRules struct {
	Chains                        []Chain // nat
	Services, NodePorts           []Rule  // of nat's KUBE-SERVICES and KUBE-NODEPORTS
	HostPorts                     []Rule  // of nat's KUBE-HOSTPORTS
	NoEndpoints, NoExternal       []Rule  // of filter's KUBE-SERVICES and KUBE-EXTERNAL-SERVICES
	HealthChecks, ProxyFirewalled []Rule  // of filter's KUBE-NODEPORTS and KUBE-PROXY-FIREWALL
}

// Compile writes a service-port's rules as kube-proxy does in iptables mode:
// names, comments, order and conditions. Settings and port have one family;
// the settings must be valid.
func Compile(p service.ServicePort, s Settings) ServiceRules { return compile(p, s, hash) }

// compile has the hash of names as an argument, so that a test can make two
// names alike.
func compile(p service.ServicePort, s Settings, hash func(string) string) ServiceRules {
	c := compiler{port: p, set: s, name: p.Name.String(), chains: namesOf(p.Name, hash)}
	if p.HostPort.Port != 0 {
		c.hostPort()
		c.endpoints()
		return c.out
	}
	c.clusterIP()
	c.externalIPs()
	c.balancer()
	c.nodePort()
	if p.HealthCheckNodePort != 0 {
		c.out.HealthChecks = []Rule{{
			To: Port{"tcp", p.HealthCheckNodePort}, Comment: c.name + " health check node port", Target: Accept{},
		}}
	}
	c.policy(c.chains.cluster, p.Cluster, p.Internal == service.Cluster)
	c.policy(c.chains.local, p.LocalOnly, p.Internal == service.Local)
	c.external()
	c.firewall()
	c.endpoints()
	return c.out
}

type compiler struct {
	port   service.ServicePort
	set    Settings
	name   string
	chains chainNames
	out    ServiceRules
}

// to is a rule for a destination, at the port of the service.
func (c *compiler) to(a netip.Addr, comment string, target Target) Rule {
	return Rule{Dst: host(a), To: Port{protocol(c.port.Name.Protocol), c.port.Port}, Comment: c.name + comment, Target: target}
}

// refusal is what becomes of a packet that no endpoint takes. Where another
// node has one, silence lets the sender try again there.
func (c *compiler) refusal() (comment string, target Target) {
	if c.port.Anywhere {
		return " has no local endpoints", Discard{}
	}
	return " has no endpoints", Reject{c.set.Family}
}

func (c *compiler) clusterIP() {
	if !c.port.ClusterIP.IsValid() {
		return
	}
	if len(c.port.InternalTargets()) == 0 {
		comment, target := c.refusal()
		c.out.NoEndpoints = append(c.out.NoEndpoints, c.to(c.port.ClusterIP, comment, target))
		return
	}
	chain := c.chains.cluster
	if c.port.Internal == service.Local {
		chain = c.chains.local
	}
	c.out.Services = append(c.out.Services, c.to(c.port.ClusterIP, " cluster IP", Jump(chain)))
}

func (c *compiler) externalIPs() {
	for _, a := range c.port.ExternalIPs {
		c.frontEnd(a, " external IP", c.chains.external)
	}
}

func (c *compiler) balancer() {
	chain := c.chains.external
	restricted := len(c.port.SourceRanges) > 0 && c.port.Anywhere
	if restricted {
		chain = c.chains.firewall
	}
	for _, a := range c.port.VIPs {
		c.frontEnd(a, " loadbalancer IP", chain)
		if restricted { // what is not translated by now is not allowed
			drop := c.to(a, " traffic not accepted by "+c.chains.firewall, Discard{})
			c.out.ProxyFirewalled = append(c.out.ProxyFirewalled, drop)
		}
	}
}

// frontEnd leads an external address to a chain. Without endpoints for
// outsiders it refuses them too: insiders never get as far as that.
func (c *compiler) frontEnd(a netip.Addr, comment, chain string) {
	if c.port.Anywhere {
		c.out.Services = append(c.out.Services, c.to(a, comment, Jump(chain)))
	}
	if len(c.port.ExternalTargets()) == 0 {
		comment, target := c.refusal()
		c.out.NoExternal = append(c.out.NoExternal, c.to(a, comment, target))
	}
}

func (c *compiler) nodePort() {
	if c.port.NodePort == 0 {
		return
	}
	to := Port{protocol(c.port.Name.Protocol), c.port.NodePort}
	if c.port.Anywhere {
		c.out.NodePorts = append(c.out.NodePorts, Rule{To: to, Comment: c.name, Target: Jump(c.chains.external)})
	}
	if len(c.port.ExternalTargets()) == 0 {
		comment, target := c.refusal()
		c.out.NoExternal = append(c.out.NoExternal, Rule{To: to, Comment: c.name + comment, Local: ToLocal, Target: target})
	}
}

// hostPort leads a port of the node to a pod of this node, which sees the
// client's own address. Only the node itself is translated: it may have asked
// at 127.0.0.1.
func (c *compiler) hostPort() {
	targets := c.port.LocalOnly
	if len(targets) == 0 {
		targets = c.port.Cluster
	}
	if len(targets) == 0 {
		return
	}
	to := Rule{
		To: Port{protocol(c.port.Name.Protocol), c.port.HostPort.Port}, Comment: c.name + " host port", Target: Jump(c.chains.host),
	}
	if a := c.port.HostPort.Addr; a.IsValid() {
		to.Dst = host(a)
	}
	c.out.HostPorts = []Rule{to}
	mark := Rule{Comment: "masquerade LOCAL traffic for " + c.name + " host port", Local: FromLocal, Target: Jump(kubeMarkMasq)}
	c.chain(c.chains.host, append([]Rule{mark}, c.balance(targets)...))
}

func (c *compiler) chain(name string, rules []Rule) {
	c.out.Chains = append(c.out.Chains, Chain{name, rules})
}

// policy balances over endpoints: first those that know the client, then the
// i-th of n with probability 1/(n-i), the last for what is left.
func (c *compiler) policy(name string, targets []service.Target, internal bool) {
	if len(targets) == 0 {
		return
	}
	rules := make([]Rule, 0, len(targets)+1)
	if internal && c.port.ClusterIP.IsValid() && (c.set.MasqueradeAll || c.set.Pods.works()) {
		mark := c.to(c.port.ClusterIP, " cluster IP", Jump(kubeMarkMasq))
		if !c.set.MasqueradeAll {
			mark = c.set.Pods.others(mark)
		}
		rules = append(rules, mark)
	}
	if c.port.Affinity > 0 {
		rules = append(rules, c.known(targets)...)
	}
	c.chain(name, append(rules, c.balance(targets)...))
}

// known leads clients to the endpoint that has them in one of its lists: in
// kube-proxy's, which all of its clients push each other out of, or in that of
// their share.
func (c *compiler) known(targets []service.Target) []Rule {
	var rules []Rule
	for _, t := range targets {
		sep := c.chains.endpoint(t)
		rules = append(rules, Rule{Comment: c.arrow(t), Match: SeenWithin{sep, c.port.Affinity, t.Addr().BitLen()}, Target: Jump(sep)})
	}
	for _, t := range targets {
		sep := c.chains.endpoint(t)
		for i, share := range c.shares(t) {
			rules = append(rules, Rule{Share: share, Match: SeenWithin{shareList(sep, i), c.port.Affinity, share.Bits}, Target: Jump(sep)})
		}
	}
	return rules
}

// shares are those of an endpoint's clients that have a list of their own.
func (c *compiler) shares(t service.Target) []Share {
	shares := make([]Share, c.set.AffinityLists)
	for i := range shares {
		shares[i] = Share{i, c.set.AffinityLists, t.Addr().BitLen()}
	}
	return shares
}

func shareList(sep string, share int) string { return sep + "-" + strconv.Itoa(share) }

// balance goes to each of the targets in equal shares.
func (c *compiler) balance(targets []service.Target) []Rule {
	rules := make([]Rule, len(targets))
	for i, t := range targets {
		rules[i] = Rule{Comment: c.arrow(t), Target: Jump(c.chains.endpoint(t))}
		if left := len(targets) - i; left > 1 {
			rules[i].Match = OneIn(left)
		}
	}
	return rules
}

func (c *compiler) arrow(t service.Target) string {
	if c.set.Terse {
		return ""
	}
	return fmt.Sprintf("%s -> %s", c.name, t)
}

// external decides for external front ends who keeps his address. With policy
// Local an insider goes to all endpoints all the same: it is as if he had
// asked the cluster IP.
func (c *compiler) external() {
	if !c.port.Anywhere || !c.port.ExternallyAccessible() {
		return
	}
	comment := func(format string) string { return fmt.Sprintf(format+" for %s external destinations", c.name) }
	var rules []Rule
	if c.port.External == service.Cluster {
		rules = append(rules,
			Rule{Comment: comment("masquerade traffic"), Target: Jump(kubeMarkMasq)},
			Rule{Target: Jump(c.chains.cluster)})
	} else {
		if c.set.Pods.works() {
			rules = append(rules, c.set.Pods.pods(Rule{Comment: comment("pod traffic"), Target: Jump(c.chains.cluster)}))
		}
		rules = append(rules,
			Rule{Comment: comment("masquerade LOCAL traffic"), Local: FromLocal, Target: Jump(kubeMarkMasq)},
			Rule{Comment: comment("route LOCAL traffic"), Local: FromLocal, Target: Jump(c.chains.cluster)})
		if len(c.port.LocalOnly) > 0 {
			rules = append(rules, Rule{Target: Jump(c.chains.local)})
		}
	}
	c.chain(c.chains.external, rules)
}

// firewall lets source ranges pass to a balancer's address, and the address
// itself where this node may use it. The rest stays untranslated, and is
// dropped for that.
func (c *compiler) firewall() {
	if len(c.port.SourceRanges) == 0 || len(c.port.VIPs) == 0 || !c.port.Anywhere {
		return
	}
	var rules []Rule
	pass := func(src netip.Prefix) {
		rules = append(rules, Rule{Src: src, Comment: c.name + " loadbalancer IP", Target: Jump(c.chains.external)})
	}
	node := false
	for _, r := range c.port.SourceRanges {
		pass(r)
		for _, a := range c.set.NodeAddrs {
			node = node || r.Contains(a)
		}
	}
	if node {
		for _, a := range c.port.VIPs {
			pass(host(a))
		}
	}
	rules = append(rules, Rule{Comment: fmt.Sprintf("other traffic to %s will be dropped by %s", c.name, kubeProxyFirewall)})
	c.chain(c.chains.firewall, rules)
}

// endpoints translate. One that calls itself gets the node's address as the
// client, for else it would answer itself directly.
func (c *compiler) endpoints() {
	comment := c.name
	if c.set.Terse {
		comment = ""
	}
	seen := map[netip.AddrPort]bool{}
	for _, targets := range [...][]service.Target{c.port.Cluster, c.port.LocalOnly} {
		for _, t := range targets {
			if seen[t.AddrPort] {
				continue
			}
			seen[t.AddrPort] = true
			sep := c.chains.endpoint(t)
			dnat := Rule{To: Port{Protocol: protocol(c.port.Name.Protocol)}, Comment: comment, Target: DNAT{t.AddrPort}}
			rules := []Rule{{Src: host(t.Addr()), Comment: comment, Target: Jump(kubeMarkMasq)}}
			if c.port.Affinity > 0 {
				for i, share := range c.shares(t) {
					rules = append(rules, Rule{Share: share, Match: See{shareList(sep, i), share.Bits}})
				}
				dnat.Match = See{sep, t.Addr().BitLen()}
			}
			c.chain(sep, append(rules, dnat))
		}
	}
}
