package proxy

import (
	"context"
	"fmt"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/nft"
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
