package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/ec2"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/proxy"
)

// How often the VPC's blocks are looked at: the metadata service is free and
// local, but only a hint; EC2 is the truth, and counts against the account.
const (
	hintEvery  = 5 * time.Second
	truthEvery = 10 * time.Minute
)

// vpc is what the NAT needs to know of the VPC.
type vpc interface {
	VPCCIDRs(context.Context) ([]netip.Prefix, error)
	VPCCIDRHint(context.Context) ([]netip.Prefix, error)
}

// nat keeps external SNAT and the connection mark as the settings and the
// VPC's blocks ask for.
type nat struct {
	proxy   *proxy.Proxy
	vpc     vpc
	mac     linux.MAC // of the primary ENI
	want    proxy.NodeNAT
	written proxy.NodeNAT
	log     *slog.Logger
	counted func(int)

	hint                []netip.Prefix
	nextHint, nextTruth time.Time
}

func newNAT(c config.Config, identity ec2.Identity, v vpc, log *slog.Logger, counted func(int)) (*nat, error) {
	mac, err := linux.ParseMAC(identity.PrimaryMAC)
	if err != nil {
		return nil, fmt.Errorf("primary ENI: %w", err)
	}
	random, err := proxy.ParseRandomize(string(c.SNAT.Random))
	if err != nil {
		return nil, err
	}
	variant := proxy.Auto
	switch c.Daemon.IPTables {
	case config.IPTablesNFT:
		variant = proxy.NFT
	case config.IPTablesLegacy:
		variant = proxy.Legacy
	}
	return &nat{proxy: proxy.New(variant), vpc: v, mac: mac, log: log, counted: counted, want: proxy.NodeNAT{
		PrimaryAddr: identity.PrimaryAddress, Excluded: c.SNAT.Excluded, External: c.SNAT.External, Randomize: random,
		NodePorts: c.Network.NodePortSupport, Mark: c.Network.ConnectionMark, VethPrefix: c.Network.VethPrefix,
	}}, nil
}

// Step writes the rules if the VPC changed, or if someone changed them.
func (n *nat) Step(ctx context.Context, now time.Time) error {
	if err := n.learn(ctx, now); err != nil {
		return err
	}
	if untouched, err := n.proxy.Check(); err == nil && untouched && reflect.DeepEqual(n.want, n.written) {
		return nil
	}
	changes, err := n.proxy.Sync(ctx, n.want)
	for _, c := range changes {
		n.log.Info("NAT: " + c)
	}
	n.counted(len(changes))
	if err != nil {
		return err
	}
	n.written = n.want
	return nil
}

// learn looks at the VPC's blocks and the primary link's name. What was known
// stays while neither EC2 nor the metadata service answers.
func (n *nat) learn(ctx context.Context, now time.Time) error {
	if n.want.PrimaryLink == "" {
		name, err := linkOf(n.mac)
		if err != nil {
			return err
		}
		n.want.PrimaryLink = name
	}
	if now.After(n.nextHint) {
		n.nextHint = now.Add(hintEvery)
		hint, err := n.vpc.VPCCIDRHint(ctx)
		if err != nil {
			n.log.Debug("asking the metadata service for the VPC's blocks", "error", err)
		} else if !slices.Equal(hint, n.hint) {
			n.hint, n.nextTruth = hint, time.Time{}
		}
	}
	if now.Before(n.nextTruth) {
		return nil
	}
	blocks, err := n.vpc.VPCCIDRs(ctx)
	if err == nil {
		n.want.VPCBlocks, n.nextTruth = blocks, now.Add(truthEvery)
		return nil
	}
	if len(n.want.VPCBlocks) == 0 {
		return fmt.Errorf("learning the VPC's blocks: %w", err)
	}
	n.nextTruth = now.Add(hintEvery)
	n.log.Warn("the VPC's blocks could not be read; keeping those known", "error", err, "blocks", n.want.VPCBlocks)
	return nil
}

func linkOf(mac linux.MAC) (string, error) {
	handle, err := kernel.Open("")
	if err != nil {
		return "", err
	}
	defer handle.Close()
	links, err := handle.Links()
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if l.MAC == mac {
			return l.Name, nil
		}
	}
	return "", fmt.Errorf("no link has the primary ENI's address %s", mac)
}
