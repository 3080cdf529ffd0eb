package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
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
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	held, err := daemon(c.socket).list(ctx, c.conf.Name)
	if err != nil {
		return rpcError("listing what is assigned", err, c)
	}
	valid := make(map[types.GCAttachment]bool, len(c.conf.ValidAttachments))
	for _, v := range c.conf.ValidAttachments {
		valid[v] = true
	}
	var failed []error
	for _, a := range held {
		key := a.GetAttachment()
		if valid[types.GCAttachment{ContainerID: key.GetContainerId(), IfName: key.GetInterface()}] {
			continue
		}
		stale := call{conf: c.conf, attachment: key, pod: a.GetPod(), socket: c.socket, notes: c.notes}
		if err := collect(host, stale, a.GetHostInterface()); err != nil {
			failed = append(failed, fmt.Errorf("container %s: %w", key.GetContainerId(), err))
		}
	}
	if err := errors.Join(failed...); err != nil {
		return types.NewError(types.ErrTryAgainLater, "releasing stale attachments: "+err.Error(), "")
	}
	return nil
}

// collect does for a stale attachment what its DEL would have done.
func collect(host *kernel.Handle, stale call, link string) error {
	index, _, err := host.Find(link)
	if err != nil {
		return err
	}
	released, _, err := releaseOrNote(stale, "GC")
	if err != nil || released == nil {
		return err
	}
	return clean(host, released, hostLink{name: link, index: index})
}
