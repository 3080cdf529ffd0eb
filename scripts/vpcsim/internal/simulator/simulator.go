// Package simulator joins the parts of one simulated VPC: the model, the EC2
// endpoint, the metadata service, the cluster's Kubernetes API, fault rules, the
// request log and the admin API. It opens no socket: whoever assembles it mounts the handlers.
package simulator

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/admin"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/ec2api"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/imds"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/kubeapi"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// Simulator is one simulated VPC.
type Simulator struct {
	Model    *vpc.Model
	Faults   *fault.Engine
	Requests *reqlog.Log
	EC2      http.Handler
	IMDS     *imds.Server // one for all nodes; mount with imds.ConnContext
	Cluster  *kubeapi.Server
	// Kubernetes is Cluster as nodes and pods reach it.
	Kubernetes http.Handler
}

// New builds the VPC of a valid topology. The request log goes to requests as
// JSON lines, or nowhere if it is nil.
func New(topo topology.Topology, requests io.Writer, log *slog.Logger) (*Simulator, error) {
	model, err := vpc.New(topo)
	if err != nil {
		return nil, fmt.Errorf("building the VPC: %w", err)
	}
	s := &Simulator{Model: model, Faults: fault.NewEngine(model.Seed()), Requests: reqlog.New(requests, log)}
	if _, err := s.Faults.Add(topo.Faults...); err != nil {
		return nil, fmt.Errorf("loading the topology's faults: %w", err)
	}
	s.EC2 = ec2api.New(model, s.Faults, s.Requests, log)
	s.IMDS = imds.New(model, s.Faults, s.Requests, log)
	s.Cluster = kubeapi.New(log)
	s.Kubernetes = kubeapi.Network{API: s.Cluster, Faults: s.Faults, Requests: s.Requests, Identify: model.Identify}
	return s, nil
}

// Admin returns the handler of the admin API. The fabric, if there is one,
// tells what only it knows.
func (s *Simulator) Admin(f admin.Fabric) http.Handler {
	return admin.New(s.Model, s.Faults, s.Requests, s.IMDS, s.Cluster, f)
}

// Close stops the state machines.
func (s *Simulator) Close() { s.Model.Close() }
