package ec2

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Identity is what an instance knows about itself for all its life.
type Identity struct {
	InstanceID     string
	InstanceType   string // "m5.large"
	Region         string // "us-west-2"
	Zone           string // "us-west-2a"
	VPC            string
	Subnet         pool.SubnetID // of the primary ENI
	PrimaryENI     pool.ENIID
	PrimaryMAC     string
	PrimaryAddress netip.Addr
}

// First and longest pause between two attempts of AwaitIdentity.
const (
	firstWait   = 200 * time.Millisecond
	longestWait = 5 * time.Second
)

// AwaitIdentity is Discover until it succeeds or ctx ends: on a node that
// boots, the metadata service may come after us.
func AwaitIdentity(ctx context.Context, log *slog.Logger) (Identity, error) {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		id, err := Discover(ctx, log)
		if err == nil {
			return id, nil
		}
		log.Warn("waiting for the instance metadata service", "again_in", wait, "error", err)
		select {
		case <-ctx.Done():
			return Identity{}, fmt.Errorf("waiting for the instance metadata service: %w; last: %w", ctx.Err(), err)
		case <-time.After(wait):
		}
	}
}

// Discover asks the metadata service (IMDSv2 only) once who this instance is.
func Discover(ctx context.Context, log *slog.Logger) (Identity, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithLogger(sdkLog(log)))
	if err != nil {
		return Identity{}, fmt.Errorf("loading the AWS configuration: %w", err)
	}
	id, err := discover(ctx, metadata(cfg))
	if err != nil {
		return Identity{}, fmt.Errorf("asking the instance metadata service who we are (it must be enabled, and its hop limit must let its answers reach us): %w", err)
	}
	log.Debug("instance metadata", "instance", id.InstanceID, "type", id.InstanceType, "zone", id.Zone,
		"vpc", id.VPC, "subnet", id.Subnet, "primary_eni", id.PrimaryENI, "address", id.PrimaryAddress)
	return id, nil
}

func discover(ctx context.Context, client *imds.Client) (Identity, error) {
	document, err := client.GetInstanceIdentityDocument(ctx, nil)
	if err != nil {
		return Identity{}, fmt.Errorf("reading the instance identity document: %w", err)
	}
	mac, err := read(ctx, client, "mac")
	if err != nil {
		return Identity{}, err
	}
	values := map[string]string{"interface-id": "", "subnet-id": "", "vpc-id": "", "local-ipv4s": ""}
	for key := range values {
		if values[key], err = read(ctx, client, "network/interfaces/macs/"+mac+"/"+key); err != nil {
			return Identity{}, err
		}
	}
	first, _, _ := strings.Cut(values["local-ipv4s"], "\n")
	address, err := netip.ParseAddr(first)
	if err != nil {
		return Identity{}, fmt.Errorf("local-ipv4s of %s is %q, its first line must be an IPv4 address: %w", mac, values["local-ipv4s"], err)
	}
	id := Identity{
		InstanceID: document.InstanceID, InstanceType: document.InstanceType,
		Region: document.Region, Zone: document.AvailabilityZone, VPC: values["vpc-id"],
		Subnet: pool.SubnetID(values["subnet-id"]), PrimaryENI: pool.ENIID(values["interface-id"]),
		PrimaryMAC: strings.ToLower(mac), PrimaryAddress: address,
	}
	if id.InstanceID == "" || id.InstanceType == "" || id.Region == "" {
		return Identity{}, fmt.Errorf("the instance identity document lacks the instance's id (%q), type (%q) or region (%q)", id.InstanceID, id.InstanceType, id.Region)
	}
	return id, nil
}

// metadata returns a client that speaks IMDSv2 only and tries once.
func metadata(cfg aws.Config) *imds.Client {
	return imds.NewFromConfig(cfg, func(o *imds.Options) {
		o.EnableFallback = aws.FalseTernary
		o.Retryer = aws.NopRetryer{}
	})
}

// read returns one value; an empty one is an error, for none that we ask for
// can be empty.
func read(ctx context.Context, client *imds.Client, path string) (string, error) {
	out, err := client.GetMetadata(ctx, &imds.GetMetadataInput{Path: path})
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	defer out.Content.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(out.Content)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", path, err)
	}
	value := strings.TrimSpace(string(text))
	if value == "" {
		return "", fmt.Errorf("reading %s: the answer is empty", path)
	}
	return value, nil
}
