package ec2

import (
	"context"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/middleware"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// record tells a Recorder of each attempt, from signing to decoding.
func record(r Recorder) func(*middleware.Stack) error {
	attempt := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		start := time.Now()
		out, metadata, err := next.HandleFinalize(ctx, in)
		r.Call(awsmiddleware.GetOperationName(ctx), code(err), time.Since(start))
		return out, metadata, err
	}
	return func(s *middleware.Stack) error {
		return s.Finalize.Insert(middleware.FinalizeMiddlewareFunc("RecordAttempt", attempt), "Retry", middleware.After)
	}
}

// wire follows one call: whether an attempt of it left the machine and got no
// verdict of EC2, so that the call may have been carried out. It looks only at
// the EC2 request itself, not at those that fetch credentials for it.
type wire struct{ doubt bool }

// once is an option for a call that acts twice when it is sent twice.
func once(o *ec2.Options) { o.RetryMaxAttempts = 1 }

func (w *wire) follow(o *ec2.Options) {
	attempt := func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		var sent atomic.Bool
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
		out, metadata, err := next.HandleDeserialize(ctx, in)
		if err != nil && sent.Load() && classify(err, false) == pool.Unavailable {
			w.doubt = true
		}
		return out, metadata, err
	}
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("FollowRequest", attempt), middleware.Before)
	})
}
