package fabric

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/namespace"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// routeProtocol marks the fabric's routes in `ip route`, for people who look.
const routeProtocol = 0xec

// apply carries out changes and remembers which succeeded. It goes on after a
// failure, so that one bad object does not hold up the others.
func (f *Fabric) apply(ctx context.Context, v vpc.View, c changes) error {
	if c.empty() {
		return nil
	}
	errs := []error{f.applyElements(ctx, c)}
	for _, o := range c.remove {
		if isElement(o) {
			continue
		}
		errs = append(errs, f.done("removed", o, false, f.removeObject(o)))
	}
	for _, o := range f.primaryFirst(v, c.add) {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if d, ok := o.(device); ok {
			errs = append(errs, f.done("added", o, true, f.addDevice(ctx, v, d)))
		} else if !isElement(o) {
			errs = append(errs, f.done("added", o, true, f.addObject(o)))
		}
	}
	return errors.Join(errs...)
}

// done records the outcome of one step.
func (f *Fabric) done(verb string, o object, present bool, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", o, err)
	}
	if present {
		f.have[o] = true
	} else {
		delete(f.have, o)
	}
	f.log.Info("fabric "+verb, "what", o.String())
	return nil
}

// primaryFirst puts devices into the order of their indexes, so that the
// operating system of a new node finds its primary ENI first, as eth0.
func (f *Fabric) primaryFirst(v vpc.View, add []object) []object {
	index := map[string]int{}
	for _, i := range v.Interfaces {
		index[i.ID] = i.NetworkCard*100 + i.DeviceIndex
	}
	sorted := slices.Clone(add)
	slices.SortStableFunc(sorted, func(a, b object) int {
		da, isA := a.(device)
		db, isB := b.(device)
		if !isA || !isB {
			return a.order() - b.order()
		}
		return index[da.eni] - index[db.eni]
	})
	return sorted
}

func isElement(o object) bool {
	switch o.(type) {
	case element, counter:
		return true
	}
	return false
}

func (f *Fabric) addObject(o object) error {
	switch o := o.(type) {
	case space:
		return f.addNode(o)
	case address:
		return f.addAddress(o)
	case route:
		return f.addRoute(o, unix.RT_TABLE_MAIN)
	}
	return fmt.Errorf("adding a %T is not this function's work", o)
}

// removeObject takes an object away; that it is gone already is fine.
func (f *Fabric) removeObject(o object) error {
	var err error
	switch o := o.(type) {
	case space:
		err = f.removeNode(o)
	case device:
		err = f.removeDevice(o)
	case address:
		err = f.removeAddress(o)
	case route:
		err = f.removeRoute(o)
	}
	if isGone(err) {
		return nil
	}
	return err
}

func isGone(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENODEV) ||
		errors.Is(err, unix.EADDRNOTAVAIL)
}

func (f *Fabric) addAddress(a address) error {
	h, err := f.handle(a.place)
	if err != nil {
		return err
	}
	link, err := h.LinkByName(a.link)
	if err != nil {
		return err
	}
	return h.AddrReplace(link, netlinkAddr(a.prefix))
}

func (f *Fabric) removeAddress(a address) error {
	h, err := f.handle(a.place)
	if err != nil {
		return err
	}
	link, err := h.LinkByName(a.link)
	if err != nil {
		return err
	}
	return h.AddrDel(link, netlinkAddr(a.prefix))
}

func netlinkAddr(p netip.Prefix) *netlink.Addr {
	addr := &netlink.Addr{IPNet: ipNet(p)}
	if p.Addr().Is6() {
		addr.Flags = unix.IFA_F_NODAD
	}
	return addr
}

func (f *Fabric) addRoute(r route, table int) error {
	h, err := f.handle(r.place)
	if err != nil {
		return err
	}
	nr, err := netlinkRoute(h, r, table)
	if err != nil {
		return err
	}
	return h.RouteReplace(nr)
}

func (f *Fabric) removeRoute(r route) error {
	h, err := f.handle(r.place)
	if err != nil {
		return err
	}
	nr, err := netlinkRoute(h, r, unix.RT_TABLE_MAIN)
	if err != nil {
		return err
	}
	return h.RouteDel(nr)
}

func netlinkRoute(h *netlink.Handle, r route, table int) (*netlink.Route, error) {
	nr := &netlink.Route{Dst: ipNet(r.dst), Table: table, Protocol: routeProtocol}
	if r.link == "" {
		nr.Type = unix.RTN_BLACKHOLE
		return nr, nil
	}
	link, err := h.LinkByName(r.link)
	if err != nil {
		return nil, err
	}
	nr.LinkIndex, nr.Gw = link.Attrs().Index, r.via.AsSlice()
	if r.via.Is4() {
		nr.Flags = int(netlink.FLAG_ONLINK)
	}
	if r.src.IsValid() {
		nr.Src = r.src.AsSlice()
	}
	return nr, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// freshNode are the sysctls that a node of the Amazon Linux kind starts with
// and that an agent has to know about. The kernel would copy the machine's
// own values into a new namespace.
var freshNode = []namespace.Sysctl{
	{Key: "net/ipv4/ip_forward", Value: "0"},
	{Key: "net/ipv4/conf/all/rp_filter", Value: "0"},
	{Key: "net/ipv4/conf/default/rp_filter", Value: "1"},
}

func (f *Fabric) addNode(s space) error { return f.createSpace(s.node, freshNode) }

// removeNode takes a node's name away. Its processes are not the fabric's.
func (f *Fabric) removeNode(s space) error {
	if h := f.handles[s.node]; h != nil {
		h.Close()
		delete(f.handles, s.node)
	}
	return namespace.Remove(f.Space(s.node))
}
