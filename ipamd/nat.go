package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/internal/ec2"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/proxy"
)

// truthEvery is how often EC2 is asked for the VPC's blocks. Between that the
// metadata service is, which is local and costs nothing, but is only a hint:
// when its answer changes, EC2 is asked at once.
const truthEvery = time.Hour

// vpc learns the IPv4 blocks of the VPC.
type vpc struct {
	cloud interface {
		VPCCIDRs(context.Context) ([]netip.Prefix, error)
		VPCCIDRHint(context.Context) ([]netip.Prefix, error)
	}
	file    string // keeps the blocks over a restart
	log     *slog.Logger
	changed func()
	blocks  atomic.Pointer[[]netip.Prefix]

	hint      []netip.Prefix
	nextTruth time.Time
}

func newVPC(cloud *ec2.Cloud, dir string, log *slog.Logger, changed func()) *vpc {
	v := &vpc{cloud: cloud, file: filepath.Join(dir, "vpc.json"), log: log, changed: changed}
	var known []netip.Prefix
	if err := readKept(v.file, &known); err == nil && len(known) > 0 {
		v.blocks.Store(&known)
	}
	return v
}

// Step looks at the blocks. What was known stays while neither EC2 nor the
// metadata service answers.
func (v *vpc) Step(ctx context.Context, now time.Time) error {
	hint, err := v.cloud.VPCCIDRHint(ctx)
	if err != nil {
		v.log.Debug("asking the metadata service for the VPC's blocks", "error", err)
	} else if !slices.Equal(hint, v.hint) {
		v.hint, v.nextTruth = hint, time.Time{}
	}
	if now.Before(v.nextTruth) {
		return nil
	}
	blocks, err := v.cloud.VPCCIDRs(ctx)
	if err != nil {
		return fmt.Errorf("learning the VPC's blocks: %w", err)
	}
	v.nextTruth = now.Add(truthEvery)
	if known := v.blocks.Load(); known != nil && slices.Equal(*known, blocks) {
		return nil
	}
	v.log.Info("the VPC's blocks are known", "blocks", blocks)
	v.blocks.Store(&blocks)
	v.changed()
	return keep(v.file, blocks)
}

// nat keeps external SNAT and the connection mark as the settings and the
// VPC's blocks ask for.
type nat struct {
	proxy   *proxy.Proxy
	vpc     *vpc
	kernel  *kernel.Handle
	mac     linux.MAC // of the primary ENI
	want    proxy.NodeNAT
	written proxy.NodeNAT
	log     *slog.Logger
	counted func(int)
}

func newNAT(c config.Config, identity ec2.Identity, rules *proxy.Proxy, v *vpc, log *slog.Logger, counted func(int)) (*nat, error) {
	mac, err := linux.ParseMAC(identity.PrimaryMAC)
	if err != nil {
		return nil, fmt.Errorf("primary ENI: %w", err)
	}
	random, err := proxy.ParseRandomize(string(c.SNAT.Random))
	if err != nil {
		return nil, err
	}
	handle, err := kernel.Open("")
	if err != nil {
		return nil, err
	}
	return &nat{proxy: rules, vpc: v, kernel: handle, mac: mac, log: log, counted: counted, want: proxy.NodeNAT{
		PrimaryAddr: identity.PrimaryAddress, Excluded: c.SNAT.Excluded, External: c.SNAT.External || !c.Network.IPv4, Randomize: random,
		NodePorts: c.Network.NodePortSupport, Mark: c.Network.ConnectionMark, VethPrefix: c.Network.VethPrefix,
	}}, nil
}

// newRules returns the writer of rules that the settings ask for.
func newRules(c config.Config) *proxy.Proxy {
	mode := map[config.ProxyMode]proxy.Mode{
		config.ProxyIPTables: proxy.IPTables, config.ProxyNFTables: proxy.NFTables, config.ProxyOff: proxy.Off,
	}[c.Proxy.Mode]
	variant := map[config.IPTables]proxy.Variant{
		config.IPTablesAuto: proxy.Auto, config.IPTablesNFT: proxy.NFT, config.IPTablesLegacy: proxy.Legacy,
	}[c.Daemon.IPTables]
	return proxy.New(mode, variant)
}

// Step writes the rules if the VPC changed, or if someone changed them.
func (n *nat) Step(ctx context.Context) error {
	blocks := n.vpc.blocks.Load()
	if blocks == nil {
		return errors.New("the VPC's blocks are not known yet")
	}
	name, err := n.primaryLink() // may be renamed, by udev say
	if err != nil {
		return err
	}
	n.want.PrimaryLink, n.want.VPCBlocks = name, *blocks
	if untouched, _, err := n.proxy.Untouched(); err == nil && untouched && reflect.DeepEqual(n.want, n.written) {
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

// primaryLink is the oldest link with the primary ENI's address.
func (n *nat) primaryLink() (string, error) {
	links, err := n.kernel.Links()
	if err != nil {
		return "", err
	}
	for _, l := range links {
		if l.MAC == n.mac {
			return l.Name, nil
		}
	}
	return "", fmt.Errorf("no link has the primary ENI's address %s", n.mac)
}
