package plugin

import (
	"fmt"
	"net/netip"

	"github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/causeway-cni/causeway/ipamd/linux"
)

// previous is what the runtime kept of the ADD's result; it may have kept
// nothing, and that of another agent's plugin lacks the hardware address.
type previous struct {
	link      string // host end of the veth
	mac       linux.MAC
	addresses []netip.Addr
}

func readPrevious(conf *types.PluginConf) (previous, error) {
	var p previous
	if err := version.ParsePrevResult(conf); err != nil {
		return p, fmt.Errorf("reading prevResult: %w", err)
	}
	if conf.PrevResult == nil {
		return p, nil
	}
	result, err := current.NewResultFromResult(conf.PrevResult)
	if err != nil {
		return p, fmt.Errorf("reading prevResult: %w", err)
	}
	for _, i := range result.Interfaces {
		if i.Sandbox == "" {
			p.link = i.Name
			p.mac, _ = linux.ParseMAC(i.Mac) // absent, or another agent's own use of the field
			break
		}
	}
	for _, ip := range result.IPs {
		addr, ok := netip.AddrFromSlice(ip.Address.IP)
		if !ok {
			return p, fmt.Errorf("reading prevResult: address %s: not an IP address", ip.Address.String())
		}
		p.addresses = append(p.addresses, addr.Unmap())
	}
	return p, nil
}
