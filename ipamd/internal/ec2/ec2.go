// Package ec2 is the doorway to the EC2 API and to the instance metadata
// service: it describes this node's network interfaces as pool.ENI, carries
// out pool.Actions one call each, and gives every failure its pool.Class.
//
// It decides nothing: what to create, assign or delete is the pool's plan, when
// to try again is the loop's, and each attempt waits until the budget has a
// token for it. Two things it sees to itself. A call that
// would act twice when sent twice (AssignPrivateIpAddresses,
// AssignIpv6Addresses, AttachNetworkInterface) is sent once. And a mutating call whose answer did
// not arrive is reported as pool.Ambiguous, never as failed, unless nothing of
// it left the machine.
//
// EC2 is the truth about ENIs. The metadata service says who we are, and is a
// hint where EC2 may not be asked.
package ec2

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go/logging"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// A call that may be sent again is sent three times, with short pauses, up to
// 200 and up to 400 ms: pods wait for it. Longer pauses are the pool's.
const (
	attempts = 3
	backoff  = 100 * time.Millisecond
)

func pause(attempt int, _ error) (time.Duration, error) { return rand.N(backoff << attempt), nil }

// Settings of a Cloud.
type Settings struct {
	Endpoint    string            // URL of the EC2 API; empty is the region's
	HTTPTimeout time.Duration     // of one HTTP exchange; 0 is none
	ClusterName string            // tagged on ENIs if set
	ExtraTags   map[string]string // put on ENIs that are created, besides our own
	Recorder    Recorder          // told of every attempt; may be nil
	Budget      *budget.Budget    // of calls; nil is one for a node among a fleet
	Log         *slog.Logger
}

// Recorder counts calls of the EC2 API.
type Recorder interface {
	// Call is told of one attempt of an operation such as
	// "AttachNetworkInterface": the error code, empty after success, and how
	// long it took.
	Call(operation, code string, took time.Duration)
}

// Cloud is EC2 as one instance sees it. Its methods may be called at the same
// time.
type Cloud struct {
	settings Settings
	identity Identity
	api      *ec2.Client
	metadata *imds.Client
	gate     *gate

	mu       sync.Mutex
	subnets  map[pool.SubnetID]netip.Prefix // a subnet's block never changes
	tracking *types.ConnectionTrackingSpecificationRequest
	asked    bool // EC2 answered DescribeVpcs
}

// New returns a Cloud with the SDK's default chain of credentials. It reads
// the SDK's environment and files, and calls nothing.
func New(ctx context.Context, s Settings, id Identity) (*Cloud, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	cfg, err := config.LoadDefaultConfig(ctx,
		config.WithRegion(id.Region),
		config.WithLogger(sdkLog(s.Log)),
		config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(s.HTTPTimeout)))
	if err != nil {
		return nil, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	gate := newGate(s.Budget)
	api := ec2.NewFromConfig(cfg, func(o *ec2.Options) {
		if s.Endpoint != "" {
			o.BaseEndpoint = aws.String(s.Endpoint)
		}
		o.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts, r.Backoff = attempts, retry.BackoffDelayerFunc(pause)
		})
		if s.Recorder != nil {
			o.APIOptions = append(o.APIOptions, record(s.Recorder))
		}
		o.APIOptions = append(o.APIOptions, gate.attempts)
	})
	return &Cloud{
		settings: s, identity: id, api: api, metadata: metadata(cfg), gate: gate,
		subnets: map[pool.SubnetID]netip.Prefix{},
	}, nil
}

// sdkLog takes what the SDK remarks. All of it is about single attempts, whose
// errors are returned as well.
func sdkLog(log *slog.Logger) logging.Logger {
	return logging.LoggerFunc(func(_ logging.Classification, format string, args ...any) {
		log.Debug(fmt.Sprintf("AWS SDK: "+format, args...))
	})
}
