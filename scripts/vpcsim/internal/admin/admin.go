// Package admin serves the simulator's admin API, whose client and values are
// package control. It changes the model at run time in the ways that a user of
// the EC2 API could not, and shows it as it is, without delays. Bad requests
// are refused with 400 and a control.Problem.
package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/imds"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/kubeapi"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// Fabric is what only those who carry packets know. A nil func knows nothing.
type Fabric struct {
	// Drops counts dropped packets per ENI and reason.
	Drops func() ([]control.Drop, error)
	// Node gives a node's network namespace and the environment that a
	// program needs there.
	Node func(name string) (namespace string, env map[string]string)
	// Balancers are the load balancers; nil refuses them.
	Balancers Balancers
	// ClusterEndpoint is where nodes reach the Kubernetes API.
	ClusterEndpoint string
}

type server struct {
	model    *vpc.Model
	faults   *fault.Engine
	requests *reqlog.Log
	imds     *imds.Server
	cluster  *kubeapi.Server
	fabric   Fabric
}

// New returns the handler of the admin API.
func New(m *vpc.Model, faults *fault.Engine, requests *reqlog.Log, metadata *imds.Server, cluster *kubeapi.Server, fabric Fabric) http.Handler {
	s := &server{m, faults, requests, metadata, cluster, fabric}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", handler(s.status))
	mux.Handle("GET /v1/faults", handler(func(*http.Request) (any, error) { return faults.List(), nil }))
	mux.Handle("POST /v1/faults", handler(s.addFaults))
	mux.Handle("DELETE /v1/faults", handler(func(r *http.Request) (any, error) { return nil, faults.Clear(r.URL.Query()["id"]...) }))
	mux.Handle("POST /v1/cidrs", handler(s.addCIDR))
	mux.Handle("POST /v1/subnets/egress", change(func(c control.SubnetChange) (any, error) {
		return nil, m.SetEgress(c.Subnet, vpc.Egress(c.Egress))
	}))
	mux.Handle("POST /v1/tenants/take", change(func(t control.Tenants) (any, error) { return m.TakeTenants(tenants(t)) }))
	mux.Handle("POST /v1/tenants/fragment", change(func(t control.Tenants) (any, error) { return m.Fragment(t.Subnet) }))
	mux.Handle("POST /v1/tenants/give", change(func(t control.Tenants) (any, error) { return m.GiveTenants(t.Subnet, t.Addresses) }))
	mux.Handle("POST /v1/nodes/terminate", change(func(node string) (any, error) { return nil, m.Terminate(node) }))
	mux.Handle("POST /v1/imds/drop-tokens", handler(func(*http.Request) (any, error) { metadata.DropTokens(); return nil, nil }))
	mux.Handle("GET /v1/calls", handler(func(*http.Request) (any, error) { return requests.Counts(), nil }))
	mux.Handle("GET /v1/requests", handler(func(*http.Request) (any, error) { return requests.Entries(), nil }))
	mux.Handle("GET /v1/drops", handler(s.drops))
	s.handleBalancers(mux)
	s.handleObjects(mux)
	return mux
}

// handler writes what it returns as JSON, and an error as a Problem.
type handler func(*http.Request) (any, error)

// ServeHTTP answers one request.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	out, err := h(r)
	status := http.StatusOK
	if err != nil {
		status, out = http.StatusBadRequest, control.Problem{Error: err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the client may be gone; nothing is left to do
}

// change makes a handler of what a body of one type asks for.
func change[T any](do func(T) (any, error)) handler {
	return func(r *http.Request) (any, error) {
		var in T
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&in); err != nil {
			return nil, fmt.Errorf("reading the request: %w", err)
		}
		return do(in)
	}
}

func (s *server) addFaults(r *http.Request) (any, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the fault rules: %w", err)
	}
	rules, err := fault.Parse(body)
	if err != nil {
		return nil, err
	}
	return s.faults.Add(rules...)
}

func (s *server) addCIDR(r *http.Request) (any, error) {
	var block netip.Prefix
	if err := json.NewDecoder(r.Body).Decode(&block); err != nil {
		return nil, fmt.Errorf("reading the block: write it like \"100.64.0.0/16\": %w", err)
	}
	return nil, s.model.AddCIDR(block)
}

func tenants(t control.Tenants) vpc.Tenants {
	out := vpc.Tenants{Subnet: t.Subnet, Addresses: t.Addresses, Pattern: t.Pattern, For: time.Duration(t.For)}
	if out.Pattern == "" {
		out.Pattern = topology.Scattered
	}
	return out
}

func (s *server) drops(*http.Request) (any, error) {
	if s.fabric.Drops == nil {
		return nil, errors.New("counting dropped packets: this simulator has no fabric")
	}
	return s.fabric.Drops()
}
