// Package server is the gRPC face of ipamd: it validates requests, translates
// them, and calls the allocator. It also serves the standard health service,
// under the empty name (addresses can be assigned) and rpc.HealthDatapath.
//
// It listens before the daemon knows its ENIs: a call that comes too early
// waits, within its deadline, and then says so.
package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/hostnet"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/service"
)

// Book is what the server needs of the allocator.
type Book interface {
	Assign(context.Context, allocator.Request) (pool.Assignment, error)
	Release(ctx context.Context, key pool.Key, link string, addresses []netip.Addr, reason string) (pool.Assignment, bool, error)
	Assignments() []pool.Assignment
}

// Observer counts calls.
type Observer interface {
	// Request is told of every call: the CNI verb that it serves, how long it
	// took, and its error.
	Request(verb string, took time.Duration, err error)
	// Release is told why an address was released, in one of few words.
	Release(reason string)
}

// Settings of the answers.
type Settings struct {
	PodMTU     int
	VethPrefix string
	// HostPorts says that the daemon programs host ports: it does as long as it
	// programs services. Pods that ask for one are refused without.
	HostPorts bool
	// Publish, if set, returns when the host ports of an assignment lead to it,
	// or when ctx ends.
	Publish func(context.Context, pool.Assignment) error
	// Refused, if set, is told of each pod that got no address, and why.
	Refused func(pool.Pod, rpc.Reason, string)
	// Starting, if set, says what is waited for before there is a book.
	Starting func() (rpc.Reason, string)
	// Log is told of host ports that come late; nil discards.
	Log *slog.Logger
}

// Server answers the plugin. It implements service.IpamdServer.
type Server struct {
	service.UnimplementedIpamdServer
	settings Settings
	observe  Observer
	health   *health.Server
	book     Book
	ready    chan struct{}
	stopping chan struct{}
}

// New returns a server that has no book yet.
func New(s Settings, observe Observer) *Server {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	h := health.NewServer()
	h.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	h.SetServingStatus(rpc.HealthDatapath, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	return &Server{settings: s, observe: observe, health: h, ready: make(chan struct{}), stopping: make(chan struct{})}
}

// Open gives the server its book, once: calls that waited for it go on.
func (s *Server) Open(b Book) {
	s.book = b
	close(s.ready)
}

// SetReady says whether addresses can be assigned.
func (s *Server) SetReady(ok bool) { s.setHealth("", ok) }

// SetDatapath says whether the node's routes, rules and NAT are in place.
func (s *Server) SetDatapath(ok bool) { s.setHealth(rpc.HealthDatapath, ok) }

func (s *Server) setHealth(service string, ok bool) {
	status := grpc_health_v1.HealthCheckResponse_NOT_SERVING
	if ok {
		status = grpc_health_v1.HealthCheckResponse_SERVING
	}
	s.health.SetServingStatus(service, status)
}

// Listen opens the socket, mode 0600. A socket file that an earlier daemon
// left is replaced, by rename, so that there is no moment without one.
func Listen(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	listener, err := net.Listen("unix", fresh)
	if err != nil {
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	// The file is the next daemon's by the time this one ends.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	err = os.Chmod(fresh, 0o600)
	if err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("opening the socket: %w", err)
	}
	return listener, nil
}

// window is the flow-control window, fixed: estimating one costs pings.
const window = 1 << 20

// stopTimeout is how long calls in flight may take when the daemon stops.
const stopTimeout = 5 * time.Second

// Run serves until ctx ends, then lets the calls in flight finish.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	// Each call comes on a connection of its own, with small messages.
	g := grpc.NewServer(grpc.ReadBufferSize(4<<10), grpc.WriteBufferSize(4<<10),
		grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window))
	service.RegisterIpamdServer(g, s)
	grpc_health_v1.RegisterHealthServer(g, s.health)
	stop := context.AfterFunc(ctx, func() {
		s.health.Shutdown()
		close(s.stopping)
		force := time.AfterFunc(stopTimeout, g.Stop)
		defer force.Stop()
		g.GracefulStop()
	})
	defer stop()
	if err := g.Serve(listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return nil
}

// await waits for the book.
func (s *Server) await(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	select {
	case <-s.ready:
		return nil
	case <-s.stopping:
		return status.Error(codes.Unavailable, "ipamd is stopping") // the plugin asks the next one
	case <-ctx.Done():
		reason, message := rpc.Reason_REASON_STARTING, "ipamd is starting: it does not know the node's ENIs yet; its log says what it waits for"
		if s.settings.Starting != nil {
			reason, message = s.settings.Starting()
		}
		return failure(codes.Unavailable, reason, message)
	}
}

// startPatience is how long a call waits for a daemon that starts.
const startPatience = 10 * time.Second

// Assign implements service.IpamdServer.
func (s *Server) Assign(ctx context.Context, r *rpc.AssignRequest) (reply *rpc.AssignReply, err error) {
	began := time.Now()
	defer func() {
		s.observe.Request("ADD", time.Since(began), err)
		if reason, message, ok := causeOf(err); ok && s.settings.Refused != nil {
			s.settings.Refused(podOf(r.GetPod()), reason, message)
		}
	}()
	key, err := keyOf(r.GetAttachment())
	if err != nil {
		return nil, err
	}
	ports, err := s.hostPortsOf(r.GetPortMappings())
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	pod := podOf(r.GetPod())
	a, err := s.book.Assign(ctx, allocator.Request{
		Key: key, Pod: pod, Netns: r.GetNetns(), Link: s.link(key, pod), MTU: s.settings.PodMTU, Ports: ports,
	})
	if err != nil {
		return nil, statusOf(err)
	}
	s.publish(ctx, a)
	return &rpc.AssignReply{Assignment: s.answer(a)}, nil
}

// Release implements service.IpamdServer.
func (s *Server) Release(ctx context.Context, r *rpc.ReleaseRequest) (reply *rpc.ReleaseReply, err error) {
	began := time.Now()
	defer func() { s.observe.Request("DEL", time.Since(began), err) }()
	key, err := keyOf(r.GetAttachment())
	if err != nil {
		return nil, err
	}
	addresses, err := addressesOf(r.GetAddresses())
	if err != nil {
		return nil, err
	}
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	s.observe.Release(known(r.GetReason()))
	a, held, err := s.book.Release(ctx, key, s.link(key, podOf(r.GetPod())), addresses, r.GetReason())
	if err != nil {
		return nil, statusOf(err)
	}
	if !held {
		return &rpc.ReleaseReply{}, nil
	}
	answer := s.answer(a)
	for _, other := range s.book.Assignments() {
		answer.Shared = answer.Shared || other.Link == a.Link
	}
	return &rpc.ReleaseReply{Assignment: answer}, nil
}

// List implements service.IpamdServer.
func (s *Server) List(ctx context.Context, r *rpc.ListRequest) (*rpc.ListReply, error) {
	if err := s.await(ctx); err != nil {
		return nil, err
	}
	reply := &rpc.ListReply{}
	for _, a := range s.book.Assignments() {
		if r.GetNetwork() == "" || r.GetNetwork() == a.Key.Network {
			reply.Assignments = append(reply.Assignments, s.answer(a))
		}
	}
	return reply, nil
}

func (s *Server) answer(a pool.Assignment) *rpc.Assignment {
	mtu := a.MTU
	if mtu == 0 { // adopted, or recorded by a daemon that did not
		mtu = s.settings.PodMTU
	}
	answer := &rpc.Assignment{
		Attachment:    &rpc.Attachment{Network: a.Key.Network, ContainerId: a.Key.ContainerID, Interface: a.Key.Interface},
		Pod:           &rpc.Pod{Namespace: a.Pod.Namespace, Name: a.Pod.Name, Uid: a.Pod.UID},
		Netns:         a.Netns,
		HostInterface: a.Link,
		Mtu:           uint32(mtu),
		PortMappings:  mappingsOf(a.Ports),
	}
	for _, ip := range a.Addresses() {
		answer.Addresses = append(answer.Addresses, &rpc.Address{
			Ip: ip.String(), Gateway: podnet.Gateway(ip).String(), RouteTable: uint32(hostnet.Table(a.Device)),
			Eni: string(a.ENI), DeviceNumber: uint32(a.Device),
		})
	}
	return answer
}
