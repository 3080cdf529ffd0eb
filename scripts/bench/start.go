package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// huge is a node with more ENIs than any instance type takes, whose EC2 answers
// at once.
const (
	hugeENIs, hugeAddresses = 50, 50 // addresses of each ENI, for pods

	huge = `
subnets: [{name: a, cidr: 10.0.0.0/19}]
instanceTypes: {bench.huge: {ipv4: 51, hypervisor: nitro, cards: [{index: 0, max_eni: 50}]}}
nodes: [{name: n1, subnet: a, type: bench.huge}]
throttle: {enabled: false}
`
)

// startLimit is how long a daemon may take on it until pods can be added.
const startLimit = 2 * time.Second

// measureStart starts the daemon on a node that has all its ENIs and addresses.
func measureStart(ctx context.Context, bin string) (rows []Row, err error) {
	dir, err := os.MkdirTemp("", "causeway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	lab, err := harness.Up(ctx, harness.In(bin), "bench", dir, huge)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lab.Close()) }()
	node := lab.Node("n1")
	begin := func() error {
		_, err := node.StartIpamd(fmt.Sprintf("MINIMUM_IP_TARGET=%d", hugeENIs*hugeAddresses))
		if err == nil {
			err = node.AwaitReady(ctx)
		}
		return err
	}
	if err := begin(); err != nil {
		return nil, err
	}
	grown, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := harness.Poll(grown, func() error { return isHuge(ctx, node) }); err != nil {
		return nil, err
	}
	var took []time.Duration
	for range 5 {
		if err := node.Daemon().Stop(); err != nil {
			return nil, err
		}
		began := time.Now()
		if err := begin(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return []Row{row(fmt.Sprintf("start with %d ENIs of %d addresses, until pods can be added", hugeENIs, hugeAddresses), "ms", ms(median(took)), ms(startLimit), 1)}, nil
}

// isHuge says whether a node has all the addresses that it can have.
func isHuge(ctx context.Context, node *harness.Node) error {
	status, err := node.Status(ctx)
	if err != nil {
		return err
	}
	have := 0
	for _, e := range status.Interfaces {
		have += len(e.Addresses) - 1
	}
	if have < hugeENIs*hugeAddresses {
		return fmt.Errorf("the node has %d addresses on %d ENIs", have, len(status.Interfaces))
	}
	return nil
}
