package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/service"
)

// fakeBook holds what it was given.
type fakeBook struct {
	mu   sync.Mutex
	held map[pool.Key]pool.Assignment
	err  error
}

func (b *fakeBook) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *fakeBook) Assign(_ context.Context, r allocator.Request) (pool.Assignment, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return pool.Assignment{}, b.err
	}
	a := pool.Assignment{Key: r.Key, Pod: r.Pod, Netns: r.Netns, Link: r.Link, MTU: r.MTU, Ports: r.Ports, Address: netip.MustParseAddr("10.0.0.5"), ENI: "eni-1", Device: 1}
	b.held[r.Key] = a
	return a, nil
}

func (b *fakeBook) Release(_ context.Context, key pool.Key, _ string, _ []netip.Addr, _ string) (pool.Assignment, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	a, held := b.held[key]
	delete(b.held, key)
	return a, held, b.err
}

func (b *fakeBook) Assignments() []pool.Assignment {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []pool.Assignment
	for _, a := range b.held {
		out = append(out, a)
	}
	return out
}

type noMetrics struct{}

func (noMetrics) Request(string, time.Duration, error) {}
func (noMetrics) Release(string)                       {}

// serve runs a server on a socket and returns a client.
func serve(t *testing.T) (*Server, *fakeBook, *grpc.ClientConn) {
	t.Helper()
	return serveWith(t, Settings{})
}

func serveWith(t *testing.T, settings Settings) (*Server, *fakeBook, *grpc.ClientConn) {
	t.Helper()
	settings.PodMTU, settings.VethPrefix = 9001, "eni"
	path := filepath.Join(t.TempDir(), "ipamd.sock")
	listener, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	s := New(settings, noMetrics{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return s, &fakeBook{held: map[pool.Key]pool.Assignment{}}, conn
}

func attachment(id string) *rpc.Attachment {
	return &rpc.Attachment{Network: "aws-cni", ContainerId: id, Interface: "eth0"}
}

func reason(t *testing.T, err error) (codes.Code, rpc.Reason, string) {
	t.Helper()
	for _, d := range status.Convert(err).Details() {
		if f, ok := d.(*rpc.Failure); ok {
			return status.Code(err), f.GetReason(), f.GetMessage()
		}
	}
	t.Fatalf("error %v carries no Failure", err)
	return 0, 0, ""
}

func TestAssignAnswersWithAllThatThePluginNeeds(t *testing.T) {
	s, book, conn := serve(t)
	s.Open(book)
	client := service.NewIpamdClient(conn)
	pod := &rpc.Pod{Namespace: "kube-system", Name: "coredns", Uid: "u"}
	got, err := client.Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c1"), Pod: pod, Netns: "/run/netns/x"})
	if err != nil {
		t.Fatal(err)
	}
	want := &rpc.AssignReply{Assignment: &rpc.Assignment{
		Attachment: attachment("c1"), Pod: pod, Netns: "/run/netns/x", HostInterface: "eni96971f43451", Mtu: 9001,
		Addresses: []*rpc.Address{{Ip: "10.0.0.5", Gateway: "169.254.1.1", RouteTable: 2, Eni: "eni-1", DeviceNumber: 1}},
	}}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A newer sandbox of the same pod has the same link.
	if _, err := client.Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c2"), Pod: pod}); err != nil {
		t.Fatal(err)
	}
	released, err := client.Release(t.Context(), &rpc.ReleaseRequest{Attachment: attachment("c1"), Pod: pod})
	if err != nil || !released.GetAssignment().GetShared() {
		t.Errorf("released %v, %v; want it marked as shared", released, err)
	}
	again, err := client.Release(t.Context(), &rpc.ReleaseRequest{Attachment: attachment("c1"), Pod: pod})
	if err != nil || again.GetAssignment() != nil {
		t.Errorf("a second release: %v, %v", again, err)
	}
	list, err := client.List(t.Context(), &rpc.ListRequest{Network: "other"})
	if err != nil || len(list.GetAssignments()) != 0 {
		t.Errorf("list of another network: %v, %v", list, err)
	}
}

func TestBothAddressesOfADualStackPod(t *testing.T) {
	s, book, conn := serve(t)
	a := pool.Assignment{Key: pool.Key{Network: "aws-cni", ContainerID: "c1", Interface: "eth0"}, ENI: "eni-1", Device: 1,
		Address: netip.MustParseAddr("10.0.0.5"), Second: netip.MustParseAddr("2001:db8::5")}
	book.held[a.Key] = a
	s.Open(book)
	got, err := service.NewIpamdClient(conn).List(t.Context(), &rpc.ListRequest{})
	if err != nil {
		t.Fatal(err)
	}
	want := []*rpc.Address{
		{Ip: "10.0.0.5", Gateway: "169.254.1.1", RouteTable: 2, Eni: "eni-1", DeviceNumber: 1},
		{Ip: "2001:db8::5", Gateway: "fe80::1", RouteTable: 2, Eni: "eni-1", DeviceNumber: 1},
	}
	if diff := cmp.Diff(want, got.GetAssignments()[0].GetAddresses(), protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFailuresCarryTheirReason(t *testing.T) {
	s, book, conn := serve(t)
	client := service.NewIpamdClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := client.Assign(ctx, &rpc.AssignRequest{Attachment: attachment("c1")}); status.Code(err) != codes.DeadlineExceeded && status.Code(err) != codes.Unavailable {
		t.Errorf("before the start: %v", err)
	}
	s.Open(book)
	for cause, want := range map[*pool.Refusal]rpc.Reason{
		{Cause: pool.Starting}:                             rpc.Reason_REASON_STARTING,
		{Cause: pool.Coming}:                               rpc.Reason_REASON_ADDRESSES_COMING,
		{Cause: pool.CoolingDown}:                          rpc.Reason_REASON_ADDRESSES_COOLING,
		{Cause: pool.TooManyPods}:                          rpc.Reason_REASON_TOO_MANY_PODS,
		{Cause: pool.DeviceLate}:                           rpc.Reason_REASON_DEVICE_LATE,
		{Cause: pool.CallFailed, Class: pool.SubnetFull}:   rpc.Reason_REASON_SUBNET_FULL,
		{Cause: pool.CallFailed, Class: pool.Throttled}:    rpc.Reason_REASON_THROTTLED,
		{Cause: pool.CallFailed, Class: pool.Unauthorized}: rpc.Reason_REASON_UNAUTHORIZED,
		{Cause: pool.CallFailed, Class: pool.Ambiguous}:    rpc.Reason_REASON_EC2_UNAVAILABLE,
	} {
		cause.Message = "because"
		book.fail(cause)
		_, err := client.Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c1")})
		if code, got, text := reason(t, err); code != codes.ResourceExhausted || got != want || text != "because" {
			t.Errorf("%+v: %s %s %q, want %s", cause, code, got, text, want)
		}
	}
	_, err := client.Release(t.Context(), &rpc.ReleaseRequest{Attachment: attachment("c1"), Addresses: []string{"10.0.0.5/32"}})
	if code, got, text := reason(t, err); code != codes.InvalidArgument || got != rpc.Reason_REASON_INVALID_REQUEST || !strings.Contains(text, "10.0.0.5/32") {
		t.Errorf("%s %s %q", code, got, text)
	}
	book.fail(errors.New("disk full"))
	_, err = client.Assign(t.Context(), &rpc.AssignRequest{Attachment: attachment("c1")})
	if _, got, text := reason(t, err); got != rpc.Reason_REASON_STATE_NOT_WRITTEN || text != "disk full" {
		t.Errorf("%s %q", got, text)
	}
	_, err = client.Assign(t.Context(), &rpc.AssignRequest{Attachment: &rpc.Attachment{ContainerId: "c1"}})
	if code, got, text := reason(t, err); code != codes.InvalidArgument || got != rpc.Reason_REASON_INVALID_REQUEST || !strings.Contains(text, "attachment.interface") {
		t.Errorf("%s %s %q", code, got, text)
	}
}

// A plugin of a later version sends fields that this daemon does not know, and
// one of an earlier version lacks some that it does.
func TestAdjacentVersionsUnderstandEachOther(t *testing.T) {
	s, book, conn := serve(t)
	s.Open(book)
	later := &rpc.AssignRequest{Attachment: attachment("c1"), Client: "v99"}
	later.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 4000, protowire.BytesType), "from the future"))
	if _, err := service.NewIpamdClient(conn).Assign(t.Context(), later); err != nil {
		t.Errorf("a later plugin: %v", err)
	}
	earlier := &rpc.AssignRequest{Attachment: attachment("c2")}
	got, err := service.NewIpamdClient(conn).Assign(t.Context(), earlier)
	if err != nil || got.GetAssignment().GetHostInterface() == "" {
		t.Errorf("an earlier plugin: %v, %v", got, err)
	}
	wire, err := proto.Marshal(&rpc.Failure{Reason: rpc.Reason(77), Message: "new cause"})
	if err != nil {
		t.Fatal(err)
	}
	var f rpc.Failure
	if err := proto.Unmarshal(wire, &f); err != nil || f.GetReason() != 77 || f.GetMessage() != "new cause" {
		t.Errorf("an unknown reason: %v, %v", &f, err)
	}
}

func TestSocketAndHealth(t *testing.T) {
	s, _, conn := serve(t)
	path := strings.TrimPrefix(conn.Target(), "unix://")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	second, err := Listen(path) // a daemon that starts anew replaces the file
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := net.Dial("unix", path); err == nil {
		t.Error("the old socket is still in place")
	}
	check := func(service string, want grpc_health_v1.HealthCheckResponse_ServingStatus) {
		t.Helper()
		got, err := s.health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if err != nil || got.GetStatus() != want {
			t.Errorf("health of %q: %v, %v", service, got, err)
		}
	}
	check("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	s.SetReady(true)
	check("", grpc_health_v1.HealthCheckResponse_SERVING)
	check(rpc.HealthDatapath, grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	s.SetDatapath(true)
	check(rpc.HealthDatapath, grpc_health_v1.HealthCheckResponse_SERVING)
}
