package ec2

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// classes of the error codes of EC2 (API reference, "Error codes for the
// Amazon EC2 API"), where the code alone says enough. What others named wrongly,
// such as a subnet or a security group, is no news of our ENIs, and refused.
var classes = map[string]pool.Class{
	"RequestLimitExceeded":        pool.Throttled,
	"Throttling":                  pool.Throttled,
	"ThrottlingException":         pool.Throttled,
	"ThrottledException":          pool.Throttled,
	"RequestThrottled":            pool.Throttled,
	"RequestThrottledException":   pool.Throttled,
	"TooManyRequestsException":    pool.Throttled,
	"BandwidthLimitExceeded":      pool.Throttled,
	"SlowDown":                    pool.Throttled,
	"EC2ThrottledException":       pool.Throttled,
	codeBudget:                    pool.Throttled,
	"UnauthorizedOperation":       pool.Unauthorized,
	"AuthFailure":                 pool.Unauthorized,
	"AccessDenied":                pool.Unauthorized,
	"AccessDeniedException":       pool.Unauthorized,
	"ExpiredToken":                pool.Unauthorized,
	"ExpiredTokenException":       pool.Unauthorized,
	"RequestExpired":              pool.Unauthorized,
	"InvalidClientTokenId":        pool.Unauthorized,
	"UnrecognizedClientException": pool.Unauthorized,
	"SignatureDoesNotMatch":       pool.Unauthorized,
	"MissingAuthenticationToken":  pool.Unauthorized,
	"OptInRequired":               pool.Unauthorized,
	"Blocked":                     pool.Unauthorized,
	"PendingVerification":         pool.Unauthorized,

	"InsufficientFreeAddressesInSubnet": pool.SubnetFull,
	"InsufficientCidrBlocks":            pool.SubnetFull,

	"PrivateIpAddressLimitExceeded":           pool.AddressLimit,
	"InvalidInterface.IpAddressLimitExceeded": pool.AddressLimit,
	"AttachmentLimitExceeded":                 pool.ENILimit,
	"NetworkInterfaceLimitExceeded":           pool.ENILimit,

	"InvalidNetworkInterfaceID.NotFound": pool.NotFound,
	"InvalidNetworkInterfaceId.NotFound": pool.NotFound,
	"InvalidAttachmentID.NotFound":       pool.NotFound,
	"InvalidInstanceID.NotFound":         pool.NotFound,

	"InvalidNetworkInterface.InUse": pool.InUse,
	"InvalidIPAddress.InUse":        pool.InUse,
	"IncorrectState":                pool.InUse,
	"IncorrectInstanceState":        pool.InUse,
	"ConcurrentTagAccess":           pool.InUse,
	// The token made an ENI already, though with other parameters.
	"IdempotentParameterMismatch": pool.InUse,
}

// texts of InvalidParameterValue, which stands for many refusals.
var texts = []struct {
	part  string
	class pool.Class
}{
	{"There aren't sufficient free Ipv4 addresses or prefixes", pool.SubnetFull},
	{"already has an interface attached at device index", pool.InUse},
	{"is currently in use", pool.InUse},
}

// classify says what a failed call means. With doubt, the call was a mutating
// one and an attempt of it was sent and not answered: it may have been carried
// out, unless EC2 looked at it again and refused. Throttling and permissions
// are decided before EC2 looks, and a request that timed out inside EC2 was
// not decided.
func classify(err error, doubt bool) pool.Class {
	lost := pool.Unavailable
	if doubt {
		lost = pool.Ambiguous
	}
	var refused smithy.InvalidParamsError
	if errors.As(err, &refused) {
		return pool.Refused // by the SDK, before anything was sent
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return lost
	}
	switch class, ok := classes[api.ErrorCode()]; {
	case doubt && (class == pool.Throttled || class == pool.Unauthorized):
		return lost
	case ok:
		return class
	case api.ErrorCode() == "RequestTimeout":
		return lost
	}
	if api.ErrorCode() == "InvalidParameterValue" {
		for _, t := range texts {
			if strings.Contains(api.ErrorMessage(), t.part) {
				return t.class
			}
		}
	}
	switch status := httpStatus(err); {
	case status == 429 && !doubt:
		return pool.Throttled
	case status == 429, status >= 500, status < 400:
		return lost
	}
	return pool.Refused
}

// fail is the one way by which errors of calls leave this package.
func fail(err error, doubt bool, doing string, args ...any) error {
	return &pool.Failure{Class: classify(err, doubt), Err: fmt.Errorf("%s: %w", fmt.Sprintf(doing, args...), err)}
}

// code is the error code for a Recorder: EC2's, or in words what kept its
// answer from us.
func code(err error) string {
	var api smithy.APIError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.Canceled):
		return "Canceled"
	case errors.As(err, &api):
		return api.ErrorCode()
	case timeout(err):
		return "Timeout"
	case httpStatus(err) != 0:
		return "BadAnswer"
	}
	return "NoAnswer"
}

func timeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// httpStatus is that of the answer, 0 if there was none.
func httpStatus(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if !errors.As(err, &answer) {
		return 0
	}
	return answer.HTTPStatusCode()
}
