package plugin

import (
	"context"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/causeway-cni/causeway/rpc"
)

// status says whether an ADD would be served now: error 50 if not, and 51 if
// moreover the pods that run may lack some connectivity.
func (p Plugin) status(args *skel.CmdArgs) error {
	c, err := p.read(args)
	if err != nil {
		return err
	}
	conn, err := dial(c.socket)
	if err != nil {
		return types.NewError(types.ErrPluginNotAvailable, err.Error(), "")
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	health := grpc_health_v1.NewHealthClient(conn)
	serving := func(service string) (bool, error) {
		reply, err := health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		return reply.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING, err
	}
	if ok, err := serving(""); err != nil {
		return types.NewError(types.ErrPluginNotAvailable, "ipamd does not answer on "+c.socket, err.Error())
	} else if !ok {
		return types.NewError(types.ErrPluginNotAvailable, "ipamd is starting: it does not know the node's ENIs yet", "")
	}
	if ok, err := serving(rpc.HealthDatapath); err == nil && !ok {
		return types.NewError(types.ErrLimitedConnectivity, "ipamd could not put the node's routes, rules or NAT in place; its log says why", "")
	}
	return nil
}
