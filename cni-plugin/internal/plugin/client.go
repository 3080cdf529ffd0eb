package plugin

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/causeway-cni/causeway/cni-plugin/internal/unary"
	"github.com/causeway-cni/causeway/rpc"
)

// Methods of ipamd (rpc/service/service.proto), and of gRPC's health service.
const (
	methodAssign  = "/causeway.ipamd.v1.Ipamd/Assign"
	methodRelease = "/causeway.ipamd.v1.Ipamd/Release"
	methodList    = "/causeway.ipamd.v1.Ipamd/List"
	methodHealth  = "/grpc.health.v1.Health/Check"
)

// firstPause and longestPause are between tries to reach a daemon that is
// restarting; the socket is local, so it is looked for often.
const (
	firstPause   = 10 * time.Millisecond
	longestPause = 200 * time.Millisecond
)

// ipamd is the daemon behind a socket.
type ipamd struct{ unary.Client }

func daemon(socket string) ipamd {
	return ipamd{unary.Client{Socket: socket, Agent: "causeway-cni/" + rpc.Version}}
}

// patiently calls until there is an answer or ctx ends. A daemon that goes away
// in the middle is asked again, so the method must bear being called twice.
func (d ipamd) patiently(ctx context.Context, method string, in, out proto.Message) error {
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := d.Call(ctx, method, in, out)
		if status.Code(err) != codes.Unavailable || reasonOf(err) != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// assign asks for the pod's address. Assigning twice gives the same address.
func (d ipamd) assign(ctx context.Context, c call) (*rpc.Assignment, error) {
	var reply rpc.AssignReply
	err := d.patiently(ctx, methodAssign, &rpc.AssignRequest{
		Attachment: c.attachment, Pod: c.pod, Netns: c.netns, Client: rpc.Version, PortMappings: c.ports,
	}, &reply)
	return reply.GetAssignment(), err
}

// release gives an address back, once: a daemon that is away finds a note.
func (d ipamd) release(ctx context.Context, c call, reason string) (*rpc.Assignment, error) {
	var reply rpc.ReleaseReply
	err := d.Call(ctx, methodRelease, &rpc.ReleaseRequest{
		Attachment: c.attachment, Pod: c.pod, Reason: reason, Client: rpc.Version, Addresses: c.addresses(),
	}, &reply)
	return reply.GetAssignment(), err
}

func (d ipamd) list(ctx context.Context, network string) ([]*rpc.Assignment, error) {
	var reply rpc.ListReply
	err := d.patiently(ctx, methodList, &rpc.ListRequest{Network: network}, &reply)
	return reply.GetAssignments(), err
}

func (d ipamd) serving(ctx context.Context, service string) (bool, error) {
	var reply rpc.HealthReply
	err := d.patiently(ctx, methodHealth, &rpc.HealthRequest{Service: service}, &reply)
	return reply.GetStatus() == rpc.HealthReply_SERVING, err
}

// reasonOf is the cause that ipamd gave for a failure, if it gave one.
func reasonOf(err error) *rpc.Failure {
	for _, detail := range status.Convert(err).Details() {
		if f, ok := detail.(*rpc.Failure); ok {
			return f
		}
	}
	return nil
}
