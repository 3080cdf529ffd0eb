package plugin

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/rpc"
)

// releaseTimeout bounds a release: a pod must be able to go while the daemon
// is away, and a note does as well.
const releaseTimeout = 5 * time.Second

// del takes a pod's address back and unroutes it. The address is released
// first: from then on the daemon does not want the pod's routes, and would not
// put back what is removed here. The veth is left to the end of the pod's
// namespace, or to the daemon, which deletes such links in groups: the kernel
// takes 20 ms for each deletion of its own.
func (p Plugin) del(args *skel.CmdArgs) error {
	c, err := p.read(args)
	if err != nil {
		return err
	}
	released, daemonAway, err := p.releaseOrNote(c)
	if err != nil {
		return err
	}
	host, err := kernel.Open("")
	if err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	defer host.Close()
	if err := p.clean(host, c, released, daemonAway); err != nil {
		return types.NewError(types.ErrInternal, "removing the pod's routes: "+err.Error(), "")
	}
	return nil
}

// releaseOrNote releases the attachment's address, or leaves a note for the
// daemon if it does not answer.
func (p Plugin) releaseOrNote(c call) (released *rpc.Assignment, daemonAway bool, err error) {
	conn, err := dial(c.socket)
	if err != nil {
		return nil, false, rpcError("releasing the address", err, c)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	reply, err := rpc.NewIpamdClient(conn).Release(ctx, releaseRequest(c, "DEL"))
	if err == nil {
		return reply.GetAssignment(), false, nil
	}
	if !away(err) {
		return nil, false, rpcError("releasing the address", err, c)
	}
	if err := notes.Leave(c.notes, noteOf(c, "DEL")); err != nil {
		return nil, true, types.NewError(types.ErrTryAgainLater, "ipamd does not answer on "+c.socket+", and "+err.Error(), "")
	}
	return nil, true, nil
}

// away says that the daemon did not hear the call, or may not have.
func away(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
}

// release gives back the address of a failed ADD.
func (p Plugin) release(client rpc.IpamdClient, c call, reason string) error {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	if _, err := client.Release(ctx, releaseRequest(c, reason)); err != nil {
		return notes.Leave(c.notes, noteOf(c, reason))
	}
	return nil
}

func releaseRequest(c call, reason string) *rpc.ReleaseRequest {
	return &rpc.ReleaseRequest{Attachment: c.attachment, Pod: c.pod, Reason: reason, Client: rpc.Version}
}

func noteOf(c call, reason string) notes.Note {
	return notes.Note{
		Network: c.attachment.GetNetwork(), ContainerID: c.attachment.GetContainerId(), Interface: c.attachment.GetInterface(),
		Namespace: c.pod.GetNamespace(), Pod: c.pod.GetName(), Reason: reason,
	}
}

// clean removes what routes to the pod on the host. What that is says the
// daemon, or, while it is away, the result of the ADD that the runtime kept.
// With neither, the daemon will do it when it finds the note.
func (p Plugin) clean(host *kernel.Handle, c call, released *rpc.Assignment, daemonAway bool) error {
	if daemonAway {
		return cleanByResult(host, c)
	}
	if released == nil {
		return nil
	}
	plan, err := planFrom(released, c.attachment.GetInterface())
	if err != nil {
		return err
	}
	if err := unroute(host, plan); err != nil || released.GetShared() {
		return err
	}
	return host.MoveToGroup(plan.HostLink, config.DeadLinkGroup)
}

// cleanByResult finds the rules and routes of the addresses in prevResult. A
// link that still has a route belongs to a newer sandbox of the same pod.
func cleanByResult(host *kernel.Handle, c call) error {
	link, addrs, err := fromPrevResult(c)
	if err != nil || link == "" {
		return err
	}
	for _, a := range addrs {
		scope := linux.Scope{VethPrefix: link, Priorities: []int{config.RuleToPod, config.RuleFromPod}, Address: a}
		had, err := host.Observe(scope)
		if err != nil {
			return err
		}
		if err := host.Apply(linux.Diff(had, linux.State{}), nil); err != nil {
			return err
		}
	}
	left, err := host.Observe(linux.Scope{VethPrefix: link})
	if err != nil || len(left.Routes) > 0 {
		return err
	}
	return host.MoveToGroup(link, config.DeadLinkGroup)
}

// fromPrevResult is the host link and the addresses of the ADD's result; the
// runtime may have kept none.
func fromPrevResult(c call) (link string, addrs []netip.Addr, err error) {
	if err := version.ParsePrevResult(&c.conf.PluginConf); err != nil {
		return "", nil, fmt.Errorf("reading prevResult: %w", err)
	}
	if c.conf.PrevResult == nil {
		return "", nil, nil
	}
	prev, err := current.NewResultFromResult(c.conf.PrevResult)
	if err != nil {
		return "", nil, fmt.Errorf("reading prevResult: %w", err)
	}
	for _, i := range prev.Interfaces {
		if i.Sandbox == "" {
			link = i.Name
			break
		}
	}
	for _, ip := range prev.IPs {
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return "", nil, fmt.Errorf("reading prevResult: address %s: not an IP address", ip.Address.String())
		}
		addrs = append(addrs, addr.Unmap())
	}
	return link, addrs, nil
}
