// Package linux is the vocabulary of a node's network: links, addresses,
// routes, rules, neighbours and sysctls as plain values; State, a set of them;
// and Diff, which says what must change for one State to become another.
//
// It does nothing to the kernel: package kernel observes a State and applies
// the changes. Two rules make that safe. Additions come before deletions, so
// that traffic never meets a gap. And Diff deletes only routes and rules, and
// only those that the observed State holds: the observer reports nothing that
// is not ours (Scope).
package linux

import (
	"fmt"
	"net/netip"
	"strings"
)

// MAC is an Ethernet address; the zero value means "any".
type MAC [6]byte

// ParseMAC reads six colon-separated hex octets in either case.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	if len(s) != 17 {
		return m, fmt.Errorf("MAC %q: want six hex octets with colons, as 02:ab:cd:ef:01:23", s)
	}
	for i := range m {
		hi, lo := hexDigit(s[3*i]), hexDigit(s[3*i+1])
		if hi < 0 || lo < 0 || (i < 5 && s[3*i+2] != ':') {
			return MAC{}, fmt.Errorf("MAC %q: want six hex octets with colons, as 02:ab:cd:ef:01:23", s)
		}
		m[i] = byte(hi<<4 | lo)
	}
	return m, nil
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}

// String is the usual form: lower case, with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Link is a network interface. In a wanted State, a zero MAC, MTU or Group
// means "leave as it is".
type Link struct {
	Name  string
	MAC   MAC
	MTU   int // bytes
	Up    bool
	Group int
	Peer  Peer // other end, for a veth that is to be made; zero otherwise
}

// Peer is the end of a veth that lies in another network namespace.
type Peer struct {
	Name string
	MAC  MAC
}

// Addr is an address on a link. It makes no connected route.
type Addr struct {
	Link   string
	Prefix netip.Prefix
}

// Route is a unicast route. Without Via it has scope link.
type Route struct {
	Table int
	Dst   netip.Prefix // 0.0.0.0/0 or ::/0 for the default
	Via   netip.Addr   // zero for an on-link route
	Link  string
}

// Rule is a policy rule that looks up a table. Zero From, To and Mask mean "all".
type Rule struct {
	Priority int
	From, To netip.Prefix
	Mark     uint32
	Mask     uint32
	Table    int
}

// Neigh is a permanent neighbour entry.
type Neigh struct {
	Link string
	IP   netip.Addr
	MAC  MAC
}

// Sysctl is a kernel setting. Key is the path below /proc/sys.
type Sysctl struct {
	Key   string
	Value string
}

// State is a set of items of each kind; order carries no meaning.
type State struct {
	Links   []Link
	Addrs   []Addr
	Routes  []Route
	Rules   []Rule
	Neighs  []Neigh
	Sysctls []Sysctl
}

// Join returns the union of states that hold different items.
func Join(states ...State) State {
	var all State
	for _, s := range states {
		all.Links = append(all.Links, s.Links...)
		all.Addrs = append(all.Addrs, s.Addrs...)
		all.Routes = append(all.Routes, s.Routes...)
		all.Rules = append(all.Rules, s.Rules...)
		all.Neighs = append(all.Neighs, s.Neighs...)
		all.Sysctls = append(all.Sysctls, s.Sysctls...)
	}
	return all
}

// SysctlKeys are the settings that the state speaks of.
func (s State) SysctlKeys() []string {
	keys := make([]string, len(s.Sysctls))
	for i, v := range s.Sysctls {
		keys[i] = v.Key
	}
	return keys
}

// Item is one of Link, Addr, Route, Rule, Neigh and Sysctl.
type Item interface {
	fmt.Stringer
	item()
}

func (Link) item()   {}
func (Addr) item()   {}
func (Route) item()  {}
func (Rule) item()   {}
func (Neigh) item()  {}
func (Sysctl) item() {}

// String is the link as `ip link` would head it.
func (l Link) String() string {
	var b strings.Builder
	b.WriteString(l.Name)
	if l.MTU != 0 {
		fmt.Fprintf(&b, " mtu %d", l.MTU)
	}
	if l.Up {
		b.WriteString(" up")
	}
	if l.Group != 0 {
		fmt.Fprintf(&b, " group %d", l.Group)
	}
	if l.MAC != (MAC{}) {
		fmt.Fprintf(&b, " address %s", l.MAC)
	}
	return b.String()
}

// String is the address in the manner of `ip addr`.
func (a Addr) String() string { return fmt.Sprintf("%s dev %s", a.Prefix, a.Link) }

// String is the route as `ip route` prints it, with its table unless it is main.
func (r Route) String() string {
	var b strings.Builder
	b.WriteString(r.InTable())
	if r.Table != tableMain {
		fmt.Fprintf(&b, " table %d", r.Table)
	}
	return b.String()
}

// InTable is the route as `ip route show table N` prints it.
func (r Route) InTable() string {
	switch {
	case !r.Via.IsValid():
		return fmt.Sprintf("%s dev %s scope link", prefixText(r.Dst), r.Link)
	case r.Dst.Bits() == 0:
		return fmt.Sprintf("default via %s dev %s", r.Via, r.Link)
	default:
		return fmt.Sprintf("%s via %s dev %s", prefixText(r.Dst), r.Via, r.Link)
	}
}

// String is the rule as `ip rule` prints it.
func (r Rule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:\tfrom %s", r.Priority, prefixText(r.From))
	if r.To.IsValid() {
		fmt.Fprintf(&b, " to %s", prefixText(r.To))
	}
	if r.Mask != 0 {
		fmt.Fprintf(&b, " fwmark 0x%x/0x%x", r.Mark, r.Mask)
	}
	fmt.Fprintf(&b, " lookup %s", tableName(r.Table))
	return b.String()
}

// String is the entry as `ip neigh` prints it.
func (n Neigh) String() string {
	return fmt.Sprintf("%s dev %s lladdr %s PERMANENT", n.IP, n.Link, n.MAC)
}

// String is the setting as `sysctl` prints it.
func (s Sysctl) String() string {
	return strings.ReplaceAll(s.Key, "/", ".") + " = " + s.Value
}

const tableMain = 254

func tableName(t int) string {
	switch t {
	case 253:
		return "default"
	case tableMain:
		return "main"
	case 255:
		return "local"
	}
	return fmt.Sprint(t)
}

// prefixText writes a host prefix without its length, and none as "all".
func prefixText(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "all"
	case p.IsSingleIP():
		return p.Addr().String()
	case p.Bits() == 0:
		return "default"
	}
	return p.String()
}

// HostPrefix is the /32 or /128 of an address.
func HostPrefix(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
