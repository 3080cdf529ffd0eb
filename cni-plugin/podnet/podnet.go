// Package podnet plans the network of one pod: what its assignment means on
// the host side and inside the pod, as linux.State.
//
// It is the one place that knows how a pod is wired. The plugin applies the
// plan when a pod comes and checks against it; the daemon keeps the host side
// of all pods in place with it. Both are pure.
package podnet

import (
	"crypto/sha1"
	"encoding/hex"
	"net/netip"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

// Assignment is what a pod was given.
type Assignment struct {
	HostLink  string // name of the host end of the veth
	PodLink   string // name inside the pod, usually eth0
	MTU       int    // bytes
	HostMAC   linux.MAC
	PodMAC    linux.MAC
	Addresses []Address
}

// Address is one of a pod's addresses.
type Address struct {
	IP      netip.Addr
	Gateway netip.Addr // link-local; no link has it (Gateway)
	Table   int        // that traffic from the pod looks up; config.TableMain for the primary ENI
}

// Gateway is the next hop inside the pod for an address of its family.
func Gateway(a netip.Addr) netip.Addr {
	if a.Is6() {
		return netip.MustParseAddr(config.PodGateway6)
	}
	return netip.MustParseAddr(config.PodGateway)
}

// VethName is the name of a pod's host-side link: the prefix and the first 11
// hex digits of SHA-1("namespace.pod"), as Calico and aws-node name it.
func VethName(prefix, namespace, pod string) string {
	sum := sha1.Sum([]byte(namespace + "." + pod))
	return prefix + hex.EncodeToString(sum[:])[:11]
}

// Veth is the pair of links, seen from the host.
func Veth(a Assignment) linux.State {
	return linux.State{Links: []linux.Link{{
		Name: a.HostLink, MAC: a.HostMAC, MTU: a.MTU, Up: true,
		Peer: linux.Peer{Name: a.PodLink, MAC: a.PodMAC},
	}}}
}

// Host is what routes packets to and from the pod on the host: a /32 or /128
// route and rule 512 to it, and, for a pod of a secondary ENI, rule 1536 that
// sends its packets out by that ENI. A pod cannot advertise itself as a router.
//
// While the pod's hardware address is known, as when it is wired, an IPv6
// address gets a neighbour entry: the kernel asks for neighbours only when its
// own address on a new link has been there for a second or two.
func Host(a Assignment) linux.State {
	s := linux.State{
		Sysctls: []linux.Sysctl{{Key: "net/ipv6/conf/" + a.HostLink + "/accept_ra", Value: "0"}},
	}
	for _, addr := range a.Addresses {
		to := linux.HostPrefix(addr.IP)
		s.Routes = append(s.Routes, linux.Route{Table: config.TableMain, Dst: to, Link: a.HostLink})
		s.Rules = append(s.Rules, linux.Rule{Priority: config.RuleToPod, To: to, Table: config.TableMain})
		if addr.Table != config.TableMain {
			s.Rules = append(s.Rules, linux.Rule{Priority: config.RuleFromPod, From: to, Table: addr.Table})
		}
		if addr.IP.Is6() && a.PodMAC != (linux.MAC{}) {
			s.Neighs = append(s.Neighs, linux.Neigh{Link: a.HostLink, IP: addr.IP, MAC: a.PodMAC})
		}
	}
	return s
}

// Pod is the inside: a /32 or /128 address and a default route by way of a
// link-local gateway that no one owns, whose neighbour entry is the host end. A
// runtime may have switched IPv6 off; with an IPv6 address it is on.
func Pod(a Assignment) linux.State {
	s := linux.State{Links: []linux.Link{{Name: a.PodLink, MAC: a.PodMAC, MTU: a.MTU, Up: true}}}
	for _, addr := range a.Addresses {
		gateway := linux.HostPrefix(addr.Gateway)
		if addr.IP.Is6() {
			s.Sysctls = append(s.Sysctls, enabled6("lo"), enabled6(a.PodLink))
		}
		s.Addrs = append(s.Addrs, linux.Addr{Link: a.PodLink, Prefix: linux.HostPrefix(addr.IP)})
		s.Neighs = append(s.Neighs, linux.Neigh{Link: a.PodLink, IP: addr.Gateway, MAC: a.HostMAC})
		s.Routes = append(s.Routes,
			linux.Route{Table: config.TableMain, Dst: gateway, Link: a.PodLink},
			linux.Route{Table: config.TableMain, Dst: defaultOf(addr.IP), Via: addr.Gateway, Link: a.PodLink})
	}
	return s
}

func enabled6(link string) linux.Sysctl {
	return linux.Sysctl{Key: "net/ipv6/conf/" + link + "/disable_ipv6", Value: "0"}
}

func defaultOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}
