// Package awserr is the vocabulary of EC2 API errors: code, HTTP status and
// message text as the service sends them. Codes carry no "Client." or
// "Server." prefix: that is only in CloudTrail and in the documentation.
package awserr

import (
	"fmt"
	"net/http"
)

// Error is one EC2 error answer.
type Error struct {
	Code    string
	Message string
	Status  int // HTTP status
}

// Error spells the error as AWS tools print it.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// New makes an error with the HTTP status that its code has.
func New(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: Status(code)}
}

// Status is the HTTP status that EC2 sends a code with: 400 for all but a few.
func Status(code string) int {
	switch code {
	case "RequestLimitExceeded", "Unavailable", "ServiceUnavailable":
		return http.StatusServiceUnavailable
	case "InternalError", "InternalFailure", "ServerInternal":
		return http.StatusInternalServerError
	case "UnauthorizedOperation":
		return http.StatusForbidden
	case "AuthFailure":
		return http.StatusUnauthorized
	case "DryRunOperation":
		return http.StatusPreconditionFailed
	}
	return http.StatusBadRequest
}

// DefaultMessage is the text that an injected error of this code carries when
// its rule gives none. {NAME} stands for a parameter of the request.
func DefaultMessage(code string) string {
	texts := map[string]string{
		"RequestLimitExceeded":               "Request limit exceeded.",
		"InternalError":                      "An internal error has occurred",
		"InternalFailure":                    "An internal error has occurred",
		"ServerInternal":                     "An internal error has occurred",
		"Unavailable":                        "The server is overloaded and can't handle the request.",
		"ServiceUnavailable":                 "The server is overloaded and can't handle the request.",
		"InsufficientFreeAddressesInSubnet":  NoFreeAddresses().Message,
		"InsufficientCidrBlocks":             NoFreeBlocks().Message,
		"PrivateIpAddressLimitExceeded":      TooManyAddresses().Message,
		"UnauthorizedOperation":              "You are not authorized to perform this operation.",
		"AuthFailure":                        "AWS was not able to validate the provided access credentials",
		"RequestExpired":                     "Request has expired.",
		"DryRunOperation":                    DryRun().Message,
		"NetworkInterfaceLimitExceeded":      "The maximum number of network interfaces has been reached.",
		"InvalidNetworkInterfaceID.NotFound": "The networkInterface ID '{NetworkInterfaceId}' does not exist",
		"InvalidNetworkInterface.InUse":      "Interface: [{NetworkInterfaceId}] in use.",
		"InvalidAttachmentID.NotFound":       "The network interface attachment ID '{AttachmentId}' does not exist",
		"InvalidInstanceID.NotFound":         "The instance ID '{InstanceId}' does not exist",
		"InvalidSubnetID.NotFound":           "The subnet ID '{SubnetId}' does not exist",
		"InvalidNextToken":                   "The specified NextToken is not valid",
	}
	if text, ok := texts[code]; ok {
		return text
	}
	return "Injected by a fault rule"
}

// NoFreeAddresses is the refusal when the subnet has too few free IPv4 addresses.
func NoFreeAddresses() *Error {
	return New("InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.")
}

// NoFreeBlocks is the refusal when enough addresses are free, but no aligned /28.
func NoFreeBlocks() *Error {
	return New("InsufficientCidrBlocks", "The specified subnet does not have enough free cidr blocks to satisfy the request.")
}

// NoFreePrefixes is the refusal when a prefix is asked of a subnet at its capacity. The text is
// what tells it from other InvalidParameterValue answers.
func NoFreePrefixes() *Error {
	return New("InvalidParameterValue", "There aren't sufficient free Ipv4 addresses or prefixes")
}

// TooManyAddresses is the refusal when addresses and prefixes would exceed the slots of the ENI.
func TooManyAddresses() *Error {
	return New("PrivateIpAddressLimitExceeded", "Number of private addresses will exceed limit.")
}

// Throttled is the refusal when the action's token bucket is empty.
func Throttled() *Error {
	return New("RequestLimitExceeded", "Request limit exceeded.")
}

// DryRun is the answer when the request asked only whether it would succeed, and it would.
func DryRun() *Error {
	return New("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")
}

// Missing is the refusal when a required parameter is absent.
func Missing(param string) *Error {
	return New("MissingParameter", "The request must contain the parameter %s", param)
}

// BadValue is the refusal when a parameter has a value that it cannot have.
func BadValue(param, value, reason string) *Error {
	return New("InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, param, reason)
}
