package proxy

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/nft"
	"github.com/causeway-cni/causeway/proxy/service"
)

// awsNodeTable is where aws-node keeps its connection mark on iptables-nft. It
// knows the VPC's blocks of its own time only, so it must not outlive it.
const awsNodeTable = "aws-cni"

// takeOver removes what aws-node left in places that are not ours: its nft
// table, and its chains in the other variant of iptables.
func takeOver(ctx context.Context, other iptables.Variant) ([]string, error) {
	var done []string
	deleted, err := nft.DeleteTable(awsNodeTable)
	if err != nil {
		return nil, err
	}
	if deleted {
		done = append(done, fmt.Sprintf("nft: drop table ip %s (aws-node's)", awsNodeTable))
	}
	backend, err := iptables.Open(other, service.IPv4)
	if errors.Is(err, exec.ErrNotFound) {
		return done, nil
	}
	if err != nil {
		return done, err
	}
	have, err := backend.Observe(ctx)
	if err != nil || !have.HasOwned() {
		return done, err
	}
	changes, _, err := settle(ctx, backend, nil)
	for _, c := range changes {
		done = append(done, fmt.Sprintf("iptables-%s: %s", other, c))
	}
	return done, err
}
