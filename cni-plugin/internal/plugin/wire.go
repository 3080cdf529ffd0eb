package plugin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
	"github.com/causeway-cni/causeway/rpc"
)

// planFrom reads what ipamd assigned. The daemon may be of another version, so
// nothing is taken on trust.
func planFrom(a *rpc.Assignment, podLink string) (podnet.Assignment, error) {
	plan := podnet.Assignment{HostLink: a.GetHostInterface(), PodLink: podLink, MTU: int(a.GetMtu())}
	if plan.HostLink == "" || len(a.GetAddresses()) == 0 {
		return plan, fmt.Errorf("ipamd's answer lacks the host interface or the address: %v", a)
	}
	for _, addr := range a.GetAddresses() {
		ip, err := netip.ParseAddr(addr.GetIp())
		if err != nil {
			return plan, fmt.Errorf("ipamd's answer: address: %w", err)
		}
		gateway, err := netip.ParseAddr(addr.GetGateway())
		if err != nil {
			return plan, fmt.Errorf("ipamd's answer: gateway of %s: %w", ip, err)
		}
		table := int(addr.GetRouteTable())
		if table == 0 {
			table = config.TableMain
		}
		plan.Addresses = append(plan.Addresses, podnet.Address{IP: ip, Gateway: gateway, Table: table})
	}
	return plan, nil
}

// randomMAC is locally administered and unicast, so that no udev rule takes it
// for one to be replaced.
func randomMAC() linux.MAC {
	var m linux.MAC
	rand.Read(m[:])
	m[0] = m[0]&^1 | 2
	return m
}

// wire makes the pod's network: the veth with its peer born in the pod, then
// the inside, then the host's route and rules, so that no packet is routed to
// a pod that cannot answer.
func wire(host, pod *kernel.Handle, plan podnet.Assignment) error {
	var none linux.State
	err := host.Apply(linux.Diff(none, podnet.Veth(plan)), pod)
	if errors.Is(err, unix.EEXIST) {
		// A sandbox of the same pod that came before, or an earlier try.
		if err := host.DeleteLink(plan.HostLink); err != nil {
			return err
		}
		err = host.Apply(linux.Diff(none, podnet.Veth(plan)), pod)
	}
	if errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("the pod's namespace already has an interface %s that is not of this network: %w", plan.PodLink, err)
	}
	if err != nil {
		return err
	}
	inside := podnet.Pod(plan)
	there := linux.State{Links: []linux.Link{{Name: plan.PodLink, MAC: plan.PodMAC, MTU: plan.MTU}}}
	if err := pod.Apply(linux.Diff(there, inside), nil); err != nil {
		return fmt.Errorf("inside the pod: %w", err)
	}
	return host.Apply(linux.Diff(none, podnet.Host(plan)), nil)
}

// unroute removes the pod's rules and routes from the host.
func unroute(host *kernel.Handle, plan podnet.Assignment) error {
	had := podnet.Host(plan)
	had.Sysctls = nil
	return host.Apply(linux.Diff(had, linux.State{}), nil)
}
