package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/ipamd/linux"
)

// dumpTries bounds how often a listing is begun anew because the kernel's
// tables changed while it was read (NLM_F_DUMP_INTR).
const dumpTries = 10

// Observe returns all links, those routes and rules that are ours by scope, and
// the addresses of secondary ENIs' links, without their blocks: whose address
// it is, is all that matters. Rules and routes are read before links: a pod's
// rule that was seen belongs to a link that was there.
func (h *Handle) Observe(scope linux.Scope) (linux.State, error) {
	var s linux.State
	list, err := h.lister()
	if err != nil {
		return s, err
	}
	rules, err := dump(func() ([]netlink.Rule, error) { return list.RuleList(unix.AF_UNSPEC) })
	if err != nil {
		return s, fmt.Errorf("listing rules: %w", err)
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return list.RouteListFiltered(unix.AF_UNSPEC, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return s, fmt.Errorf("listing routes: %w", err)
	}
	names, links, err := h.links(list)
	if err != nil {
		return s, err
	}
	s.Links = links
	for _, r := range rules {
		if rule, plain := ruleFrom(r); plain && scope.OwnsRule(rule) {
			s.Rules = append(s.Rules, rule)
		}
	}
	for _, r := range routes {
		if route, plain := routeFrom(r, names); plain && scope.OwnsRoute(route, r.Protocol == unix.RTPROT_KERNEL) {
			s.Routes = append(s.Routes, route)
		}
	}
	if len(scope.Secondary) == 0 {
		return s, nil
	}
	addrs, err := addresses(list, names)
	for _, a := range addrs {
		if slices.Contains(scope.Secondary, a.Link) {
			a.Prefix = linux.HostPrefix(a.Prefix.Addr())
			s.Addrs = append(s.Addrs, a)
		}
	}
	return s, err
}

// addresses returns those of all links.
func addresses(list *netlink.Handle, names map[int]string) ([]linux.Addr, error) {
	addrs, err := dump(func() ([]netlink.Addr, error) { return list.AddrList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return nil, fmt.Errorf("listing addresses: %w", err)
	}
	var out []linux.Addr
	for _, a := range addrs {
		if p, ok := prefixFrom(a.IPNet); ok {
			out = append(out, linux.Addr{Link: names[a.LinkIndex], Prefix: p})
		}
	}
	return out, nil
}

// Links returns all links, oldest first.
func (h *Handle) Links() ([]linux.Link, error) {
	list, err := h.lister()
	if err != nil {
		return nil, err
	}
	_, links, err := h.links(list)
	return links, err
}

// ObservePod returns all links, addresses, routes of the main table and
// permanent neighbours of a pod's namespace.
func (h *Handle) ObservePod() (linux.State, error) {
	var s linux.State
	list, err := h.lister()
	if err != nil {
		return s, err
	}
	names, links, err := h.links(list)
	if err != nil {
		return s, err
	}
	s.Links = links
	routes, err := dump(func() ([]netlink.Route, error) { return list.RouteList(nil, unix.AF_UNSPEC) })
	if err != nil {
		return s, fmt.Errorf("listing routes: %w", err)
	}
	for _, r := range routes {
		if route, plain := routeFrom(r, names); plain {
			s.Routes = append(s.Routes, route)
		}
	}
	if s.Addrs, err = addresses(list, names); err != nil {
		return s, err
	}
	return s, h.podNeighs(list, names, &s)
}

func (h *Handle) podNeighs(list *netlink.Handle, names map[int]string, s *linux.State) error {
	neighs, err := dump(func() ([]netlink.Neigh, error) { return list.NeighList(0, unix.AF_UNSPEC) })
	if err != nil {
		return fmt.Errorf("listing neighbours: %w", err)
	}
	for _, n := range neighs {
		ip, ok := netip.AddrFromSlice(n.IP)
		if !ok || n.State != netlink.NUD_PERMANENT || len(n.HardwareAddr) != 6 {
			continue
		}
		s.Neighs = append(s.Neighs, linux.Neigh{Link: names[n.LinkIndex], IP: ip.Unmap(), MAC: linux.MAC(n.HardwareAddr)})
	}
	return nil
}

// dump repeats a listing that changed underneath its reader.
func dump[T any](list func() ([]T, error)) (out []T, err error) {
	for range dumpTries {
		if out, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
	return nil, err
}

func (h *Handle) links(list *netlink.Handle) (map[int]string, []linux.Link, error) {
	found, err := dump(list.LinkList)
	if err != nil {
		return nil, nil, fmt.Errorf("listing links: %w", err)
	}
	names := make(map[int]string, len(found))
	links := make([]linux.Link, 0, len(found))
	for _, l := range found {
		a := l.Attrs()
		names[a.Index] = a.Name
		link := linux.Link{Name: a.Name, MTU: a.MTU, Up: a.Flags&net.FlagUp != 0, Group: int(a.Group)}
		if len(a.HardwareAddr) == 6 {
			link.MAC = linux.MAC(a.HardwareAddr)
		}
		links = append(links, link)
	}
	return names, links, nil
}

// ruleFrom translates a rule; plain is false for one that selects or acts in a
// way that no rule of ours does. Of rules without addresses only IPv4's are
// ours: an IPv6 one that looks the same is another's.
func ruleFrom(r netlink.Rule) (rule linux.Rule, plain bool) {
	if r.Invert || r.IifName != "" || r.OifName != "" || r.Tos != 0 || r.IPProto > 0 ||
		r.Dport != nil || r.Sport != nil || r.UIDRange != nil || r.Goto > 0 || r.Table == 0 {
		return linux.Rule{}, false
	}
	rule = linux.Rule{Priority: r.Priority, Mark: r.Mark, Table: r.Table}
	if r.Mask != nil && r.Mark != 0 {
		rule.Mask = *r.Mask
	}
	rule.From, _ = prefixFrom(r.Src)
	rule.To, _ = prefixFrom(r.Dst)
	return rule, r.Family == unix.AF_INET || rule.From.IsValid() || rule.To.IsValid()
}

// routeFrom translates a unicast route with one next hop.
func routeFrom(r netlink.Route, names map[int]string) (route linux.Route, plain bool) {
	name, known := names[r.LinkIndex]
	if r.Type != unix.RTN_UNICAST || len(r.MultiPath) > 0 || !known {
		return linux.Route{}, false
	}
	route = linux.Route{Table: r.Table, Link: name}
	if gw, ok := netip.AddrFromSlice(r.Gw); ok {
		route.Via = gw.Unmap()
	}
	dst, ok := prefixFrom(r.Dst)
	if !ok {
		dst = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
		if r.Family == unix.AF_INET6 {
			dst = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	route.Dst = dst
	return route, true
}

func prefixFrom(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || bits == 0 {
		return netip.Prefix{}, false
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, ones-(bits-a.BitLen())), true
}

// Sysctls reads settings of the handle's namespace.
func (h *Handle) Sysctls(keys []string) (found []linux.Sysctl, err error) {
	err = h.inside(func() error { found = Sysctls(keys); return nil })
	return found, err
}

// Sysctls reads settings of the caller's own namespace. What this kernel does
// not have is returned without a value.
func Sysctls(keys []string) []linux.Sysctl {
	var out []linux.Sysctl
	for _, k := range keys {
		value, err := os.ReadFile(filepath.Join("/proc/sys", filepath.Clean("/"+k)))
		if err != nil {
			value = nil
		}
		out = append(out, linux.Sysctl{Key: k, Value: strings.TrimSpace(string(value))})
	}
	return out
}
