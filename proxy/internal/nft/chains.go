package nft

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Names of chains.
const (
	servicesChain   = "services"
	serviceChain    = "service"
	treatChain      = "treat"
	clusterIPChain  = "cluster-ips"
	externalChain   = "external"
	localChain      = "external-local"
	insideChain     = "local-clients"
	rangesChain     = "restricted"
	chooseChain     = "choose"
	noLocalChain    = "no-local-endpoints"
	affinityChain   = "affinity"
	knownChain      = "affinity-known"
	newChain        = "affinity-new"
	drawChain       = "affinity-draw"
	stayChain       = "affinity-stay"
	hostPortsChain  = "host-ports-of-pods"
	noEndpointChain = "no-endpoints"
	refuseChain     = "refuse"

	// tries is how often a slot is drawn below a power of two. Each finds an
	// endpoint with a probability of more than a half.
	tries = 10
)

// plumbing writes the chains of some families' services. Nothing in it depends
// on what services there are, but for the timeouts of affinity.
type plumbing struct {
	families []ruleset.Settings
	timeouts []time.Duration // sorted
	out      []chain
}

func (p *plumbing) add(name string, rules ...rule) {
	p.out = append(p.out, chain{name, nil, rules})
}

// each makes rules for every family.
func (p *plumbing) each(f func(s ruleset.Settings, n names) []rule) []rule {
	var all []rule
	for _, s := range p.families {
		for _, r := range f(s, namesOf(s.Family)) {
			r.exprs = cat(ofFamily(s.Family), r.exprs)
			all = append(all, r)
		}
	}
	return all
}

// carried puts the value that the packet carries in its priority into reg0,
// as far as the mask has it.
func carried(mask value) exprs {
	if mask == ^value(0) {
		return meta(expr.MetaKeyPRIORITY, reg0)
	}
	return cat(meta(expr.MetaKeyPRIORITY, reg0), and(reg0, uint32(mask)))
}

// carry lets the packet carry what is in reg0.
func carry() exprs { return write(expr.MetaKeyPRIORITY) }

// arrive ends the journey: the packet gets its priority back, 0, and goes to
// the endpoint in the registers from reg0.
func arrive(f service.Family) exprs {
	n, _ := addressLen(f)
	free := reg0 + n + 1
	return cat(immediate(free, number32(0)), exprs{&expr.Meta{Key: expr.MetaKeyPRIORITY, Register: free, SourceRegister: true}}, dnat(f, reg0))
}

func of(n size) string  { return fmt.Sprintf("one-of-%d", n.slots()) }
func try(n size) string { return fmt.Sprintf("try-one-of-%d", n.slots()) }

// endpoint puts the endpoint in a random slot into the registers from reg0.
func endpoint(n names, slots uint32) exprs {
	return cat(carried(groupMask), random(reg0+1, slots), lookup(reg0, n[endpoints], reg0))
}

// choices makes the chains that choose an endpoint.
func (p *plumbing) choices() {
	direct := []constant{{key: number32(0), goTo: noLocalChain}}
	for n := size(1); n <= largest; n++ {
		direct = append(direct, constant{key: number32(uint32(newValue(0, n, 0))), goTo: of(n)})
		choice := p.each(func(s ruleset.Settings, names names) []rule {
			return []rule{plain(endpoint(names, n.slots()), arrive(s.Family))}
		})
		if n <= exact {
			p.add(of(n), choice...)
			continue
		}
		p.add(try(n), choice...)
		p.add(of(n), append(slices.Repeat([]rule{plain(jump(try(n)))}, tries), plain(goTo(of(exact))))...)
	}
	elements := slices.Clone(direct)
	for n := size(0); n <= largest; n++ {
		elements = append(elements, constant{key: number32(uint32(newValue(affine, n, 0))), goTo: affinityChain})
	}
	p.add(chooseChain, dispatch(carried(newValue(affine, 0, 0)|sizeMask), elements))
	p.affinity(direct)
	p.add(noLocalChain, plain(counter(), drop()))
}

// client puts the group and the client into registers, from reg0; what it
// returns is the next.
func client(f service.Family) (exprs, uint32) {
	n, _ := addressLen(f)
	return cat(carried(groupMask), saddr(f, reg0+1)), reg0 + 1 + n
}

// affinity makes the chains that keep clients at their endpoints. Between
// affinity and affinity-stay the packet carries a member: group and number of
// an endpoint. One that is gone is forgotten, and another drawn.
func (p *plumbing) affinity(direct []constant) {
	var look, known, draw, stay []rule
	for _, s := range p.families {
		n, f := namesOf(s.Family), ofFamily(s.Family)
		key, data := client(s.Family)
		member := meta(expr.MetaKeyPRIORITY, data)
		look = append(look, plain(f, key, lookup(reg0, n[affinity], reg0), carry(), goTo(knownChain)))
		known = append(known,
			plain(f, carried(^value(0)), in(reg0, n[members]), goTo(stayChain)),
			plain(f, key, member, dynset(dynsetDelete, n[affinity], reg0, data, 0)),
			plain(f, carried(groupMask), lookup(reg0, n[affinityValues], reg0), carry(), goTo(newChain)))
		for z := size(1); z <= largest && z.slots() <= maxMembers; z++ {
			draw = append(draw, plain(f, carried(sizeMask), equal(reg0, number32(uint32(newValue(0, z, 0)))),
				carried(groupMask), random(reg0+1, z.slots()), lookup(reg0, n[affinitySlots], reg0), carry(), goTo(stayChain)))
		}
		for _, t := range p.timeouts {
			stay = append(stay, plain(f,
				carried(groupMask), immediate(reg0+1, number32(uint32(t/time.Second))), in(reg0, n[affinitySeconds]),
				key, member, dynset(dynsetUpdate, n[affinity], reg0, data, t)))
		}
		stay = append(stay, plain(f, carried(^value(0)), lookup(reg0, n[members], reg0), arrive(s.Family)))
	}
	p.add(affinityChain, append(look, plain(goTo(newChain)))...)
	p.add(knownChain, known...)
	p.add(newChain, append(slices.Repeat([]rule{plain(jump(drawChain))}, tries), dispatch(carried(sizeMask), direct))...)
	p.add(drawChain, draw...)
	p.add(stayChain, stay...)
}

// pods narrows a rule to packets of pods, or to others.
func pods(s ruleset.Settings, op expr.CmpOp) exprs {
	if s.Pods.Link != "" {
		return link(expr.MetaKeyIIFNAME, s.Pods.Link, op)
	}
	return cat(saddr(s.Family, reg0), within(reg0, s.Pods.Block, op))
}

func detects(s ruleset.Settings) bool { return s.Pods.Block.IsValid() || s.Pods.Link != "" }

// services makes the chains of front ends.
func (p *plumbing) services() {
	p.add(servicesChain, slices.Concat([]rule{
		plain(meta(expr.MetaKeyPRIORITY, reg0), differs(reg0, number32(0)), jump(saveChain)).commented("priority is needed to carry values"),
	}, p.each(func(s ruleset.Settings, n names) []rule {
		return []rule{
			plain(fullKey(s.Family), lookup(reg0, n[serviceIPs], reg0), carry(), goTo(serviceChain)).commented("addresses of services"),
			plain(protoPort(reg0), in(reg0, n[nodePorts]), toNodePorts(s, n),
				protoPort(reg0), lookup(reg0, n[nodePorts], reg0), carry(), goTo(serviceChain)).commented("node ports"),
			plain(fullKey(s.Family), in(reg0, n[hostAddresses]), toLocal(), goTo(hostPortsChain)).commented("host ports of pods, on one address"),
			plain(protoPort(reg0), in(reg0, n[hostPorts]), toNode(s), goTo(hostPortsChain)).commented("host ports of pods"),
		}
	}))...)
	var treatments []constant
	for _, with := range []treatment{0, affine} {
		treatments = append(treatments, constant{key: how(toCluster | with), goTo: clusterIPChain}, constant{key: how(external | with), goTo: externalChain},
			constant{key: how(externalLocal | with), goTo: localChain}, constant{key: how(external | restricted | with), goTo: rangesChain},
			constant{key: how(externalLocal | restricted | with), goTo: rangesChain})
	}
	p.add(serviceChain, plain(jump(treatChain)), plain(counter(), drop()).commented("no endpoint was found; the next try may find one"))
	p.add(treatChain, dispatch(carried(howMask), treatments))
	p.add(clusterIPChain, append(p.each(func(s ruleset.Settings, _ names) []rule {
		switch {
		case s.MasqueradeAll:
			return []rule{plain(setMark(s.MasqueradeMark))}
		case detects(s):
			return []rule{plain(pods(s, expr.CmpOpNeq), setMark(s.MasqueradeMark))}
		}
		return nil
	}), plain(goTo(chooseChain)))...)
	p.external()
	p.hostPorts()
	p.choices()
}

func how(t treatment) []byte { return number32(uint32(newValue(t, 0, 0))) }

// toNodePorts narrows a rule to addresses that have node ports.
func toNodePorts(s ruleset.Settings, n names) exprs {
	if len(s.NodePortAddrs) > 0 {
		return cat(daddr(s.Family, reg0), in(reg0, n[nodePortAddresses]))
	}
	return toNode(s)
}

// toNode narrows a rule to all addresses of the node; to those of loopback
// only if the kernel routes them to pods.
func toNode(s ruleset.Settings) exprs {
	switch {
	case s.Family == service.IPv6:
		return cat(daddr(s.Family, reg0), within(reg0, host6, expr.CmpOpNeq), toLocal())
	case !s.LocalhostNodePorts:
		return cat(daddr(s.Family, reg0), within(reg0, loopback, expr.CmpOpNeq), toLocal())
	}
	return toLocal()
}

// external makes the chains of front ends that outsiders may use.
func (p *plumbing) external() {
	mark := setMark(p.families[0].MasqueradeMark)
	p.add(externalChain, plain(mark), plain(goTo(chooseChain)))
	p.add(localChain, append(p.each(func(s ruleset.Settings, _ names) []rule {
		var rules []rule
		if detects(s) {
			rules = append(rules, plain(pods(s, expr.CmpOpEq), goTo(insideChain)).commented("pods of this node"))
		}
		return append(rules,
			plain(fromLocal(), setMark(s.MasqueradeMark)).commented("this node itself"),
			plain(fromLocal(), goTo(insideChain)))
	}), plain(goTo(chooseChain)))...)
	p.add(insideChain, p.each(func(s ruleset.Settings, n names) []rule {
		return []rule{plain(carried(groupMask), lookup(reg0, n[inside], reg0), carry(), goTo(chooseChain))}
	})...)
	p.add(rangesChain, append(p.each(func(s ruleset.Settings, n names) []rule {
		key := cat(carried(groupMask), order(reg0), saddr(s.Family, reg0+1))
		return []rule{plain(key, notIn(reg0, n[sourceRanges]), counter(), drop()).commented("outside of the source ranges")}
	}), dispatch(carried(howMask&^newValue(restricted|affine, 0, 0)), []constant{
		{key: how(external), goTo: externalChain}, {key: how(externalLocal), goTo: localChain},
	}))...)
}

func (p *plumbing) hostPorts() {
	p.add(hostPortsChain, p.each(func(s ruleset.Settings, n names) []rule {
		return []rule{
			plain(fromLocal(), setMark(s.MasqueradeMark)).commented("this node itself"),
			plain(fullKey(s.Family), lookup(reg0, n[hostAddresses], reg0), dnat(s.Family, reg0)),
			plain(protoPort(reg0), lookup(reg0, n[hostPorts], reg0), dnat(s.Family, reg0)),
		}
	})...)
}

// refusing answers at once where no endpoint is. It cannot be done in nat.
func (p *plumbing) refusing() {
	p.add(refuseChain,
		plain(meta(expr.MetaKeyL4PROTO, reg0), equal(reg0, []byte{unix.IPPROTO_TCP}), counter(), exprs{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}),
		plain(counter(), exprs{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_PORT_UNREACH}}))
	p.add(noEndpointChain, p.each(func(s ruleset.Settings, n names) []rule {
		return []rule{
			plain(fullKey(s.Family), in(reg0, n[refusedIPs]), goTo(refuseChain)),
			plain(protoPort(reg0), in(reg0, n[refusedPorts]), toLocal(), goTo(refuseChain)),
		}
	})...)
}
