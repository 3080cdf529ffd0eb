package proxy

import (
	"context"
	"fmt"
	"strings"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/nft"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// awsNodeTable is where aws-node keeps its connection mark on iptables-nft. It
// knows the VPC's blocks of its own time only, so it must not outlive it.
const awsNodeTable = "aws-cni"

// kubeProxyTable is kube-proxy's in nftables mode.
const kubeProxyTable = "kube-proxy"

func dropAWSNode() ([]string, error) { return dropTable(awsNodeTable, "aws-node", service.IPv4) }

func dropKubeProxy() ([]string, error) {
	return dropTable(kubeProxyTable, "kube-proxy", service.IPv4, service.IPv6)
}

// dropOurs removes the table that we have in nftables mode.
func dropOurs(ctx context.Context) ([]string, error) {
	dropped, err := nft.Remove(ctx)
	if !dropped {
		return nil, err
	}
	return []string{"nft: drop table inet causeway"}, err
}

func dropTable(name, whose string, families ...service.Family) ([]string, error) {
	var done []string
	for _, f := range families {
		deleted, err := nft.DeleteTable(f, name)
		if err != nil {
			return done, err
		}
		if deleted {
			done = append(done, fmt.Sprintf("nft: drop table %s of %s (%s's)", name, f, whose))
		}
	}
	return done, nil
}

// removeAWS removes external SNAT from a variant of iptables.
func removeAWS(ctx context.Context, v iptables.Variant) ([]string, error) {
	b, err := iptables.Open(v, service.IPv4)
	if notInstalled(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	have, err := b.Observe(ctx)
	if err != nil || !have.HasOwned() {
		return nil, err
	}
	changes, err := settle(ctx, b, nil)
	for i, c := range changes {
		changes[i] = fmt.Sprintf("iptables-%s: %s", v, c)
	}
	return changes, err
}

// removeKube removes services from a variant of iptables.
func removeKube(ctx context.Context, v iptables.Variant) ([]string, error) {
	backends, err := openFamilies(ctx, v)
	if notInstalled(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return (&ipTables{backends: backends, watch: iptables.NewWatch(backends...)}).removeServices(ctx)
}

// removeOurs removes from a variant of iptables what kube-proxy, which serves in
// it, does not have.
func removeOurs(ctx context.Context, v iptables.Variant) ([]string, error) {
	backends, err := openFamilies(ctx, v)
	if err != nil {
		return nil, err
	}
	var done []string
	for _, b := range backends {
		did, err := b.RemoveOurs(ctx)
		if what := counted(did, "jumps", "chains of ours"); what != "" {
			done = append(done, fmt.Sprintf("%s iptables-%s: %s; the others are kube-proxy's", b.Family(), v, what))
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// counted says how many jumps and chains were removed; "" is none.
func counted(r iptables.Removed, jumps, chains string) string {
	var parts []string
	if r.Jumps > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", r.Jumps, jumps))
	}
	if r.Chains > 0 {
		parts = append(parts, fmt.Sprintf("%d %s", r.Chains, chains))
	}
	return strings.Join(parts, " and ")
}

// observe reads IPv4 of a variant of iptables, which may not be installed.
func observe(ctx context.Context, v iptables.Variant) (ruleset.Saved, error) {
	b, err := iptables.Open(v, service.IPv4)
	if notInstalled(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return b.Observe(ctx)
}

// kubeProxyServes says whether kube-proxy has services in a variant of iptables,
// in all families in which it is at work.
func kubeProxyServes(ctx context.Context, v iptables.Variant) (bool, error) {
	backends, err := openFamilies(ctx, v)
	if notInstalled(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var its ruleset.Saved
	for _, b := range backends {
		have, err := b.Observe(ctx)
		if err != nil {
			return false, err
		}
		if have.HasKubeProxy() {
			its = append(its, have...)
		}
	}
	return its.Serves(), nil
}

// Yield removes our services from everywhere once kube-proxy has its own, and
// says what that was. Until then they stay, for connections to go on, and served
// is false; so they do until the first Sync, without which the connection mark
// may be where kube-proxy's rules come too late for it. It is for mode Off, whose
// Sync does so with the table of nf_tables.
func (p *Proxy) Yield(ctx context.Context) (removed []string, served bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.nat.taken {
		return nil, false, nil
	}
	if served, err = nft.HasTable(service.IPv4, kubeProxyTable); err != nil {
		return nil, false, err
	}
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		here, err := kubeProxyServes(ctx, v)
		if err != nil {
			return nil, false, err
		}
		served = served || here
	}
	if !served {
		return nil, false, nil
	}
	removed, err = CleanupAll(ctx, Removal{Chains: true, Running: true})
	return removed, true, err
}
