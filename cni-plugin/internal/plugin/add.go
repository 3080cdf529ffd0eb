package plugin

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/rpc"
)

// add gives a pod its address and wires it. What a failed ADD did is undone:
// the address goes back and nothing stays on the host.
func (p Plugin) add(args *skel.CmdArgs) error {
	c, err := p.readWithPorts(args)
	if err != nil {
		return err
	}
	host, pod, err := openBoth(c.netns)
	if err != nil {
		return err
	}
	defer host.Close()
	defer pod.Close()
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	if err := notes.Withdraw(c.notes, noteOf(c, "")); err != nil {
		return types.NewError(types.ErrIOFailure, err.Error(), "")
	}
	assigned, err := daemon(c.socket).assign(ctx, c)
	if err != nil {
		failure := rpcError("assigning an address", err, c)
		if away(err) { // and may have assigned all the same
			if err := giveBack(c); err != nil {
				return err
			}
		}
		return failure
	}
	if wrong := portDiff(c.ports, assigned.GetPortMappings()); len(wrong) > 0 {
		if err := giveBack(c); err != nil {
			return err
		}
		return types.NewError(types.ErrTryAgainLater, "giving the pod its host ports: "+strings.Join(wrong, "; "),
			"an older ipamd knows no host ports; one of version "+rpc.Version+" does")
	}
	plan, err := planFrom(assigned, args.IfName)
	if err == nil {
		plan.HostMAC, plan.PodMAC = randomMAC(), randomMAC()
		err = wire(host, pod, plan)
	}
	if err != nil {
		undo := errors.Join(host.DeleteLink(plan.HostLink), unroute(host, plan), giveBack(c))
		return types.NewError(types.ErrInternal, "wiring the pod: "+errors.Join(err, undo).Error(), "")
	}
	return types.PrintResult(result(plan, c.netns), c.conf.CNIVersion)
}

// giveBack releases the address of a failed ADD.
func giveBack(c call) error {
	_, _, err := releaseOrNote(c, "ADD failed")
	return err
}

// openBoth opens the host's and the pod's namespace.
func openBoth(netns string) (host, pod *kernel.Handle, err error) {
	pod, err = kernel.Open(netns)
	if errors.Is(err, fs.ErrNotExist) || (err != nil && netns == "") {
		return nil, nil, types.NewError(types.ErrInvalidNetNS, "CNI_NETNS "+netns+": no such network namespace", err.Error())
	}
	if err != nil {
		return nil, nil, types.NewError(types.ErrInvalidNetNS, "CNI_NETNS "+netns+": "+err.Error(), "")
	}
	host, err = kernel.Open("")
	if err != nil {
		pod.Close()
		return nil, nil, types.NewError(types.ErrInternal, err.Error(), "")
	}
	return host, pod, nil
}

// result says what was made, as it is: both ends of the veth with their real
// hardware addresses, and the pod's end in its sandbox.
func result(plan podnet.Assignment, netns string) *current.Result {
	r := &current.Result{
		CNIVersion: current.ImplementedSpecVersion,
		Interfaces: []*current.Interface{
			{Name: plan.HostLink, Mac: plan.HostMAC.String(), Mtu: plan.MTU},
			{Name: plan.PodLink, Mac: plan.PodMAC.String(), Mtu: plan.MTU, Sandbox: netns},
		},
	}
	for _, a := range plan.Addresses {
		bits := a.IP.BitLen()
		gateway := net.IP(a.Gateway.AsSlice())
		r.IPs = append(r.IPs, &current.IPConfig{
			Interface: current.Int(1), Gateway: gateway,
			Address: net.IPNet{IP: a.IP.AsSlice(), Mask: net.CIDRMask(bits, bits)},
		})
		r.Routes = append(r.Routes, &types.Route{Dst: defaultRoute(a.IP), GW: gateway})
	}
	return r
}

func defaultRoute(ip netip.Addr) net.IPNet {
	bytes := ip.BitLen() / 8
	return net.IPNet{IP: make(net.IP, bytes), Mask: make(net.IPMask, bytes)}
}
