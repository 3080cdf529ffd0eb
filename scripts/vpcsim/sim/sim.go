// Package sim runs a simulated EC2 and metadata service inside a test: no
// network namespaces, no root, no packets, but the same model, faults and
// delays as the vpcsim command. The unmodified AWS SDK talks to it.
//
// Either over loopback, at EC2URL and IMDSURL, or with Transport, which calls
// the handlers directly: in a testing/synctest bubble time then moves only when
// all wait.
package sim

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/admin"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/simulator"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// Credentials sign a node's requests.
type Credentials = vpc.Credentials

// Options configure Start.
type Options struct {
	// Topology in YAML; what it does not name takes its default: one VPC
	// 10.0.0.0/16, subnets a and b, the m5.large nodes n1 and n2, short
	// delays, the documented throttles. Load balancers need the fabric of the
	// vpcsim command and are left out.
	Topology string
	// Requests receives the request log as JSON lines; nil is nowhere.
	Requests io.Writer
	// Log receives what goes wrong inside the simulator; nil is nowhere.
	Log *slog.Logger
}

// Sim is a running simulator. Close it.
type Sim struct {
	inner   *simulator.Simulator
	control *control.Client
	servers []*http.Server
	ec2     string
	imds    map[string]string
}

// Start runs a simulator and serves it on loopback.
func Start(o Options) (*Sim, error) {
	s, err := New(o)
	if err != nil {
		return nil, err
	}
	if s.ec2, err = s.listen(s.inner.EC2); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	for _, n := range s.inner.Model.Topology().Nodes {
		if s.imds[n.Name], err = s.listen(s.inner.IMDS.ForNode(n.Name)); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// New makes a simulator that is reached only with Transport and Control.
func New(o Options) (*Sim, error) {
	topo, err := topology.Parse([]byte(o.Topology))
	if err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	inner, err := simulator.New(topo, o.Requests, log)
	if err != nil {
		return nil, err
	}
	return &Sim{inner: inner, control: control.New(direct{inner.Admin(admin.Fabric{})}), imds: map[string]string{}}, nil
}

func (s *Sim) listen(h http.Handler) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("opening a loopback port for the simulator: %w", err)
	}
	server := &http.Server{Handler: h, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	s.servers = append(s.servers, server)
	go func() { _ = server.Serve(l) }() // ends with Close
	return "http://" + l.Addr().String(), nil
}

// Close ends the servers and the state machines.
func (s *Sim) Close() error {
	var all []error
	for _, server := range s.servers {
		all = append(all, server.Close())
	}
	s.inner.Close()
	return errors.Join(all...)
}

// EC2URL is where the EC2 API is served (AWS_ENDPOINT_URL_EC2).
func (s *Sim) EC2URL() string { return s.ec2 }

// IMDSURL is where the metadata service of a node is served
// (AWS_EC2_METADATA_SERVICE_ENDPOINT); "" for an unknown node.
func (s *Sim) IMDSURL(node string) string { return s.imds[node] }

// Control speaks to the admin API.
func (s *Sim) Control() *control.Client { return s.control }

// Credentials are those of the node's role.
func (s *Sim) Credentials(node string) (Credentials, error) {
	i, err := s.inner.Model.Node(node)
	return i.Credentials, err
}

// Instance is a node's instance id, "" for an unknown node.
func (s *Sim) Instance(node string) string {
	i, err := s.inner.Model.Node(node)
	if err != nil {
		return ""
	}
	return i.ID
}

// Seed is the number that all random choices come from: print it when a test
// fails, and put it into the topology to see the same again.
func (s *Sim) Seed() uint64 { return s.inner.Model.Seed() }

// Transport reaches a node's services without a network: requests whose path
// begins with /latest are for its metadata service, all others for EC2.
func (s *Sim) Transport(node string) http.RoundTripper {
	metadata := s.inner.IMDS.ForNode(node)
	return direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/latest") {
			metadata.ServeHTTP(w, r)
		} else {
			s.inner.EC2.ServeHTTP(w, r)
		}
	})}
}
