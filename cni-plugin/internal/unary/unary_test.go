package unary

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/service"
)

const assign = "/causeway.ipamd.v1.Ipamd/Assign"

// answers is gRPC's own server with answers of our choice.
type answers struct {
	service.UnimplementedIpamdServer
	assign func(context.Context, *rpc.AssignRequest) (*rpc.AssignReply, error)
	list   *rpc.ListReply
}

func (a *answers) Assign(ctx context.Context, r *rpc.AssignRequest) (*rpc.AssignReply, error) {
	return a.assign(ctx, r)
}

func (a *answers) List(context.Context, *rpc.ListRequest) (*rpc.ListReply, error) { return a.list, nil }

func serve(t *testing.T, a *answers) Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	service.RegisterIpamdServer(server, a)
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return Client{Socket: path, Agent: "test"}
}

func TestCallOfARealServer(t *testing.T) {
	a := &answers{assign: func(ctx context.Context, r *rpc.AssignRequest) (*rpc.AssignReply, error) {
		if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Minute {
			return nil, status.Errorf(codes.Internal, "deadline %v, %v", deadline, ok)
		}
		return &rpc.AssignReply{Assignment: &rpc.Assignment{Attachment: r.GetAttachment(), HostInterface: "eni1"}}, nil
	}}
	client := serve(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	in := &rpc.AssignRequest{Attachment: &rpc.Attachment{ContainerId: "c1", Interface: "eth0"}}
	var out rpc.AssignReply
	if err := client.Call(ctx, assign, in, &out); err != nil {
		t.Fatal(err)
	}
	want := &rpc.AssignReply{Assignment: &rpc.Assignment{Attachment: in.GetAttachment(), HostInterface: "eni1"}}
	if diff := cmp.Diff(want, &out, protocmp.Transform()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var healthy rpc.HealthReply
	if err := client.Call(ctx, "/grpc.health.v1.Health/Check", &rpc.HealthRequest{}, &healthy); err != nil || healthy.GetStatus() != rpc.HealthReply_SERVING {
		t.Errorf("health %v, %v", &healthy, err)
	}
}

// An answer of many frames, beyond every default window of HTTP/2.
func TestALargeAnswer(t *testing.T) {
	a := &answers{list: &rpc.ListReply{}}
	for i := range 5000 {
		a.list.Assignments = append(a.list.Assignments, &rpc.Assignment{Attachment: &rpc.Attachment{ContainerId: fmt.Sprintf("%064d", i)}, Netns: strings.Repeat("n", 100)})
	}
	var out rpc.ListReply
	if err := serve(t, a).Call(t.Context(), "/causeway.ipamd.v1.Ipamd/List", &rpc.ListRequest{}, &out); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(a.list, &out) {
		t.Error("the answer is not what was sent")
	}
}

func TestStatuses(t *testing.T) {
	rich, err := status.New(codes.ResourceExhausted, "sübnet full: 100 %\n").WithDetails(&rpc.Failure{Reason: rpc.Reason_REASON_SUBNET_FULL, Message: "because"})
	if err != nil {
		t.Fatal(err)
	}
	blocked := make(chan struct{})
	defer close(blocked)
	a := &answers{}
	client := serve(t, a)
	for _, c := range []struct {
		name   string
		answer error
		wait   time.Duration
		code   codes.Code
	}{
		{"plain", status.Error(codes.NotFound, "nö %41"), time.Minute, codes.NotFound},
		{"with details", rich.Err(), time.Minute, codes.ResourceExhausted},
		{"no answer in time", nil, 50 * time.Millisecond, codes.DeadlineExceeded},
	} {
		a.assign = func(ctx context.Context, _ *rpc.AssignRequest) (*rpc.AssignReply, error) {
			if c.answer == nil {
				select {
				case <-blocked:
				case <-ctx.Done():
					return nil, status.FromContextError(ctx.Err()).Err()
				}
			}
			return nil, c.answer
		}
		ctx, cancel := context.WithTimeout(t.Context(), c.wait)
		err := client.Call(ctx, assign, &rpc.AssignRequest{}, &rpc.AssignReply{})
		cancel()
		got := status.Convert(err)
		if got.Code() != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
		if want := status.Convert(c.answer); c.answer != nil {
			if diff := cmp.Diff(want.Proto(), got.Proto(), protocmp.Transform()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.name, diff)
			}
		}
	}
	if err := client.Call(t.Context(), "/causeway.ipamd.v1.Ipamd/Nothing", &rpc.ListRequest{}, &rpc.ListReply{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := client.Call(ctx, assign, &rpc.AssignRequest{}, &rpc.AssignReply{}); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	client.Socket += "-none"
	if err := client.Call(t.Context(), assign, &rpc.AssignRequest{}, &rpc.AssignReply{}); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), client.Socket) {
		t.Errorf("no server: %v", err)
	}
	if err := client.Call(t.Context(), assign, &rpc.AssignRequest{Netns: strings.Repeat("x", 20000)}, &rpc.AssignReply{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a request that is too large: %v", err)
	}
}

// A server that dies, or speaks something else, is unavailable.
func TestBrokenServers(t *testing.T) {
	for name, text := range map[string]string{"closes": "", "speaks HTTP/1": "HTTP/1.1 400 Bad Request\r\n\r\n", "stops in a frame": "\x00\x00\x10\x04\x00\x00\x00\x00\x00half"} {
		path := filepath.Join(t.TempDir(), "s")
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			io.ReadFull(conn, make([]byte, len(preface)))
			io.WriteString(conn, text)
			conn.Close()
		}()
		err = Client{Socket: path}.Call(t.Context(), assign, &rpc.AssignRequest{}, &rpc.AssignReply{})
		listener.Close()
		if status.Code(err) != codes.Unavailable {
			t.Errorf("a server that %s: %v", name, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	var good bytes.Buffer
	frame(&good, frameSettings, 0, 0, nil)
	var block bytes.Buffer
	hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: "grpc-status", Value: "0"})
	frame(&good, frameHeaders, flagEndHeaders|flagEndStream, stream, block.Bytes())
	f.Add(good.Bytes())
	f.Add([]byte("\x00\x00\x01\x01\x0d\x00\x00\x00\x01\xff"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		in := bytes.NewReader(wire)
		a := &answer{fields: hpack.NewDecoder(4096, nil)}
		for !a.ended {
			if a.take(in, io.Discard) != nil {
				return
			}
		}
		if a.status() == nil {
			_ = a.message(&rpc.ListReply{})
		}
	})
}
