package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/service"
	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

const (
	rounds     = 60
	crowd      = 100
	crowdTimes = 5
	manyPods   = 200
)

// measureOnNode runs inside the simulated node and prints the rows.
func measureOnNode(ctx context.Context, bins harness.Binaries) (err error) {
	ours := plugin{path: bins.CNI, conf: `{"cniVersion":"1.0.0","name":"aws-cni","type":"causeway-cni"}`}
	dir, err := os.MkdirTemp("", "bench-peer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	peer, err := peerPlugin(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	memory, err := withManyPods(ctx, ours) // and from now on the pool is warm
	if err != nil {
		return err
	}
	rows, err := processes(ctx, ours, peer)
	if err != nil {
		return err
	}
	share, err := daemonShare(ctx)
	if err != nil {
		return err
	}
	binary, err := os.Stat(bins.CNI)
	if err != nil {
		return err
	}
	rows = append(rows,
		row("ipamd's share of an ADD, p50", "ms", ms(share), 1, 1),
		row(fmt.Sprintf("ipamd's resident memory with %d pods", manyPods), "MiB", memory, 45, 1),
		row("size of the plugin", "MiB", float64(binary.Size())/(1<<20), 12, 1))
	return json.NewEncoder(os.Stdout).Encode(rows)
}

func processes(ctx context.Context, ours, peer plugin) ([]Row, error) {
	adds, dels, err := inTurns(ctx, ours, peer, rounds)
	if err != nil {
		return nil, err
	}
	var crowds [2][]time.Duration
	for i := range crowdTimes {
		for side, p := range []plugin{ours, peer} {
			took, err := atOnce(ctx, p, crowd, fmt.Sprintf("crowd%d", i))
			if err != nil {
				return nil, err
			}
			crowds[side] = append(crowds[side], took)
		}
	}
	return []Row{
		row("ADD p50, whole process", "ms", ms(median(adds[0])), ms(median(adds[1])), 0.75),
		row("DEL p50, whole process", "ms", ms(median(dels[0])), ms(median(dels[1])), 0.4),
		row(fmt.Sprintf("%d ADDs at once, until the last", crowd), "ms", ms(median(crowds[0])), ms(median(crowds[1])), 0.7),
	}, nil
}

// withManyPods is the daemon's memory while it carries many pods.
func withManyPods(ctx context.Context, ours plugin) (mib float64, err error) {
	pods, err := sandboxes(manyPods)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, remove(pods)) }()
	const step = 20 // at a time
	each := func(verb string) error {
		for from := 0; from < manyPods; from += step {
			if err := together(step, func(i int) error {
				_, err := ours.call(ctx, verb, fmt.Sprintf("many-%d", from+i), pods[from+i])
				return err
			}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := each("ADD"); err != nil {
		return 0, err
	}
	pid, err := pidOf("ipamd")
	if err != nil {
		return 0, err
	}
	if mib, err = resident(pid); err != nil {
		return 0, err
	}
	return mib, each("DEL")
}

func pidOf(name string) (string, error) {
	comms, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return "", err
	}
	for _, path := range comms {
		if text, err := os.ReadFile(path); err == nil && string(text) == name+"\n" {
			return filepath.Base(filepath.Dir(path)), nil
		}
	}
	return "", fmt.Errorf("no process %s on this node", name)
}

// daemonShare is the time of an Assign over a connection that is there: the
// pool, the state on disk, and gRPC on both sides.
func daemonShare(ctx context.Context) (time.Duration, error) {
	conn, err := grpc.NewClient("unix://"+config.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	client := service.NewIpamdClient(conn)
	var took []time.Duration
	for i := range 200 {
		key := &rpc.Attachment{Network: "aws-cni", ContainerId: fmt.Sprintf("share-%d", i), Interface: "eth0"}
		began := time.Now()
		if _, err := client.Assign(ctx, &rpc.AssignRequest{Attachment: key}); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
		if _, err := client.Release(ctx, &rpc.ReleaseRequest{Attachment: key}); err != nil {
			return 0, err
		}
	}
	return median(took), nil
}
