package ec2api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/smithy-go"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// world is a simulator and the SDK client of its node n1.
type world struct {
	*testing.T
	ctx context.Context
	sim *sim.Sim
	ec2 *ec2.Client
}

// start makes a world; its client does not retry.
func start(t *testing.T, topology string) *world {
	t.Helper()
	return startLogged(t, topology, nil)
}

func startLogged(t *testing.T, topology string, requests io.Writer) *world {
	t.Helper()
	s, err := sim.New(sim.Options{Topology: topology, Requests: requests})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Logf("seed %d", s.Seed())
	w := &world{T: t, ctx: t.Context(), sim: s}
	w.ec2 = w.client("n1", func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
	return w
}

// client is the SDK's client of a node, with its standard retries.
func (w *world) client(node string, options ...func(*ec2.Options)) *ec2.Client {
	w.Helper()
	keys, err := w.sim.Credentials(node)
	if err != nil {
		w.Fatal(err)
	}
	return ec2.New(ec2.Options{
		Region:       "us-west-2",
		BaseEndpoint: aws.String("http://ec2.sim"),
		HTTPClient:   &http.Client{Transport: w.sim.Transport(node)},
		Credentials:  credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.Token),
		Retryer:      retry.NewStandard(),
	}, options...)
}

// must returns the value of a call that has to succeed.
func must[T any](v T, err error) func(*world) T {
	return func(w *world) T {
		w.Helper()
		if err != nil {
			w.Fatal(err)
		}
		return v
	}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// subnet is the id of the subnet with this name.
func (w *world) subnet(name string) string {
	w.Helper()
	for _, s := range must(w.sim.Control().Status(w.ctx))(w).Subnets {
		if s.Name == name {
			return s.ID
		}
	}
	w.Fatalf("no subnet %q", name)
	return ""
}

// create makes an ENI in subnet a.
func (w *world) create(more ...func(*ec2.CreateNetworkInterfaceInput)) *types.NetworkInterface {
	w.Helper()
	in := &ec2.CreateNetworkInterfaceInput{SubnetId: aws.String(w.subnet("a"))}
	for _, m := range more {
		m(in)
	}
	return must(w.ec2.CreateNetworkInterface(w.ctx, in))(w).NetworkInterface
}

// attach attaches an ENI to n1 and returns the attachment's id.
func (w *world) attach(eni *types.NetworkInterface, index int32) *string {
	w.Helper()
	return must(w.ec2.AttachNetworkInterface(w.ctx, &ec2.AttachNetworkInterfaceInput{
		NetworkInterfaceId: eni.NetworkInterfaceId, InstanceId: aws.String(w.sim.Instance("n1")), DeviceIndex: aws.Int32(index),
	}))(w).AttachmentId
}

// see describes one ENI.
func (w *world) see(id *string) types.NetworkInterface {
	w.Helper()
	out := must(w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{*id}}))(w)
	if len(out.NetworkInterfaces) != 1 {
		w.Fatalf("%d ENIs with id %s", len(out.NetworkInterfaces), *id)
	}
	return out.NetworkInterfaces[0]
}

// primary describes the ENI at device 0 of n1.
func (w *world) primary() types.NetworkInterface {
	w.Helper()
	out := must(w.ec2.DescribeNetworkInterfaces(w.ctx, &ec2.DescribeNetworkInterfacesInput{Filters: []types.Filter{
		{Name: aws.String("attachment.instance-id"), Values: []string{w.sim.Instance("n1")}},
		{Name: aws.String("attachment.device-index"), Values: []string{"0"}},
	}}))(w)
	return out.NetworkInterfaces[0]
}

// fault puts a rule in force.
func (w *world) fault(r control.Rule) {
	w.Helper()
	must(w.sim.Control().AddFaults(w.ctx, r))(w)
}

// take lets others take so many addresses of subnet a, all for -1.
func (w *world) take(count int) {
	w.Helper()
	must(w.sim.Control().Take(w.ctx, control.Tenants{Subnet: "a", Addresses: count}))(w)
}

// refused checks an SDK error's code, HTTP status and message.
func (w *world) refused(err error, code string, status int, message string) {
	w.Helper()
	var api smithy.APIError
	var resp *awshttp.ResponseError
	if !errors.As(err, &api) || !errors.As(err, &resp) {
		w.Fatalf("error %v, want %s", err, code)
	}
	if api.ErrorCode() != code || resp.HTTPStatusCode() != status || api.ErrorMessage() != message {
		w.Errorf("got %s (%d) %q\nwant %s (%d) %q", api.ErrorCode(), resp.HTTPStatusCode(), api.ErrorMessage(), code, status, message)
	}
	if resp.ServiceRequestID() == "" {
		w.Error("the error has no request id")
	}
}

func tags(pairs ...string) []types.Tag {
	var out []types.Tag
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, types.Tag{Key: aws.String(pairs[i]), Value: aws.String(pairs[i+1])})
	}
	return out
}
