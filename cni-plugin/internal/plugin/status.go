package plugin

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/rpc"
)

// status says whether an ADD would be served: error 50 if not, and 51 if
// moreover the pods that run may lack some connectivity. A daemon that starts
// anew is waited for, as an ADD would: its restart is no reason to take a node
// out of service.
func (p Plugin) status(args *skel.CmdArgs) error {
	c, err := p.read(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	d := daemon(c.socket)
	if ok, err := d.serving(ctx, ""); err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "ipamd does not answer on "+c.socket, err.Error())
	} else if !ok {
		return types.NewError(types.ErrPluginNotAvailable, "ipamd is starting: it does not know the node's ENIs yet", "")
	}
	if ok, err := d.serving(ctx, rpc.HealthDatapath); err == nil && !ok {
		return types.NewError(types.ErrLimitedConnectivity, "ipamd could not put the node's routes, rules or NAT in place; its log says why", "")
	}
	return nil
}
