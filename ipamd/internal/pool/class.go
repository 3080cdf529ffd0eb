package pool

import (
	"iter"
	"net/netip"
)

// Class is what a failed EC2 call means to the plan. The ec2 doorway gives
// every error its class.
type Class int

const (
	// Unavailable: EC2 cannot be reached, fails, or answers nonsense before
	// anything was sent; trying again later is right.
	Unavailable Class = iota
	// Ambiguous: the call may have been carried out; look before trying again.
	Ambiguous
	// Throttled: EC2 refuses calls for now.
	Throttled
	// Unauthorized: the role lacks a permission, or its credentials are bad.
	Unauthorized
	// SubnetFull: the subnet has no free address left.
	SubnetFull
	// AddressLimit: the ENI holds as many addresses as it can; our view of it
	// is out of date.
	AddressLimit
	// ENILimit: the instance, or the account, can have no more ENIs.
	ENILimit
	// NotFound: the ENI, or its attachment, is not there (any more, or yet).
	NotFound
	// InUse: the ENI or the device number is taken; our view is out of date.
	InUse
	// Refused: any other refusal; it stays until something else changes.
	Refused
)

// String is the class in words.
func (c Class) String() string {
	return [...]string{"EC2 unavailable", "outcome unknown", "throttled", "unauthorized", "subnet full",
		"address limit", "ENI limit", "not found", "in use", "refused"}[c]
}

// Failure is the error of a failed EC2 call.
type Failure struct {
	Class Class
	Err   error // operation, code and message, as EC2 said it
}

// Error is what EC2 said.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the SDK's error.
func (f *Failure) Unwrap() error { return f.Err }

// Result is what a successful call says that a describe would show later.
type Result struct {
	Created      *ENI         // CreateENI
	AttachmentID string       // AttachENI
	Assigned     []netip.Addr // AssignAddresses
	// AssignedPrefixes are those of AssignAddresses with Prefixes, and
	// AssignedPrefixes6 those with Prefixes6.
	AssignedPrefixes, AssignedPrefixes6 []netip.Prefix
}

// Brought are the IPv4 addresses for pods that a call brought.
func (r Result) Brought() iter.Seq[netip.Addr] {
	if r.Created != nil {
		return r.Created.all()
	}
	return ENI{Addresses: r.Assigned, Prefixes: r.AssignedPrefixes}.all()
}
