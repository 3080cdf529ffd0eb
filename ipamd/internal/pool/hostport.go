package pool

import (
	"fmt"
	"net/netip"
	"slices"
)

// HostPort is a port of the node that leads to a port of a pod.
type HostPort struct {
	Addr      netip.Addr // one address of the node; invalid for all
	Port      uint16
	Container uint16 // the pod's own port
	Protocol  string // "tcp", "udp" or "sctp"
}

// String is "8080/tcp", or "192.0.2.1:8080/tcp" if it is on one address only.
func (h HostPort) String() string {
	if h.Addr.IsValid() {
		return fmt.Sprintf("%s/%s", netip.AddrPortFrom(h.Addr, h.Port), h.Protocol)
	}
	return fmt.Sprintf("%d/%s", h.Port, h.Protocol)
}

// overlaps says whether some packet is for both.
func (h HostPort) overlaps(o HostPort) bool {
	return h.Protocol == o.Protocol && h.Port == o.Port && (!h.Addr.IsValid() || !o.Addr.IsValid() || h.Addr == o.Addr)
}

// PortTaken refuses a host port that another pod has.
type PortTaken struct {
	Port   HostPort   // as it was asked for
	Has    HostPort   // as the other has it: on all addresses, say
	Holder Assignment // of the other
}

// Error names the pod that has the port.
func (e *PortTaken) Error() string {
	return fmt.Sprintf("host port %s: pod %s/%s, container %s, has %s on this node; want a port that no other pod of the node has",
		e.Port, e.Holder.Pod.Namespace, e.Holder.Pod.Name, e.Holder.Key.ContainerID, e.Has)
}

// PortsFree returns a *PortTaken if another pod has a host port that the
// request asks for. An older sandbox of the same pod is not in the way: the
// kubelet makes the new one only when nothing runs in it any more. Neither is
// the key itself.
func (p *Pool) PortsFree(r Request) error {
	for _, want := range r.Ports {
		for _, a := range p.held {
			if a.Key == r.Key || samePod(a.Pod, r.Pod) {
				continue
			}
			if i := slices.IndexFunc(a.Ports, want.overlaps); i >= 0 {
				return &PortTaken{Port: want, Has: a.Ports[i], Holder: a}
			}
		}
	}
	return nil
}

// Forwarded are the assignments that have host ports, by address: of the
// sandboxes of one pod the youngest.
func (p *Pool) Forwarded() []Assignment {
	return slices.DeleteFunc(p.Assignments(), func(a Assignment) bool { return len(a.Ports) == 0 || p.superseded(a) })
}

// superseded says whether a younger sandbox of the same pod is there.
func (p *Pool) superseded(a Assignment) bool {
	for _, other := range p.held {
		if samePod(a.Pod, other.Pod) && a.Key.Interface == other.Key.Interface && other.Since.After(a.Since) {
			return true
		}
	}
	return false
}

// samePod is by name, as the kubelet sees it: the pod that has the name now
// comes when all of the one before it has ended. Who has no name is nobody's.
func samePod(a, b Pod) bool {
	return a.Name != "" && a.Name == b.Name && a.Namespace == b.Namespace
}
