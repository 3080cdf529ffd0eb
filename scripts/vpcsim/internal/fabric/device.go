package fabric

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// addDevice makes an ENI appear in its node: a veth pair whose node end has
// the ENI's MAC and the lowest free name ethN. The primary ENI is configured
// as the operating system does at boot; any other stays down and bare, unless
// a fault makes the operating system rename or configure it.
func (f *Fabric) addDevice(ctx context.Context, v vpc.View, d device) error {
	eni, err := find(v, d.eni)
	if err != nil {
		return err
	}
	mac, err := net.ParseMAC(d.mac)
	if err != nil {
		return fmt.Errorf("MAC address %q of %s is not one: %w", d.mac, d.eni, err)
	}
	guest, err := f.handle(d.node)
	if err != nil {
		return err
	}
	name, err := freeName(guest)
	if err != nil {
		return err
	}
	link := LinkName(d.eni)
	if err := f.createVeth(Router, link, routerMAC, d.node, name, mac, mtuVPC); err != nil {
		return err
	}
	if err := f.readyRouterEnd(link, mac); err != nil {
		return fmt.Errorf("preparing the router for %s: %w", d.eni, err)
	}
	if eni.Guest.Rename {
		if name, err = renameDevice(ctx, guest, name, eni); err != nil {
			return err
		}
	}
	if eni.DeviceIndex == 0 && eni.NetworkCard == 0 || eni.Guest.DHCP {
		return bootConfigure(guest, name, v, eni)
	}
	return nil
}

// renameAfter is how long a new device keeps the kernel's name, as udev has it.
const renameAfter = 20 * time.Millisecond

// renameDevice gives a device its predictable name, ens5 for index 0.
func renameDevice(ctx context.Context, guest *netlink.Handle, name string, eni vpc.InterfaceView) (string, error) {
	if err := span.Sleep(ctx, renameAfter); err != nil {
		return "", err
	}
	link, err := guest.LinkByName(name)
	if err != nil {
		return "", err
	}
	final := fmt.Sprintf("ens%d", 5+100*eni.NetworkCard+eni.DeviceIndex)
	if err := guest.LinkSetName(link, final); err != nil {
		return "", fmt.Errorf("renaming %s to %s: %w", name, final, err)
	}
	return final, nil
}

func find(v vpc.View, id string) (vpc.InterfaceView, error) {
	for _, i := range v.Interfaces {
		if i.ID == id {
			return i, nil
		}
	}
	return vpc.InterfaceView{}, fmt.Errorf("%s is not in the view", id)
}

// freeName returns the lowest ethN that no link has.
func freeName(h *netlink.Handle) (string, error) {
	links, err := h.LinkList()
	if err != nil {
		return "", fmt.Errorf("listing links: %w", err)
	}
	taken := map[string]bool{}
	for _, l := range links {
		taken[l.Attrs().Name] = true
	}
	for n := 0; ; n++ {
		if name := fmt.Sprintf("eth%d", n); !taken[name] {
			return name, nil
		}
	}
}

// createVeth makes a veth pair with one end in each place; no end ever is
// anywhere else. A nil MAC leaves the choice to the kernel.
func (f *Fabric) createVeth(placeA, linkA string, macA net.HardwareAddr, placeB, linkB string, macB net.HardwareAddr, mtu int) error {
	h, err := f.handle(placeA)
	if err != nil {
		return err
	}
	there, err := os.Open(namespace.Path(f.Space(placeB)))
	if err != nil {
		return fmt.Errorf("opening network namespace of %s: %w", placeB, err)
	}
	defer there.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = linkA, mtu, macA
	veth := &netlink.Veth{
		LinkAttrs:        attrs,
		PeerName:         linkB,
		PeerHardwareAddr: macB,
		PeerNamespace:    netlink.NsFd(there.Fd()),
		PeerMTU:          uint32(mtu),
	}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("creating veth %s in %s and %s in %s: %w", linkA, placeA, linkB, placeB, err)
	}
	return nil
}

// readyRouterEnd lets the router deliver over the link: every route over it
// goes by one next hop, which always is the guest's MAC.
func (f *Fabric) readyRouterEnd(name string, guestMAC net.HardwareAddr) error {
	h, err := f.handle(Router)
	if err != nil {
		return err
	}
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	// The kernel would take up to 0.8 s to answer ARP for someone else.
	delay := namespace.Sysctl{Key: "net/ipv4/neigh/" + name + "/proxy_delay", Value: "0"}
	if err := namespace.SetSysctls(f.Space(Router), []namespace.Sysctl{delay}); err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", name, err)
	}
	if err := h.AddrReplace(link, netlinkAddr(gateway6)); err != nil {
		return fmt.Errorf("adding %s to %s: %w", gateway6, name, err)
	}
	for _, hop := range []netip.Addr{guest4, guest6} {
		if err := h.NeighSet(neighbour(link, hop, guestMAC)); err != nil {
			return fmt.Errorf("adding neighbour %s to %s: %w", hop, name, err)
		}
	}
	return nil
}

func neighbour(link netlink.Link, addr netip.Addr, mac net.HardwareAddr) *netlink.Neigh {
	return &netlink.Neigh{
		LinkIndex:    link.Attrs().Index,
		IP:           addr.AsSlice(),
		HardwareAddr: mac,
		State:        unix.NUD_PERMANENT,
	}
}

// bootConfigure is what the operating system makes of DHCP and router
// advertisements at boot: first address with the subnet's length, default
// route to the subnet's gateway.
func bootConfigure(h *netlink.Handle, name string, v vpc.View, eni vpc.InterfaceView) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	subnet, err := subnetOf(v, eni)
	if err != nil {
		return err
	}
	if len(eni.Addresses) == 0 {
		return fmt.Errorf("primary interface %s has no address", eni.ID)
	}
	primary := netip.PrefixFrom(eni.Addresses[0], subnet.CIDR.Bits())
	if err := h.AddrAdd(link, netlinkAddr(primary)); err != nil {
		return fmt.Errorf("adding %s to %s: %w", primary, name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", name, err)
	}
	if err := h.RouteAdd(defaultRoute(link, anywhere4, gateway(subnet), eni.DeviceIndex)); err != nil {
		return fmt.Errorf("adding the default route: %w", err)
	}
	return bootConfigure6(h, link, eni)
}

func bootConfigure6(h *netlink.Handle, link netlink.Link, eni vpc.InterfaceView) error {
	for _, a := range eni.Addresses {
		if !a.Is6() {
			continue
		}
		if err := h.AddrAdd(link, netlinkAddr(host(a))); err != nil {
			return fmt.Errorf("adding %s: %w", a, err)
		}
		if err := h.RouteAdd(defaultRoute(link, anywhere6, gateway6.Addr(), eni.DeviceIndex)); err != nil {
			return fmt.Errorf("adding the IPv6 default route: %w", err)
		}
		return nil
	}
	return nil
}

// defaultRoute is the way out over an ENI. Those of other ENIs than the primary
// one come after its own.
func defaultRoute(link netlink.Link, dst netip.Prefix, via netip.Addr, deviceIndex int) *netlink.Route {
	return &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(dst), Gw: via.AsSlice(), Priority: 512 * deviceIndex}
}

func subnetOf(v vpc.View, eni vpc.InterfaceView) (vpc.SubnetView, error) {
	for _, s := range v.Subnets {
		if s.ID == eni.Subnet {
			return s, nil
		}
	}
	return vpc.SubnetView{}, fmt.Errorf("%s is in subnet %q, which the view does not have", eni.ID, eni.Subnet)
}

// removeDevice takes the pair away, wherever in the node its other end is.
func (f *Fabric) removeDevice(d device) error {
	h, err := f.handle(Router)
	if err != nil {
		return err
	}
	link, err := h.LinkByName(LinkName(d.eni))
	if err != nil {
		return err
	}
	return h.LinkDel(link)
}

// forgetLost drops devices that are gone from the router, and the routes over
// them, from what the fabric believes to have: a guest that deletes its end of
// a pair takes ours along, which no guest can do to a real ENI.
func (f *Fabric) forgetLost() error {
	if len(f.have) == 0 {
		return nil
	}
	h, err := f.handle(Router)
	if err != nil {
		return err
	}
	links, err := h.LinkList()
	if err != nil {
		return fmt.Errorf("listing the router's links: %w", err)
	}
	present := map[string]bool{}
	for _, l := range links {
		present[l.Attrs().Name] = true
	}
	for o := range f.have {
		switch o := o.(type) {
		case device:
			if !present[LinkName(o.eni)] {
				delete(f.have, o)
			}
		case route:
			if o.place == Router && o.link != "" && !present[o.link] {
				delete(f.have, o)
			}
		}
	}
	return nil
}

func up(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", name, err)
	}
	return nil
}
