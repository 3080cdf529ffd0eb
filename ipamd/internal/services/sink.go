package services

import (
	"net/netip"

	"github.com/causeway-cni/causeway/proxy/service"
)

// SetService tells of a service.
func (s *Services) SetService(v service.Service) {
	s.take(func() []service.Key { s.inbox.services++; return s.tracker.SetService(v) })
}

// DeleteService tells that a service is gone.
func (s *Services) DeleteService(k service.Key) {
	s.take(func() []service.Key { s.inbox.services++; return s.tracker.DeleteService(k) })
}

// SetSlice tells of a slice.
func (s *Services) SetSlice(v service.EndpointSlice) {
	s.take(func() []service.Key {
		changed := s.tracker.SetSlice(v)
		s.inbox.slices++
		// What happened before the start says nothing about us.
		if len(changed) > 0 && s.known && !v.Triggered.IsZero() && len(s.inbox.triggered) < maxTriggered {
			s.inbox.triggered = append(s.inbox.triggered, v.Triggered)
		}
		return changed
	})
}

// maxTriggered bounds what is kept for measuring between two rounds.
const maxTriggered = 10_000

// DeleteSlice tells that a slice is gone.
func (s *Services) DeleteSlice(k service.Key) {
	s.take(func() []service.Key { s.inbox.slices++; return s.tracker.DeleteSlice(k) })
}

// SetHostPorts says which ports of the node lead to a pod.
func (s *Services) SetHostPorts(pod service.Key, addr netip.Addr, ports []service.PodPort) {
	s.take(func() []service.Key { return s.tracker.SetHostPorts(pod, addr, ports) })
}

// DeleteHostPorts says that none does any more.
func (s *Services) DeleteHostPorts(pod service.Key) {
	s.take(func() []service.Key { return s.tracker.DeleteHostPorts(pod) })
}

// SetNode tells of this node's Node; nil: it is gone, or was never there. One
// that is gone keeps its name, so that endpoints stay local.
func (s *Services) SetNode(n *service.Node) {
	s.take(func() []service.Key {
		s.node = n
		if n == nil {
			return nil
		}
		return s.tracker.SetNode(*n)
	})
	s.settings.Wake()
}

// Synced tells that services, slices and the node are known.
func (s *Services) Synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = true
	s.audience.Queued(s.inbox.slices, s.inbox.services)
	s.settings.Wake()
}

// take changes the model, and wakes the loop if something is to be written.
func (s *Services) take(change func() []service.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed := change()
	for _, k := range changed {
		s.inbox.changed[k] = true
	}
	if len(changed) > 0 && s.known {
		s.audience.Queued(s.inbox.slices, s.inbox.services)
		s.settings.Wake()
	}
}
