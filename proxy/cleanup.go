package proxy

import (
	"context"
	"errors"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
)

// Removal says which of our rules CleanupAll removes.
type Removal struct {
	// Chains are those of services in iptables. They have kube-proxy's names,
	// so that they are its own once it runs.
	Chains bool
	// Running says that another proxy runs: chains of a variant in which
	// kube-proxy has its jumps are its own then, and stay but for those of host
	// ports, which it does not have. Our jumps go.
	Running bool
	// NAT is external SNAT and the connection mark in iptables, which have
	// aws-node's names.
	NAT bool
	// Table is ours of nf_tables, with all that nftables mode has.
	Table bool
}

// CleanupAll removes our rules in whatever mode and variant they were written,
// for a node that is given up. It says what it removed, also when a part of it
// fails; it goes on with the others then. What kubelet has stays, as do the
// tables of kube-proxy and aws-node in nf_tables.
func CleanupAll(ctx context.Context, r Removal) ([]string, error) {
	var done []string
	var failed []error
	part := func(wanted bool, remove func() ([]string, error)) {
		if !wanted {
			return
		}
		did, err := remove()
		done, failed = append(done, did...), append(failed, err)
	}
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		part(r.Chains, func() ([]string, error) { return r.chains(ctx, v) })
		part(r.NAT, func() ([]string, error) { return removeAWS(ctx, v) })
	}
	part(r.Table, func() ([]string, error) { return dropOurs(ctx) })
	return done, errors.Join(failed...)
}

// chains removes services from a variant, unless they are kube-proxy's by now.
func (r Removal) chains(ctx context.Context, v iptables.Variant) ([]string, error) {
	if !r.Running {
		return removeKube(ctx, v)
	}
	its, err := kubeProxyServes(ctx, v)
	if err != nil {
		return nil, err
	}
	if its {
		return removeOurs(ctx, v)
	}
	return removeKube(ctx, v)
}
