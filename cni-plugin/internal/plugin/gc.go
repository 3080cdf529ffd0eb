package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/rpc"
)

// gc releases what is held for attachments that the runtime no longer knows.
func (p Plugin) gc(args *skel.CmdArgs) error {
	c, err := p.read(args)
	if err != nil {
		return err
	}
	host, err := kernel.Open("")
	if err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	defer host.Close()
	conn, err := dial(c.socket)
	if err != nil {
		return rpcError("listing what is assigned", err, c)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	client := rpc.NewIpamdClient(conn)
	held, err := client.List(ctx, &rpc.ListRequest{Network: c.conf.Name})
	if err != nil {
		return rpcError("listing what is assigned", err, c)
	}
	valid := make(map[types.GCAttachment]bool, len(c.conf.ValidAttachments))
	for _, v := range c.conf.ValidAttachments {
		valid[v] = true
	}
	var failed []error
	for _, a := range held.GetAssignments() {
		key := a.GetAttachment()
		if valid[types.GCAttachment{ContainerID: key.GetContainerId(), IfName: key.GetInterface()}] {
			continue
		}
		stale := call{conf: c.conf, attachment: key, pod: a.GetPod(), socket: c.socket, notes: c.notes}
		if err := p.collect(ctx, client, host, stale); err != nil {
			failed = append(failed, fmt.Errorf("container %s: %w", key.GetContainerId(), err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return types.NewError(types.ErrTryAgainLater, "releasing stale attachments: "+err.Error(), "")
	}
	return nil
}

func (p Plugin) collect(ctx context.Context, client rpc.IpamdClient, host *kernel.Handle, stale call) error {
	reply, err := client.Release(ctx, releaseRequest(stale, "GC"))
	if away(err) {
		return notes.Leave(stale.notes, noteOf(stale, "GC"))
	}
	if err != nil {
		return err
	}
	return p.clean(host, stale, reply.GetAssignment(), false)
}
