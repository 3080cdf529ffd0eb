package kernel

import (
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/ipamd/linux"
)

// Attributes of rules (include/uapi/linux/fib_rules.h), and their one action.
const (
	fraDst      = 1
	fraSrc      = 2
	fraPriority = 6
	fraMark     = 10
	fraTable    = 15
	fraMask     = 16
	actToTable  = 1
)

func request(kind, flags int) *nl.NetlinkRequest {
	return nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
}

// vethMessage makes a veth whose other end is born in the namespace peerNS:
// moving a link afterwards costs an RCU barrier. This end comes up at once;
// the kernel refuses a peer that is born up.
func vethMessage(l linux.Link, peerNS int) *nl.NetlinkRequest {
	req := request(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	if l.Up {
		msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	}
	req.AddData(msg)
	addEnd(func(kind int, value []byte) { req.AddData(nl.NewRtAttr(kind, value)) }, l.Name, l.MAC, l.MTU)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("veth"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	peer := data.AddRtAttr(nl.VETH_INFO_PEER, nil)
	nl.NewIfInfomsgChild(peer, unix.AF_UNSPEC)
	addEnd(func(kind int, value []byte) { peer.AddRtAttr(kind, value) }, l.Peer.Name, l.Peer.MAC, l.MTU)
	peer.AddRtAttr(unix.IFLA_NET_NS_FD, nl.Uint32Attr(uint32(peerNS)))
	req.AddData(info)
	return req
}

func addEnd(add func(int, []byte), name string, mac linux.MAC, mtu int) {
	add(unix.IFLA_IFNAME, nl.ZeroTerminated(name))
	if mac != (linux.MAC{}) {
		add(unix.IFLA_ADDRESS, mac[:])
	}
	if mtu != 0 {
		add(unix.IFLA_MTU, nl.Uint32Attr(uint32(mtu)))
	}
}

func linkSetMessage(index int, l linux.Link) *nl.NetlinkRequest {
	req := request(unix.RTM_NEWLINK, 0)
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	if l.Up {
		msg.Flags, msg.Change = unix.IFF_UP, unix.IFF_UP
	}
	req.AddData(msg)
	if l.MAC != (linux.MAC{}) {
		req.AddData(nl.NewRtAttr(unix.IFLA_ADDRESS, l.MAC[:]))
	}
	if l.MTU != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_MTU, nl.Uint32Attr(uint32(l.MTU))))
	}
	if l.Group != 0 {
		req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(uint32(l.Group))))
	}
	return req
}

func linkDelMessage(name string) *nl.NetlinkRequest {
	req := request(unix.RTM_DELLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(name)))
	return req
}

func groupDelMessage(group int) *nl.NetlinkRequest {
	req := request(unix.RTM_DELLINK, 0)
	req.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	req.AddData(nl.NewRtAttr(unix.IFLA_GROUP, nl.Uint32Attr(uint32(group))))
	return req
}

func addrMessage(kind, flags, index int, a linux.Addr) *nl.NetlinkRequest {
	req := request(kind, flags)
	ip := a.Prefix.Addr()
	msg := nl.NewIfAddrmsg(family(ip))
	msg.Index = uint32(index)
	msg.Prefixlen = uint8(a.Prefix.Bits())
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.IFA_LOCAL, ip.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, ip.AsSlice()))
	also := uint32(unix.IFA_F_NOPREFIXROUTE)
	if ip.Is6() {
		also |= unix.IFA_F_NODAD // the VPC gave the address: nobody else has it
	}
	req.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(also)))
	return req
}

func routeMessage(kind, flags, index int, r linux.Route) *nl.NetlinkRequest {
	req := request(kind, flags)
	dst := r.Dst.Addr()
	msg := nl.NewRtMsg()
	msg.Family = uint8(family(dst))
	msg.Dst_len = uint8(r.Dst.Bits())
	msg.Table = unix.RT_TABLE_UNSPEC
	msg.Protocol = unix.RTPROT_BOOT
	msg.Scope = unix.RT_SCOPE_UNIVERSE
	if !r.Via.IsValid() {
		msg.Scope = unix.RT_SCOPE_LINK
	}
	if kind == unix.RTM_DELROUTE {
		msg.Protocol, msg.Scope, msg.Type = 0, unix.RT_SCOPE_NOWHERE, 0
	}
	req.AddData(msg)
	req.AddData(nl.NewRtAttr(unix.RTA_TABLE, nl.Uint32Attr(uint32(r.Table))))
	if r.Dst.Bits() > 0 {
		req.AddData(nl.NewRtAttr(unix.RTA_DST, dst.AsSlice()))
	}
	if r.Via.IsValid() {
		req.AddData(nl.NewRtAttr(unix.RTA_GATEWAY, r.Via.AsSlice()))
	}
	req.AddData(nl.NewRtAttr(unix.RTA_OIF, nl.Uint32Attr(uint32(index))))
	return req
}

// ruleMessage leaves the protocol attribute out: `ip rule` prints a rule that
// has one differently from what operators know.
func ruleMessage(kind, flags int, r linux.Rule) *nl.NetlinkRequest {
	req := request(kind, flags)
	msg := nl.NewRtMsg()
	msg.Family = uint8(ruleFamily(r))
	msg.Table = unix.RT_TABLE_UNSPEC
	msg.Protocol, msg.Scope, msg.Type = 0, 0, actToTable
	if r.To.IsValid() {
		msg.Dst_len = uint8(r.To.Bits())
	}
	if r.From.IsValid() {
		msg.Src_len = uint8(r.From.Bits())
	}
	req.AddData(msg)
	if r.To.IsValid() {
		req.AddData(nl.NewRtAttr(fraDst, r.To.Addr().AsSlice()))
	}
	if r.From.IsValid() {
		req.AddData(nl.NewRtAttr(fraSrc, r.From.Addr().AsSlice()))
	}
	req.AddData(nl.NewRtAttr(fraPriority, nl.Uint32Attr(uint32(r.Priority))))
	if r.Mask != 0 {
		req.AddData(nl.NewRtAttr(fraMark, nl.Uint32Attr(r.Mark)))
		req.AddData(nl.NewRtAttr(fraMask, nl.Uint32Attr(r.Mask)))
	}
	req.AddData(nl.NewRtAttr(fraTable, nl.Uint32Attr(uint32(r.Table))))
	return req
}

func ruleFamily(r linux.Rule) int {
	for _, p := range []netip.Prefix{r.From, r.To} {
		if p.IsValid() {
			return family(p.Addr())
		}
	}
	return unix.AF_INET
}

func neighMessage(index int, n linux.Neigh) *nl.NetlinkRequest {
	req := request(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	req.AddData(&netlink.Ndmsg{Family: uint8(family(n.IP)), Index: uint32(index), State: netlink.NUD_PERMANENT, Type: unix.RTN_UNICAST})
	req.AddData(nl.NewRtAttr(unix.NDA_DST, n.IP.AsSlice()))
	req.AddData(nl.NewRtAttr(unix.NDA_LLADDR, n.MAC[:]))
	return req
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}
