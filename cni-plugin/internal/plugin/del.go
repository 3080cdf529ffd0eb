package plugin

import (
	"context"
	"slices"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/cni-plugin/podnet"
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
	host, err := kernel.Open("")
	if err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	defer host.Close()
	link, err := findLink(host, c)
	if err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	released, daemonAway, err := releaseOrNote(c, "DEL")
	if err != nil {
		return err
	}
	if daemonAway {
		err = cleanByResult(host, c, link)
	} else if released != nil {
		err = clean(host, released, link)
	}
	if err != nil {
		return types.NewError(types.ErrInternal, "removing the pod's routes: "+err.Error(), "")
	}
	return nil
}

// hostLink is a pod's link as it was before its address was released: from
// then on a newer sandbox of the same pod may make one of the same name.
type hostLink struct {
	name    string
	index   int  // 0 if it is gone, or another sandbox's
	another bool // there is one, and it is another sandbox's
}

// findLink looks for the link that the ADD made. A hardware address other than
// in its result means that it is a newer sandbox's.
func findLink(host *kernel.Handle, c call) (hostLink, error) {
	l := hostLink{name: c.prev.link}
	if l.name == "" {
		l.name = podnet.VethName(config.VethPrefix, c.pod.GetNamespace(), c.pod.GetName())
	}
	index, mac, err := host.Find(l.name)
	if l.another = index != 0 && c.prev.mac != (linux.MAC{}) && c.prev.mac != mac; !l.another {
		l.index = index
	}
	return l, err
}

// releaseOrNote releases the attachment's address, or leaves a note for the
// daemon if it does not answer.
func releaseOrNote(c call, reason string) (released *rpc.Assignment, daemonAway bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseTimeout)
	defer cancel()
	released, err = daemon(c.socket).release(ctx, c, reason)
	if err == nil {
		return released, false, nil
	}
	if !away(err) {
		return nil, false, rpcError("releasing the address", err, c)
	}
	if err := notes.Leave(c.notes, noteOf(c, reason)); err != nil {
		return nil, true, types.NewError(types.ErrTryAgainLater, "ipamd does not answer on "+c.socket+", and "+err.Error(), "")
	}
	return nil, true, nil
}

// away says that the daemon did not hear the call, or may not have.
func away(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled
}

func noteOf(c call, reason string) notes.Note {
	return notes.Note{
		Network: c.attachment.GetNetwork(), ContainerID: c.attachment.GetContainerId(), Interface: c.attachment.GetInterface(),
		Namespace: c.pod.GetNamespace(), Pod: c.pod.GetName(), Reason: reason,
	}
}

// clean removes what routes to the pod on the host, as the daemon says, and
// gives its link up.
func clean(host *kernel.Handle, released *rpc.Assignment, link hostLink) error {
	plan, err := planFrom(released, "")
	if err != nil {
		return err
	}
	if err := unroute(host, plan); err != nil {
		return err
	}
	if released.GetShared() || link.index == 0 || link.name != plan.HostLink {
		return nil
	}
	return host.MoveToGroup(link.index, config.DeadLinkGroup)
}

// cleanByResult does the same while the daemon is away, by the result of the
// ADD that the runtime kept. Without one, or if the link or an address is
// another pod's by now, the daemon will do it when it finds the note.
func cleanByResult(host *kernel.Handle, c call, link hostLink) error {
	if c.prev.link == "" || link.another {
		return nil
	}
	for _, a := range c.prev.addresses {
		scope := linux.Scope{VethPrefix: link.name[:min(len(link.name), len(config.VethPrefix))], Address: a,
			Priorities: []int{config.RuleToPod, config.RuleFromPod}}
		had, err := host.Observe(scope)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(had.Routes, func(r linux.Route) bool { return r.Link != link.name }) {
			continue
		}
		if err := host.Apply(linux.Diff(had, linux.State{}), nil); err != nil {
			return err
		}
	}
	left, err := host.Observe(linux.Scope{VethPrefix: link.name})
	if err != nil || len(left.Routes) > 0 || link.index == 0 {
		return err // with routes left, a newer sandbox of the same pod is there
	}
	return host.MoveToGroup(link.index, config.DeadLinkGroup)
}
