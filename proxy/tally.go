package proxy

import "github.com/causeway-cni/causeway/proxy/service"

// terseFrom is the number of endpoints from which their comments are left out,
// as kube-proxy does. They come back at a tenth less, so that a cluster at the
// border is not written anew again and again.
const terseFrom = 1001

// tally counts over all services.
type tally struct {
	of     map[service.Key]Tally
	total  Tally
	terse  bool // so many endpoints that their comments are left out
	turned bool // terse changed since rules were written
}

// Tally is what the services come to.
type Tally struct {
	// Endpoints are counted once for each service-port.
	Endpoints int
	// NoLocal are service-ports of which no endpoint is on this node though
	// their policy wants one, by policy and family.
	NoLocalInternal, NoLocalExternal [2]int // IPv4, IPv6
}

func (t *tally) set(k service.Key, ports []service.ServicePort) {
	if t.of == nil {
		t.of = map[service.Key]Tally{}
	}
	t.total = t.total.plus(t.of[k], -1)
	delete(t.of, k)
	var now Tally
	for _, p := range ports {
		now.add(p)
	}
	if now != (Tally{}) {
		t.of[k] = now
	}
	t.total = t.total.plus(now, 1)
}

func (t *tally) turn() {
	limit := terseFrom
	if t.terse {
		limit = terseFrom * 9 / 10
	}
	if terse := t.total.Endpoints >= limit; terse != t.terse {
		t.terse, t.turned = terse, true
	}
}

func (t *Tally) add(p service.ServicePort) {
	t.Endpoints += max(len(p.Cluster), len(p.LocalOnly))
	if p.HostPort.Port != 0 || !p.Anywhere || len(p.LocalOnly) > 0 {
		return
	}
	family := 0
	if p.Family == service.IPv6 {
		family = 1
	}
	if p.Internal == service.Local {
		t.NoLocalInternal[family]++
	}
	if p.External == service.Local && p.ExternallyAccessible() {
		t.NoLocalExternal[family]++
	}
}

func (t Tally) plus(o Tally, sign int) Tally {
	t.Endpoints += sign * o.Endpoints
	for i := range 2 {
		t.NoLocalInternal[i] += sign * o.NoLocalInternal[i]
		t.NoLocalExternal[i] += sign * o.NoLocalExternal[i]
	}
	return t
}
