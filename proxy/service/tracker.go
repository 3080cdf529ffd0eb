package service

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"reflect"
	"slices"
)

// Tracker keeps the objects as they are now. Every change returns the services
// that must be resolved again, sorted; none if what came is what was there. It
// is not safe for concurrent use.
type Tracker struct {
	node      Node
	services  map[Key]Service
	slices    map[Key]EndpointSlice
	byService map[Key]map[Key]bool // slices of each service
	hostPods  map[Key]hostPod      // by podKey
	claims    claims
	here      map[netip.Addr]int // endpoints of this node, or of none that is known
}

// NewTracker returns a Tracker without objects.
func NewTracker() *Tracker {
	return &Tracker{
		services:  map[Key]Service{},
		slices:    map[Key]EndpointSlice{},
		byService: map[Key]map[Key]bool{},
		hostPods:  map[Key]hostPod{},
		claims:    newClaims(),
		here:      map[netip.Addr]int{},
	}
}

// Names says whether an address that this node's pods had is an endpoint still,
// in whatever state.
func (t *Tracker) Names(a netip.Addr) bool { return t.here[a] > 0 }

func (t *Tracker) count(s EndpointSlice, by int) {
	for _, e := range s.Endpoints {
		if e.Node != "" && e.Node != t.node.Name {
			continue
		}
		if t.here[e.Addr] += by; t.here[e.Addr] == 0 {
			delete(t.here, e.Addr)
		}
	}
}

// Services are the keys of all services, and of all pods with host ports,
// sorted.
func (t *Tracker) Services() []Key {
	all := slices.AppendSeq(slices.Collect(maps.Keys(t.services)), maps.Keys(t.hostPods))
	slices.SortFunc(all, compareKeys)
	return all
}

// SetService adds or replaces a service. Besides the service itself, those are
// touched that gain or lose a front end by it (Resolve).
func (t *Tracker) SetService(s Service) []Key {
	if old, ok := t.services[s.Key]; ok && reflect.DeepEqual(old, s) {
		return nil
	}
	t.services[s.Key] = s
	return t.touched(s.Key, t.claims.set(s.Key, frontEnds(s)))
}

// DeleteService forgets a service; its slices stay known.
func (t *Tracker) DeleteService(k Key) []Key {
	if _, ok := t.services[k]; !ok {
		return nil
	}
	delete(t.services, k)
	return t.touched(k, t.claims.set(k, nil))
}

// SetSlice adds or replaces a slice.
func (t *Tracker) SetSlice(s EndpointSlice) []Key {
	old, known := t.slices[s.Key]
	if known && sameEndpoints(old, s) {
		t.slices[s.Key] = s
		return nil
	}
	was, is := owner(old), owner(s)
	t.slices[s.Key] = s
	t.count(old, -1)
	t.count(s, 1)
	t.unlink(was, s.Key)
	if is != (Key{}) {
		if t.byService[is] == nil {
			t.byService[is] = map[Key]bool{}
		}
		t.byService[is][s.Key] = true
	}
	return t.known(was, is)
}

// sameEndpoints compares all but the time of the change.
func sameEndpoints(a, b EndpointSlice) bool {
	a.Triggered = b.Triggered
	return reflect.DeepEqual(a, b)
}

// DeleteSlice forgets a slice.
func (t *Tracker) DeleteSlice(k Key) []Key {
	old := owner(t.slices[k])
	t.count(t.slices[k], -1)
	delete(t.slices, k)
	t.unlink(old, k)
	return t.known(old)
}

// SetNode says which node this is. A new name moves every service; a new zone
// only those with hints. Other fields of the node do not bear on endpoints.
func (t *Tracker) SetNode(n Node) []Key {
	old := t.node
	t.node = n
	switch {
	case n.Name != old.Name:
		clear(t.here)
		for _, s := range t.slices {
			t.count(s, 1)
		}
		return sorted(maps.Keys(t.services))
	case n.Zone != old.Zone:
		hinted := map[Key]bool{}
		for _, s := range t.slices {
			if slices.ContainsFunc(s.Endpoints, func(e Endpoint) bool { return len(e.HintZones) > 0 }) {
				hinted[owner(s)] = true
			}
		}
		return t.known(slices.Collect(maps.Keys(hinted))...)
	}
	return nil
}

// Node is the node as it was set last.
func (t *Tracker) Node() Node { return t.node }

// owner is the service of a slice; zero if it belongs to none.
func owner(s EndpointSlice) Key {
	if s.Service == "" || s.Headless || s.Family == OtherFamily {
		return Key{}
	}
	return Key{s.Namespace, s.Service}
}

func (t *Tracker) unlink(service, slice Key) {
	delete(t.byService[service], slice)
	if len(t.byService[service]) == 0 {
		delete(t.byService, service)
	}
}

// known leaves those that are services.
func (t *Tracker) known(keys ...Key) []Key {
	set := map[Key]bool{}
	for _, k := range keys {
		if _, ok := t.services[k]; ok {
			set[k] = true
		}
	}
	return sorted(maps.Keys(set))
}

func (t *Tracker) touched(k Key, others map[Key]bool) []Key {
	others[k] = true
	return sorted(maps.Keys(others))
}

func sorted(keys iter.Seq[Key]) []Key {
	return slices.SortedFunc(keys, compareKeys)
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
