package sim_test

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// TestDefaultChain lets the SDK find region and credentials by itself, over
// real connections: nothing is set but where the services are.
func TestDefaultChain(t *testing.T) {
	s, err := sim.Start(sim.Options{Topology: "{strictAuth: true, profile: none}"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("AWS_ENDPOINT_URL_EC2", s.EC2URL())
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.IMDSURL("n2"))
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	ctx := context.Background()
	cfg, err := config.LoadDefaultConfig(ctx, config.WithEC2IMDSRegion())
	if err != nil {
		t.Fatal(err)
	}
	document, err := imds.NewFromConfig(cfg).GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ec2.NewFromConfig(cfg).DescribeInstances(ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{document.InstanceID}})
	if err != nil {
		t.Fatal(err)
	}
	if got := aws.ToString(out.Reservations[0].Instances[0].InstanceId); got != s.Instance("n2") {
		t.Errorf("instance %q, want n2's %q", got, s.Instance("n2"))
	}
	calls, err := s.Control().Requests(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := calls[len(calls)-1]
	if last.Action != "DescribeInstances" || last.Node != "n2" || last.Status != 200 {
		t.Errorf("last request is %+v, want a successful DescribeInstances by n2", last)
	}
}
