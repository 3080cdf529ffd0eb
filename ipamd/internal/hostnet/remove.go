package hostnet

import (
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/config"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

// Removal is what undoes Plan, of what is found in the Scope of the node: it
// deletes rules, then the routes that they lead to, then the addresses of
// secondary ENIs. ENIs stay attached and up, and sysctls as they are: nobody
// knows what they were before. So does what the operating system routes by an
// ENI: the daemon keeps that out only while it works.
func Removal(n Node, have linux.State) []linux.Change {
	ours := func(r linux.Route) bool {
		return r.Table != config.TableMain || strings.HasPrefix(r.Link, n.VethPrefix)
	}
	routes := slices.DeleteFunc(slices.Clone(have.Routes), func(r linux.Route) bool { return !ours(r) })
	changes := linux.Diff(linux.State{Rules: have.Rules, Routes: routes}, linux.State{})
	for _, e := range n.ENIs {
		own := linux.Addr{Link: e.Link, Prefix: linux.HostPrefix(e.Address)}
		if !e.Primary && slices.Contains(have.Addrs, own) {
			changes = append(changes, linux.Change{Op: linux.Delete, Item: own, Reason: "not wanted"})
		}
	}
	return changes
}
