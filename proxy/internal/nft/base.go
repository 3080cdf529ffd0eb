package nft

import (
	"net/netip"
	"time"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Priorities of base chains; package doc has the order with its reasons.
const (
	priorityMark     = -150 // mangle
	priorityRefuse   = priorityDNAT - 10
	priorityDNAT     = -100
	priorityOutbound = priorityDNAT + 5
	priorityRestore  = priorityDNAT + 10
	priorityFilter   = 0
	priorityPostNAT  = 100
	outboundChain    = "outbound"
	nodeSNATChain    = "external-snat"
	masqueradeChain  = "masquerade"
	saveChain        = "save-priority"
	restoreChain     = "restore-priority"
	hookPrerouting   = unix.NF_INET_PRE_ROUTING
	hookInput        = unix.NF_INET_LOCAL_IN
	hookForward      = unix.NF_INET_FORWARD
	hookOutput       = unix.NF_INET_LOCAL_OUT
	hookPostrouting  = unix.NF_INET_POST_ROUTING
	connectionMark   = "connection-mark"
	connectionMarks  = "restore-connection-mark"
	natPrerouting    = "nat-prerouting"
	natOutbound      = "nat-outbound"
	natPostrouting   = "nat-postrouting"
	filterForward    = "filter-forward"
	dropInvalidAbout = "answers that were not translated back would end connections"
)

var (
	loopback = netip.MustParsePrefix("127.0.0.0/8")
	host6    = netip.PrefixFrom(netip.IPv6Loopback(), 128)
)

// chains are all chains of the table.
func chains(settings []ruleset.Settings, timeouts []time.Duration, nat ruleset.NodeNAT) []chain {
	p := plumbing{families: settings, timeouts: timeouts}
	if len(settings) > 0 {
		p.services()
		p.refusing()
	}
	p.bases(nat)
	return p.out
}

func (p *plumbing) base(name string, h hook, rules ...rule) {
	p.out = append(p.out, chain{name, &h, rules})
}

func (p *plumbing) bases(nat ruleset.NodeNAT) {
	external := nat.Mark != 0 && !nat.External
	if nat.Mark != 0 {
		p.nodeMark(nat)
	}
	var prerouting, postrouting []rule
	if len(p.families) > 0 {
		fresh := ctBits(expr.CtKeySTATE, ctNew)
		p.base("refuse-prerouting", hook{"filter", hookPrerouting, priorityRefuse}, plain(fresh, jump(noEndpointChain)))
		p.base("refuse-output", hook{"filter", hookOutput, priorityRefuse}, plain(fresh, jump(noEndpointChain)))
		p.priority()
		prerouting = append(prerouting, plain(jump(servicesChain)))
		p.base("nat-output", hook{"nat", hookOutput, priorityDNAT}, plain(jump(servicesChain)))
		postrouting = p.masquerading()
		p.filters()
	}
	if external {
		p.outbound(nat)
		p.base(natOutbound, hook{"nat", hookPrerouting, priorityOutbound},
			plain(ofFamily(service.IPv4), link(expr.MetaKeyIIFNAME, nat.VethPrefix+"+", expr.CmpOpEq), jump(outboundChain)))
		postrouting = append(postrouting, plain(ofFamily(service.IPv4), jump(nodeSNATChain)))
	}
	if len(prerouting) > 0 {
		p.base(natPrerouting, hook{"nat", hookPrerouting, priorityDNAT}, prerouting...)
	}
	if len(postrouting) > 0 {
		p.base(natPostrouting, hook{"nat", hookPostrouting, priorityPostNAT}, postrouting...)
	}
}

// masquerading translates what was marked, and endpoints that call themselves:
// they would answer themselves directly.
func (p *plumbing) masquerading() []rule {
	p.add(masqueradeChain, plain(counter(), masquerade()))
	mark := p.families[0].MasqueradeMark
	rules := []rule{
		plain(jump(restoreChain)),
		plain(hasMark(mark), clearMark(mark), goTo(masqueradeChain)).commented("service traffic requiring SNAT"),
	}
	return append(rules, p.each(func(s ruleset.Settings, n names) []rule {
		registers, _ := addressLen(s.Family)
		return []rule{plain(ctBits(expr.CtKeySTATUS, ctDNAT), saddr(s.Family, reg0), daddr(s.Family, reg0+registers), in(reg0, n[hairpins]), goTo(masqueradeChain)).
			commented("endpoints that call themselves")}
	})...)
}

// filters drop what conntrack cannot place, and keep neighbours away from
// 127.0.0.0/8 where localhost node ports open it (CVE-2020-8558).
func (p *plumbing) filters() {
	var invalid, localnet []rule
	for _, s := range p.families {
		if s.DropInvalid {
			invalid = append(invalid, plain(ofFamily(s.Family), ctBits(expr.CtKeySTATE, ctInvalid), counter(), drop()).commented(dropInvalidAbout))
		}
		if s.LocalhostNodePorts {
			known := expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
			localnet = append(localnet, plain(ofFamily(s.Family),
				daddr(s.Family, reg0), within(reg0, loopback, expr.CmpOpEq), saddr(s.Family, reg0), within(reg0, loopback, expr.CmpOpNeq),
				exprs{&expr.Ct{Key: expr.CtKeySTATE, Register: reg0}}, and(reg0, known), equal(reg0, number32(0)),
				exprs{&expr.Ct{Key: expr.CtKeySTATUS, Register: reg0}}, and(reg0, ctDNAT), equal(reg0, number32(0)),
				counter(), drop()).commented("block incoming localnet connections"))
		}
	}
	if len(invalid) > 0 {
		p.base(filterForward, hook{"filter", hookForward, priorityFilter}, invalid...)
	}
	if len(localnet) > 0 {
		p.base("localnet-input", hook{"filter", hookInput, priorityFilter}, localnet...)
		p.base("localnet-output", hook{"filter", hookOutput, priorityFilter}, localnet...)
	}
}

// nodeMark keeps the connection mark: M1, and M2, M3 and N2 in one.
func (p *plumbing) nodeMark(n ruleset.NodeNAT) {
	v4 := ofFamily(service.IPv4)
	if n.NodePorts {
		p.base(connectionMark, hook{"filter", hookPrerouting, priorityMark},
			plain(v4, link(expr.MetaKeyIIFNAME, n.PrimaryLink, expr.CmpOpEq), ctMark(n.Mark, expr.CmpOpNeq),
				local(expr.Fib{FlagDADDR: true, FlagIIF: true}), setCtMark(n.Mark)).commented("replies leave by the primary ENI"))
	}
	var restore []rule
	of := func(l string) {
		fromLink := cat(v4, link(expr.MetaKeyIIFNAME, l, expr.CmpOpEq))
		restore = append(restore,
			plain(fromLink, ctMark(n.Mark, expr.CmpOpEq), setMark(n.Mark), back()),
			plain(fromLink, clearMark(n.Mark)))
	}
	if n.NodePorts || !n.External {
		of(n.VethPrefix + "+")
	}
	if n.NodePorts {
		of("vlan+")
	}
	if len(restore) > 0 {
		p.base(connectionMarks, hook{"filter", hookPrerouting, priorityRestore}, restore...)
	}
}

// outbound makes N1 and N3: pods' connections to outside get the connection
// mark, and the primary address.
func (p *plumbing) outbound(n ruleset.NodeNAT) {
	var stays []rule
	seen := map[netip.Prefix]bool{}
	block := func(blocks []netip.Prefix, why string) {
		for _, b := range blocks {
			if !seen[b] {
				seen[b] = true
				stays = append(stays, plain(ofFamily(service.IPv4), daddr(service.IPv4, reg0), within(reg0, b, expr.CmpOpEq), back()).commented(why))
			}
		}
	}
	block(n.Excluded, "excluded block")
	block(n.VPCBlocks, "block of the VPC")
	p.add(outboundChain, append(stays[:len(stays):len(stays)], plain(setCtMark(n.Mark)))...)
	notLocal := exprs{&expr.Fib{Register: reg0, FlagDADDR: true, ResultADDRTYPE: true}, &expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: number32(unix.RTN_LOCAL)}}
	p.add(nodeSNATChain, append(stays[:len(stays):len(stays)],
		plain(link(expr.MetaKeyOIFNAME, "vlan+", expr.CmpOpNeq), notLocal, counter(),
			snat(n.PrimaryAddr, n.Randomize == ruleset.HashRandom, n.Randomize == ruleset.PRNG)))...)
}

// savedPriority marks a connection whose first packet's priority is kept in
// the connection mark until it was translated. No bit is config.ConnectionMark.
const (
	savedPriority = 0x5ca1ab00
	priorityMask  = 0xf // priorities by type of service, and of unprivileged sockets
)

// priority makes room for values in a packet's priority, and gives it back.
// Packets that come in by a link have priority 0; those of sockets with a type
// of service, or SO_PRIORITY, have another.
func (p *plumbing) priority() {
	ctIs := func(mask, v uint32) exprs {
		return cat(exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0}}, and(reg0, mask), equal(reg0, number32(v)))
	}
	writeCt := exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0, SourceRegister: true}}
	all := ^uint32(0)
	p.add(saveChain,
		plain(meta(expr.MetaKeyPRIORITY, reg0), and(reg0, ^uint32(priorityMask)), equal(reg0, number32(0)),
			exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0}}, equal(reg0, number32(0)),
			meta(expr.MetaKeyPRIORITY, reg0), bits(reg0, ^uint32(savedPriority), savedPriority), writeCt),
		plain(immediate(reg0, number32(0)), carry()))
	p.add(restoreChain,
		plain(ctIs(all&^priorityMask, savedPriority),
			exprs{&expr.Ct{Key: expr.CtKeyMARK, Register: reg0}}, and(reg0, priorityMask), carry(), immediate(reg0, number32(0)), writeCt).
			commented("the priority that the packet came with"))
	p.base("nat-input", hook{"nat", hookInput, priorityPostNAT}, plain(jump(restoreChain)))
}
