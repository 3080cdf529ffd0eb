package sim_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

// TestFleet lets 200 nodes create an interface each at once, in virtual time:
// they share one account's bucket, and take as long as it allows.
func TestFleet(t *testing.T) {
	const nodes = 200
	synctest.Test(t, func(t *testing.T) {
		var topology strings.Builder
		topology.WriteString("{profile: realistic, subnets: [{name: a, cidr: 10.0.0.0/19}], nodes: [")
		for i := range nodes {
			fmt.Fprintf(&topology, "{name: n%d, subnet: a, publicIP: false},", i)
		}
		topology.WriteString("]}")
		s, err := sim.New(sim.Options{Topology: topology.String()})
		if err != nil {
			t.Fatal(err)
		}
		status, err := s.Control().Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var fleet sync.WaitGroup
		for i := range nodes {
			fleet.Go(func() { createUntil(t, s, fmt.Sprint("n", i), status.Subnets[0].ID) })
		}
		fleet.Wait()
		buckets, err := sim.NewBuckets("")
		if err != nil {
			t.Fatal(err)
		}
		least := buckets.Of("CreateNetworkInterface", sim.Kind{}).Takes(nodes)
		if took := time.Since(began); took < least || took > least+2*time.Second {
			t.Errorf("the fleet took %v, want little over %v", took, least)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// createUntil asks once a second until the node has an interface.
func createUntil(t *testing.T, s *sim.Sim, node, subnet string) {
	keys, err := s.Credentials(node)
	if err != nil {
		t.Error(err)
		return
	}
	client := ec2.New(ec2.Options{
		Region: "us-west-2", BaseEndpoint: aws.String("http://ec2.sim"), HTTPClient: &http.Client{Transport: s.Transport(node)},
		Credentials: credentials.NewStaticCredentialsProvider(keys.AccessKeyID, keys.SecretAccessKey, keys.Token), Retryer: aws.NopRetryer{},
	})
	for {
		_, err := client.CreateNetworkInterface(t.Context(), &ec2.CreateNetworkInterfaceInput{SubnetId: &subnet})
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "RequestLimitExceeded") {
			t.Error(err)
			return
		}
		time.Sleep(time.Second)
	}
}
