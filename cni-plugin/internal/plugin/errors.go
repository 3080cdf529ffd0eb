package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/containernetworking/cni/pkg/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/rpc/reason"
)

// rpcError is the one place where a failed call to ipamd gets a CNI error code
// (CNI specification 1.1.0, section 5). All but bad requests may pass with
// time, so the runtime is told to try again.
func rpcError(doing string, err error, c call) error {
	pod := ""
	if c.pod.GetName() != "" {
		pod = fmt.Sprintf(" for pod %s/%s", c.pod.GetNamespace(), c.pod.GetName())
	}
	if f := reasonOf(err); f != nil {
		code := types.ErrTryAgainLater
		if f.GetReason() == rpc.Reason_REASON_INVALID_REQUEST {
			code = types.ErrInvalidNetworkConfig
		}
		return types.NewError(code, fmt.Sprintf("%s%s: %s", doing, pod, f.GetMessage()), reason.Code(f.GetReason()))
	}
	st := status.Convert(err)
	switch {
	case st.Code() == codes.Unavailable, st.Code() == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s%s: ipamd does not answer on %s", doing, pod, c.socket), st.Message())
	case st.Code() == codes.Unimplemented:
		return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s%s: ipamd is of a version that does not know this call", doing, pod), st.Message())
	}
	return types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s%s: %s", doing, pod, st.Message()), st.Code().String())
}
