package fabric

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
)

// The MTU inside a VPC, and beyond its gateways.
const (
	mtuVPC      = 9001
	mtuInternet = 1500
)

// Routing tables of the router, one per kind of default route. A packet gets
// the number of its table as its mark, by the subnet of the ENI it came from.
const (
	tableIGW  = 1
	tableNAT  = 2
	tableNone = 3 // black holes, for every packet that has no mark
	// tableLB leads to the load balancers, before the main table: for replies
	// to clients whose addresses they have kept.
	tableLB = 4
	lbRule  = 100
	// pathRule comes after the main table (32766), which has all of the VPC,
	// and falls through for everything else.
	pathRule = 40000
)

// Every ENI's link in the router looks alike, so one neighbour entry per link
// serves every address that is delivered over it.
var (
	routerMAC = net.HardwareAddr{0x0e, 0xec, 0x02, 0, 0, 1}
	guest4    = netip.MustParseAddr("169.254.173.1")
	guest6    = netip.MustParseAddr("fe80::ec2:1")
	gateway6  = netip.MustParsePrefix("fe80:ec2::1/64")
)

// end is one end of a link between two places.
type end struct {
	place, link  string
	addr4, addr6 netip.Addr
}

// trunk is a veth pair between two places that are not nodes.
type trunk struct {
	a, b end
	mtu  int
}

var (
	toIGW      = newTrunk(Router, "igw", IGW, "vpc", "169.254.172.0", mtuVPC)
	toNAT      = newTrunk(Router, "nat", NAT, "vpc", "169.254.172.4", mtuVPC)
	toPeer     = newTrunk(Router, "peer", Peer, "eth0", "169.254.172.8", mtuVPC)
	natToIGW   = newTrunk(NAT, "igw", IGW, "nat", "169.254.172.12", mtuInternet)
	toInternet = newTrunk(IGW, "inet", Internet, "eth0", "169.254.172.16", mtuInternet)

	toLB = newTrunk(Router, "lb", LB, "eth0", "169.254.172.20", mtuVPC)

	internet4 = netip.MustParsePrefix("203.0.113.0/24")
	internet6 = netip.MustParsePrefix("2001:db8:ec2::/64")
	linkLocal = netip.MustParsePrefix("169.254.0.0/16")
	anywhere4 = netip.MustParsePrefix("0.0.0.0/0")
	anywhere6 = netip.MustParsePrefix("::/0")
)

func newTrunk(placeA, linkA, placeB, linkB, net4 string, mtu int) trunk {
	a4 := netip.MustParseAddr(net4).Next()
	return trunk{
		a:   end{placeA, linkA, a4, netip.MustParseAddr("fe80::1")},
		b:   end{placeB, linkB, a4.Next(), netip.MustParseAddr("fe80::2")},
		mtu: mtu,
	}
}

// routeTo is the route that leaves by one end of a trunk for the other.
func routeTo(from end, dst netip.Prefix, to end) route {
	via := to.addr4
	if dst.Addr().Is6() {
		via = to.addr6
	}
	return route{place: from.place, link: from.link, dst: dst, via: via}
}

// forwarding makes a place a router that never says a word about itself: no
// redirects, no addresses of its own making.
var forwarding = []namespace.Sysctl{
	{Key: "net/ipv4/ip_forward", Value: "1"},
	{Key: "net/ipv4/conf/all/rp_filter", Value: "0"},
	{Key: "net/ipv4/conf/default/rp_filter", Value: "0"},
	{Key: "net/ipv4/conf/all/send_redirects", Value: "0"},
	{Key: "net/ipv4/conf/default/send_redirects", Value: "0"},
	{Key: "net/ipv6/conf/all/forwarding", Value: "1"},
	{Key: "net/ipv6/conf/default/forwarding", Value: "1"},
	{Key: "net/ipv6/conf/default/addr_gen_mode", Value: "1"},
	{Key: "net/ipv6/conf/default/accept_dad", Value: "0"},
}

// proxying makes the router answer ARP for the addresses that it has a route
// to over another link, as the VPC's mapping service does.
var proxying = []namespace.Sysctl{
	{Key: "net/ipv4/conf/all/proxy_arp", Value: "1"},
	{Key: "net/ipv4/conf/default/proxy_arp", Value: "1"},
}

// idle are the lengths after which a network load balancer forgets a silent
// flow (AWS: TCP 350 s, UDP 120 s). It takes up none in the middle, and does
// not take a packet outside of the window for one.
var idle = []namespace.Sysctl{
	{Key: "net/netfilter/nf_conntrack_tcp_timeout_established", Value: "350"},
	{Key: "net/netfilter/nf_conntrack_udp_timeout", Value: "120"},
	{Key: "net/netfilter/nf_conntrack_udp_timeout_stream", Value: "120"},
	{Key: "net/netfilter/nf_conntrack_tcp_loose", Value: "0"},
	{Key: "net/netfilter/nf_conntrack_tcp_be_liberal", Value: "1"},
}

// silent is for hosts: no address autoconfiguration chatter.
var silent = []namespace.Sysctl{
	{Key: "net/ipv4/conf/all/rp_filter", Value: "0"},
	{Key: "net/ipv4/conf/default/rp_filter", Value: "0"},
	{Key: "net/ipv6/conf/default/addr_gen_mode", Value: "1"},
	{Key: "net/ipv6/conf/default/accept_dad", Value: "0"},
	{Key: "net/ipv6/conf/default/accept_ra", Value: "0"},
}

// Create builds the places around the nodes and the trunks between them. It
// fails if something of that name exists; Remove first.
func (f *Fabric) Create(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range []struct {
		place   string
		sysctls [][]namespace.Sysctl
	}{
		{Router, [][]namespace.Sysctl{forwarding, proxying}},
		{IGW, [][]namespace.Sysctl{forwarding}},
		{NAT, [][]namespace.Sysctl{forwarding}},
		{Peer, [][]namespace.Sysctl{silent}},
		{Internet, [][]namespace.Sysctl{silent}},
		{LB, [][]namespace.Sysctl{forwarding, idle}},
	} {
		if err := f.createSpace(p.place, p.sysctls...); err != nil {
			return err
		}
	}
	for _, t := range []trunk{toIGW, toNAT, toPeer, natToIGW, toInternet, toLB} {
		if err := f.createTrunk(t); err != nil {
			return fmt.Errorf("linking %s and %s: %w", t.a.place, t.b.place, err)
		}
	}
	if err := f.addStatic(); err != nil {
		return err
	}
	return f.createRuleset(ctx)
}

func (f *Fabric) createSpace(place string, sysctls ...[]namespace.Sysctl) error {
	name := f.Space(place)
	if err := namespace.Create(name); err != nil {
		return err
	}
	for _, s := range sysctls {
		if err := namespace.SetSysctls(name, s); err != nil {
			return err
		}
	}
	h, err := f.handle(place)
	if err != nil {
		return err
	}
	return up(h, "lo")
}

func (f *Fabric) createTrunk(t trunk) error {
	if err := f.createVeth(t.a.place, t.a.link, nil, t.b.place, t.b.link, nil, t.mtu); err != nil {
		return err
	}
	for _, e := range []end{t.a, t.b} {
		h, err := f.handle(e.place)
		if err != nil {
			return err
		}
		if err := up(h, e.link); err != nil {
			return err
		}
		for _, p := range []netip.Prefix{netip.PrefixFrom(e.addr4, 30), netip.PrefixFrom(e.addr6, 64)} {
			if err := f.addAddress(address{e.place, e.link, p}); err != nil {
				return err
			}
		}
	}
	return nil
}

// addStatic adds the addresses and routes that no view changes.
func (f *Fabric) addStatic() error {
	objects := []object{
		address{Router, "lo", host(EC2Addr)},
		address{Router, "lo", host(IMDSAddr)},
		address{Router, "lo", host(IMDSAddr6)},
		route{place: Router, dst: linkLocal},
		address{NAT, natToIGW.a.link, host(NATAddr)},
		routeTo(natToIGW.a, anywhere4, natToIGW.b),
		routeTo(natToIGW.b, host(NATAddr), natToIGW.a),
		routeTo(toInternet.a, internet4, toInternet.b),
		routeTo(toInternet.a, internet6, toInternet.b),
		address{Internet, toInternet.b.link, host(InternetAddr6)},
		routeTo(toLB.b, anywhere4, toLB.a),
	}
	for _, a := range InternetAddrs {
		objects = append(objects, address{Internet, toInternet.b.link, host(a)})
	}
	back4, back6 := routeTo(toInternet.b, anywhere4, toInternet.a), routeTo(toInternet.b, anywhere6, toInternet.a)
	back4.src, back6.src = InternetAddr, InternetAddr6
	objects = append(objects, back4, back6)
	for _, o := range objects {
		if err := f.addObject(o); err != nil {
			return fmt.Errorf("adding %s: %w", o, err)
		}
	}
	return f.addPaths()
}

// addPaths adds the default routes that a packet's mark chooses from.
func (f *Fabric) addPaths() error {
	h, err := f.handle(Router)
	if err != nil {
		return err
	}
	for _, p := range []struct {
		priority, table int
		mark            uint32
		route           route
	}{
		{lbRule, tableLB, tableLB, routeTo(toLB.a, anywhere4, toLB.b)},
		{pathRule + 1, tableIGW, tableIGW, routeTo(toIGW.a, anywhere4, toIGW.b)},
		{pathRule + 1, tableIGW, tableIGW, routeTo(toIGW.a, anywhere6, toIGW.b)},
		{pathRule + 2, tableNAT, tableNAT, routeTo(toNAT.a, anywhere4, toNAT.b)},
		{pathRule + 3, tableNone, 0, route{place: Router, dst: anywhere4}},
		{pathRule + 3, tableNone, 0, route{place: Router, dst: anywhere6}},
	} {
		if err := f.addRoute(p.route, p.table); err != nil {
			return fmt.Errorf("adding %s to table %d: %w", p.route, p.table, err)
		}
		rule := netlink.NewRule()
		rule.Family, rule.Mark, rule.Table, rule.Priority = unix.AF_INET, p.mark, p.table, p.priority
		if p.route.dst.Addr().Is6() {
			rule.Family = unix.AF_INET6
		}
		if err := h.RuleAdd(rule); err != nil {
			return fmt.Errorf("adding rule for table %d: %w", p.table, err)
		}
	}
	return nil
}
