package server

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/causeway-cni/causeway/cni-plugin/podnet"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/rpc"
)

func keyOf(a *rpc.Attachment) (pool.Key, error) {
	for _, field := range []struct{ name, value string }{
		{"container_id", a.GetContainerId()}, {"interface", a.GetInterface()},
	} {
		if field.value == "" {
			return pool.Key{}, invalid(fmt.Sprintf("attachment.%s is empty; want what the runtime passes to the plugin", field.name))
		}
	}
	return pool.Key{Network: a.GetNetwork(), ContainerID: a.GetContainerId(), Interface: a.GetInterface()}, nil
}

func addressesOf(texts []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if err != nil {
			return nil, invalid(fmt.Sprintf("addresses: %q is no IP address; want those of the ADD's result, without a prefix length", text))
		}
		out = append(out, a)
	}
	return out, nil
}

func podOf(p *rpc.Pod) pool.Pod {
	return pool.Pod{Namespace: p.GetNamespace(), Name: p.GetName(), UID: p.GetUid()}
}

// link names the host end of a pod's veth. A runtime that does not say which
// pod it is gets a name by its container, so that two do not collide; so does
// a second interface of a pod.
func (s *Server) link(key pool.Key, pod pool.Pod) string {
	switch {
	case pod.Name == "":
		return podnet.VethName(s.settings.VethPrefix, key.ContainerID, key.Interface)
	case key.Interface != "eth0":
		return podnet.VethName(s.settings.VethPrefix, pod.Namespace, pod.Name+"."+key.Interface)
	}
	return podnet.VethName(s.settings.VethPrefix, pod.Namespace, pod.Name)
}

// known keeps a reason that the plugin gives, which is free text, to the few
// words that a metric may have.
func known(reason string) string {
	for _, word := range []string{"DEL", "GC", "ADD failed"} {
		if strings.HasPrefix(reason, word) {
			return word
		}
	}
	return "other"
}

// failure is a status that carries a typed reason.
func failure(code codes.Code, reason rpc.Reason, message string) error {
	st, err := status.New(code, message).WithDetails(&rpc.Failure{Reason: reason, Message: message})
	if err != nil {
		return status.Error(code, message)
	}
	return st.Err()
}

// statusOf is the one place where an allocator's error becomes a gRPC status.
func statusOf(err error) error {
	var refusal *pool.Refusal
	var taken *pool.PortTaken
	switch {
	case errors.As(err, &taken):
		return failure(codes.FailedPrecondition, rpc.Reason_REASON_HOST_PORT_TAKEN, err.Error())
	case errors.As(err, &refusal):
		return failure(codes.ResourceExhausted, reasonOf(refusal), err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return failure(codes.Internal, rpc.Reason_REASON_STATE_NOT_WRITTEN, err.Error())
}

// causeOf is the reason that a status carries; false if it carries none.
func causeOf(err error) (rpc.Reason, string, bool) {
	for _, detail := range status.Convert(err).Details() {
		if f, ok := detail.(*rpc.Failure); ok {
			return f.GetReason(), f.GetMessage(), true
		}
	}
	return 0, "", false
}

// reasonOf gives a refusal its code.
func reasonOf(r *pool.Refusal) rpc.Reason {
	switch r.Cause {
	case pool.Starting:
		return rpc.Reason_REASON_STARTING
	case pool.Coming:
		return rpc.Reason_REASON_ADDRESSES_COMING
	case pool.CoolingDown:
		return rpc.Reason_REASON_ADDRESSES_COOLING
	case pool.TooManyPods:
		return rpc.Reason_REASON_TOO_MANY_PODS
	case pool.NoPlace:
		return rpc.Reason_REASON_NO_ENI_CONFIG
	case pool.NoSubnet:
		return rpc.Reason_REASON_NO_SUBNET
	case pool.Cordoned:
		return rpc.Reason_REASON_NODE_CORDONED
	case pool.DeviceLate:
		return rpc.Reason_REASON_DEVICE_LATE
	}
	switch r.Class {
	case pool.Throttled:
		return rpc.Reason_REASON_THROTTLED
	case pool.Unauthorized:
		return rpc.Reason_REASON_UNAUTHORIZED
	case pool.SubnetFull:
		return rpc.Reason_REASON_SUBNET_FULL
	case pool.ENILimit, pool.AddressLimit:
		return rpc.Reason_REASON_ENI_LIMIT
	}
	return rpc.Reason_REASON_EC2_UNAVAILABLE
}
