package admin

import (
	"context"
	"errors"
	"net/http"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

// Balancers are load balancers that carry packets.
type Balancers interface {
	Create(control.LoadBalancer) (control.BalancerStatus, error)
	Modify(context.Context, control.LoadBalancer) (control.BalancerStatus, error)
	Delete(name string) error
	List() []control.BalancerStatus
	Register(control.TargetChange) error
	Deregister(control.TargetChange) error
	Health(ctx context.Context, name string) ([]control.TargetHealth, error)
}

func (s *server) handleBalancers(mux *http.ServeMux) {
	b := s.fabric.Balancers
	if b == nil {
		mux.Handle("/v1/balancers", handler(noBalancers))
		mux.Handle("/v1/balancers/", handler(noBalancers))
		return
	}
	mux.Handle("GET /v1/balancers", handler(func(*http.Request) (any, error) { return b.List(), nil }))
	mux.Handle("POST /v1/balancers", change(func(c control.LoadBalancer) (any, error) { return b.Create(c) }))
	mux.Handle("PUT /v1/balancers", handler(func(r *http.Request) (any, error) {
		return change(func(c control.LoadBalancer) (any, error) { return b.Modify(r.Context(), c) })(r)
	}))
	mux.Handle("DELETE /v1/balancers", handler(func(r *http.Request) (any, error) { return nil, b.Delete(r.URL.Query().Get("name")) }))
	mux.Handle("POST /v1/balancers/register", change(func(c control.TargetChange) (any, error) { return nil, b.Register(c) }))
	mux.Handle("POST /v1/balancers/deregister", change(func(c control.TargetChange) (any, error) { return nil, b.Deregister(c) }))
	mux.Handle("GET /v1/balancers/health", handler(func(r *http.Request) (any, error) {
		return b.Health(r.Context(), r.URL.Query().Get("name"))
	}))
}

func noBalancers(*http.Request) (any, error) {
	return nil, errors.New("load balancers carry packets: this simulator has no fabric")
}
