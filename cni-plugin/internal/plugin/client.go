package plugin

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/rpc"
)

// dial prepares a connection to ipamd; nothing is sent before the first call.
// The socket is local, so a daemon that is restarting is looked for often.
func dial(socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("unix://"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 250 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
}

// assign asks for the pod's address until there is an answer or ctx ends. A
// daemon that goes away in the middle is asked again: assigning twice gives
// the same address.
func assign(ctx context.Context, client rpc.IpamdClient, c call) (*rpc.Assignment, error) {
	request := &rpc.AssignRequest{Attachment: c.attachment, Pod: c.pod, Netns: c.netns, Client: rpc.Version}
	for {
		reply, err := client.Assign(ctx, request, grpc.WaitForReady(true))
		if err == nil {
			return reply.GetAssignment(), nil
		}
		if status.Code(err) != codes.Unavailable || reasonOf(err) != nil || ctx.Err() != nil {
			return nil, err
		}
	}
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
