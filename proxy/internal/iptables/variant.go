package iptables

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Variant is one of the two kernel interfaces behind the name iptables.
type Variant string

const (
	// NFT is iptables on nf_tables.
	NFT Variant = "nft"
	// Legacy is iptables on x_tables.
	Legacy Variant = "legacy"
)

// Other is the variant that is not v.
func (v Variant) Other() Variant {
	if v == NFT {
		return Legacy
	}
	return NFT
}

// program is the name of the program that shows and changes single rules.
func program(v Variant, f service.Family) string {
	if f == service.IPv6 {
		return "ip6tables-" + string(v)
	}
	return "iptables-" + string(v)
}

// Detect finds the variant that the node uses already, and says why it thinks
// so. kubelet's own chains decide, as they do for iptables-wrappers; then the
// number of rules of kube-proxy and aws-node; then the number of all rules. An
// empty node gets NFT, as does one with only iptables-nft installed. IPv4
// decides for both families.
func Detect(ctx context.Context) (Variant, string, error) {
	nft, nftErr := census(ctx, NFT)
	legacy, legacyErr := census(ctx, Legacy)
	switch {
	case errors.Is(nftErr, exec.ErrNotFound) && legacyErr == nil:
		return Legacy, "iptables-nft is not installed", nil
	case errors.Is(legacyErr, exec.ErrNotFound) && nftErr == nil:
		return NFT, "iptables-legacy is not installed", nil
	case nftErr != nil || legacyErr != nil:
		return "", "", fmt.Errorf("finding out which iptables this node uses: %w", errors.Join(nftErr, legacyErr))
	}
	v, why := choose(nft, legacy)
	return v, why, nil
}

func census(ctx context.Context, v Variant) (c ruleset.Census, err error) {
	err = save(ctx, program(v, service.IPv4), func(r io.Reader) error {
		c, err = ruleset.Count(r)
		return err
	})
	return c, err
}

func choose(nft, legacy ruleset.Census) (Variant, string) {
	for _, measure := range []struct {
		what        string
		nft, legacy int
	}{
		{"chains of kubelet", nft.Kubelet, legacy.Kubelet},
		{"rules of kube-proxy or aws-node", nft.Cluster, legacy.Cluster},
		{"rules", nft.All, legacy.All},
	} {
		why := fmt.Sprintf("%d %s with nft, %d with legacy", measure.nft, measure.what, measure.legacy)
		if measure.nft > measure.legacy {
			return NFT, why
		}
		if measure.legacy > measure.nft {
			return Legacy, why
		}
	}
	return NFT, "no sign of either"
}
