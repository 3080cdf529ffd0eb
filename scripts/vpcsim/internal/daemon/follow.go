package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/node"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

// retry is the pause after a sync that failed.
const retry = 500 * time.Millisecond

// follow keeps fabric and nodes as the model says, until ctx ends.
func (d *daemon) follow(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.sim.Model.Changed():
		}
		for err := d.sync(ctx); err != nil && ctx.Err() == nil; err = d.sync(ctx) {
			d.log.Error("sync failed", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(retry):
			}
		}
	}
}

// sync ends nodes that are no more, moves the fabric and starts nodes that are
// new: a node's processes need its namespace, and its namespace outlives them.
// Load balancers follow the fabric, which gives them their addresses; the
// cluster has the nodes that have started.
func (d *daemon) sync(ctx context.Context) error {
	v := d.sim.Model.View()
	if err := d.endNodes(v); err != nil {
		return err
	}
	if err := d.fabric.Sync(ctx, v); err != nil {
		return err
	}
	if err := d.lb.Sync(ctx, v); err != nil {
		return err
	}
	if err := d.startNodes(ctx, v); err != nil {
		return err
	}
	return d.joinCluster(v)
}

func (d *daemon) endNodes(v vpc.View) error {
	wanted := map[string]bool{}
	for _, n := range v.Nodes {
		wanted[n.Name] = true
	}
	var errs []error
	for name, p := range d.nodes {
		if wanted[name] {
			continue
		}
		p.Kill()
		delete(d.nodes, name)
		errs = append(errs, os.RemoveAll(d.state.NodeDir(name)))
		d.log.Info("node ended", "node", name)
	}
	return errors.Join(errs...)
}

func (d *daemon) startNodes(ctx context.Context, v vpc.View) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding the vpcsim program: %w", err)
	}
	started := make([]*node.Process, len(v.Nodes))
	group, ctx := errgroup.WithContext(ctx)
	for i, n := range v.Nodes {
		if d.nodes[n.Name] != nil {
			continue
		}
		group.Go(func() (err error) {
			started[i], err = node.Start(ctx, node.Config{
				Name: n.Name, Space: d.fabric.Space(n.Name), Dir: d.state.NodeDir(n.Name), Program: program, Log: os.Stderr,
			})
			if err != nil {
				return err
			}
			if err := d.giveKubeconfig(n.Name); err != nil {
				return err
			}
			return writeRecord(d.state.nodeRecord(n.Name), started[i].PID())
		})
	}
	err = group.Wait()
	for i, p := range started {
		if p != nil {
			d.nodes[v.Nodes[i].Name] = p
			d.log.Info("node started", "node", v.Nodes[i].Name, "pid", p.PID())
		}
	}
	return err
}
