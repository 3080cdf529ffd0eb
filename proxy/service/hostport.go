package service

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
)

// PodPort is a host port of a pod.
type PodPort struct {
	Host      HostPort
	Container uint16 // the pod's own port, 1-65535
	Protocol  Protocol
}

// name is that of the service-port: the host port and, if it is on one address
// only, that.
func (p PodPort) name() string {
	if p.Host.Addr.IsValid() {
		return netip.AddrPortFrom(p.Host.Addr, p.Host.Port).String()
	}
	return strconv.Itoa(int(p.Host.Port))
}

// kind is hostPortOn for a port on one address.
func (p PodPort) kind() kind {
	if p.Host.Addr.IsValid() {
		return hostPortOn
	}
	return hostPort
}

// hostPod is a pod of this node that has host ports.
type hostPod struct {
	key   Key // as the pod is called
	addr  netip.Addr
	ports []PodPort
}

// longestPodName is how much of a pod's name stands in a key. It is the length
// of a Service's name: what fits one, as the 255 bytes of an iptables comment,
// fits the other. A pod's own name may have 253 bytes.
const longestPodName = 63

// podKey is what a pod with host ports is tracked by. No Service has a "/" in
// its name, and no pod either, so that two never have the same key.
func podKey(pod Key) Key {
	name := pod.Name
	if len(name) > longestPodName {
		name = fmt.Sprintf("%s/%x", name[:longestPodName-17], sha256.Sum256([]byte(name)))[:longestPodName]
	}
	return Key{pod.Namespace, "pod/" + name}
}

// SetHostPorts says which ports of the node lead to a pod of this node. Ports
// on an address of a family that the pod does not have are left out, and of
// two that differ in the pod's own port only the second is. The keys that it
// returns, the pod's "namespace/pod/name" among them, are for Resolve.
func (t *Tracker) SetHostPorts(pod Key, addr netip.Addr, ports []PodPort) []Key {
	k := podKey(pod)
	is := hostPod{key: pod, addr: addr}
	for _, p := range ports {
		twice := slices.ContainsFunc(is.ports, func(o PodPort) bool { return o.Host == p.Host && o.Protocol == p.Protocol })
		if a := p.Host.Addr; !twice && (!a.IsValid() || FamilyOf(a) == FamilyOf(addr)) {
			is.ports = append(is.ports, p)
		}
	}
	was, known := t.hostPods[k]
	switch {
	case len(is.ports) == 0:
		return t.DeleteHostPorts(pod)
	case known && reflect.DeepEqual(was, is):
		return nil
	}
	t.hostPods[k] = is
	return t.touched(k, t.claims.set(k, is.frontEnds()))
}

// DeleteHostPorts forgets the host ports of a pod.
func (t *Tracker) DeleteHostPorts(pod Key) []Key {
	k := podKey(pod)
	if _, ok := t.hostPods[k]; !ok {
		return nil
	}
	delete(t.hostPods, k)
	return t.touched(k, t.claims.set(k, nil))
}

// frontEnds is what a pod wants. A port on one address is also noted among
// those on all: a node port there takes it, too.
func (h hostPod) frontEnds() map[frontEnd][]claim {
	wishes := map[frontEnd][]claim{}
	family := FamilyOf(h.addr)
	for _, p := range h.ports {
		wish := claim{podKey(h.key), p.name(), p.kind()}
		everywhere := frontEnd{family, netip.Addr{}, p.Protocol, int32(p.Host.Port)}
		wishes[everywhere] = append(wishes[everywhere], wish)
		if a := p.Host.Addr; a.IsValid() {
			there := frontEnd{family, a, p.Protocol, int32(p.Host.Port)}
			wishes[there] = append(wishes[there], wish)
		}
	}
	return wishes
}

// hostPorts resolves the host ports of a pod, those left out that another has.
func (t *Tracker) hostPorts(h hostPod) ([]ServicePort, error) {
	k := podKey(h.key)
	var ports []ServicePort
	var lost []error
	for _, p := range h.ports {
		if winner := t.holder(h, p); winner.service != k {
			lost = append(lost, fmt.Errorf("pod %s: host port %s %s: %s has it", h.key, p.name(), p.Protocol, winner.service))
			continue
		}
		target := []Target{{AddrPort: netip.AddrPortFrom(h.addr, p.Container), Local: true}}
		sp := ServicePort{
			Name: PortName{k, p.name(), p.Protocol}, Family: FamilyOf(h.addr), Port: p.Host.Port, HostPort: p.Host,
			External: Local, Cluster: target, LocalOnly: target, Anywhere: true,
		}
		if p.Protocol == UDP {
			sp.Serving = []netip.AddrPort{target[0].AddrPort}
		}
		ports = append(ports, sp)
	}
	return ports, errors.Join(lost...)
}

// holder is who has a host port: for one on a single address, whoever has it
// on all, or else there.
func (t *Tracker) holder(h hostPod, p PodPort) claim {
	f := frontEnd{FamilyOf(h.addr), netip.Addr{}, p.Protocol, int32(p.Host.Port)}
	winner := t.claims.by[f][0]
	own := winner.service == podKey(h.key)
	if !p.Host.Addr.IsValid() || winner.kind < hostPortOn && !own {
		return winner
	}
	f.addr = p.Host.Addr
	return t.claims.by[f][0]
}
