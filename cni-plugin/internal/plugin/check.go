package plugin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/rpc"
)

// checkTimeout bounds the question to ipamd.
const checkTimeout = 5 * time.Second

// check compares what the pod should have with what the kernel holds, on the
// host and inside the pod, and names each thing that is wrong.
func (p Plugin) check(args *skel.CmdArgs) error {
	c, err := p.readWithPorts(args)
	if err != nil {
		return err
	}
	assigned, err := lookUp(c)
	if err != nil {
		return err
	}
	plan, err := planFrom(assigned, args.IfName)
	if err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	host, pod, err := openBoth(c.netns)
	if err != nil {
		return err
	}
	defer host.Close()
	defer pod.Close()
	wrong, err := compare(host, pod, plan)
	if err != nil {
		return types.NewError(types.ErrInternal, err.Error(), "")
	}
	for _, a := range c.prev.addresses {
		if !slices.ContainsFunc(plan.Addresses, func(have podnet.Address) bool { return have.IP == a }) {
			wrong = append(wrong, fmt.Sprintf("the runtime holds address %s, which ipamd did not assign to this pod", a))
		}
	}
	wrong = append(wrong, portDiff(c.ports, assigned.GetPortMappings())...)
	if len(wrong) > 0 {
		return types.NewError(types.ErrInternal, "the pod's network is not as it was made: "+strings.Join(wrong, "; "), "")
	}
	return nil
}

// lookUp asks ipamd what this attachment holds.
func lookUp(c call) (*rpc.Assignment, error) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	held, err := daemon(c.socket).list(ctx, c.attachment.GetNetwork())
	if err != nil {
		return nil, rpcError("checking the address", err, c)
	}
	for _, a := range held {
		if a.GetAttachment().GetContainerId() == c.attachment.GetContainerId() &&
			a.GetAttachment().GetInterface() == c.attachment.GetInterface() {
			return a, nil
		}
	}
	return nil, types.NewError(types.ErrUnknownContainer, "ipamd holds no address for container "+c.attachment.GetContainerId()+
		" interface "+c.attachment.GetInterface(), "")
}

// compare returns a sentence for each difference.
func compare(host, pod *kernel.Handle, plan podnet.Assignment) ([]string, error) {
	var wrong []string
	wantHost := podnet.Host(plan)
	wantHost.Links = []linux.Link{{Name: plan.HostLink, MTU: plan.MTU, Up: true}}
	haveHost := linux.State{Sysctls: kernel.Sysctls(wantHost.SysctlKeys())}
	for _, a := range plan.Addresses {
		scope := linux.Scope{VethPrefix: plan.HostLink[:min(3, len(plan.HostLink))], Address: a.IP,
			Priorities: []int{config.RuleToPod, config.RuleFromPod}}
		have, err := host.Observe(scope)
		if err != nil {
			return nil, err
		}
		haveHost.Links = have.Links
		haveHost.Routes = append(haveHost.Routes, have.Routes...)
		haveHost.Rules = append(haveHost.Rules, have.Rules...)
	}
	wrong = append(wrong, sentences("on the host", linux.Diff(haveHost, wantHost))...)
	for _, l := range haveHost.Links {
		if l.Name == plan.HostLink {
			plan.HostMAC = l.MAC
		}
	}
	havePod, err := pod.ObservePod()
	if err == nil {
		havePod.Sysctls, err = pod.Sysctls(podnet.Pod(plan).SysctlKeys())
	}
	if err != nil {
		return nil, err
	}
	return append(wrong, sentences("in the pod", podDiff(havePod, plan))...), nil
}

// podDiff ignores what others, a service mesh say, added inside the pod.
func podDiff(have linux.State, plan podnet.Assignment) []linux.Change {
	return slices.DeleteFunc(linux.Diff(have, podnet.Pod(plan)), func(c linux.Change) bool { return c.Op == linux.Delete })
}

func sentences(where string, changes []linux.Change) []string {
	var out []string
	for _, c := range changes {
		what := fmt.Sprintf("%s %s", linux.Kind(c.Item), c.Item)
		switch c.Op {
		case linux.Add:
			out = append(out, fmt.Sprintf("%s: %s is missing", where, what))
		case linux.Set:
			out = append(out, fmt.Sprintf("%s: should be %s, but %s", where, what, c.Reason))
		case linux.Delete:
			out = append(out, fmt.Sprintf("%s: %s should not be there", where, what))
		}
	}
	return out
}
