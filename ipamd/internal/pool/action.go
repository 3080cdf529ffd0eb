package pool

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Action is one mutating EC2 call that the plan wants, carried out by the ec2
// doorway. Exactly the types below implement it.
type Action interface {
	// String says what is done and why, in one line for the log.
	String() string
	action()
}

// CreateENI creates an interface with all the addresses that it should bring.
type CreateENI struct {
	Subnet         SubnetID
	SecurityGroups []string
	Addresses      int // secondary addresses
	Prefixes       int // delegated /28 prefixes, in place of Addresses
	Prefixes6      int // delegated /80 prefixes, besides
	Token          string
	Created        time.Time // when it was planned, for the createdAt tag: the same when the call is repeated
	Reason         string
}

// AttachENI attaches an available ENI to this instance.
type AttachENI struct {
	ENI    ENIID
	Device int
	Card   int
	Reason string
}

// ProtectENI sets DeleteOnTermination on an attached ENI, so that it does not
// outlive the instance.
type ProtectENI struct {
	ENI          ENIID
	AttachmentID string
	Reason       string
}

// SetSecurityGroups changes the security groups of an ENI to these.
type SetSecurityGroups struct {
	ENI            ENIID
	SecurityGroups []string // sorted
	Reason         string
}

// AssignAddresses asks for more secondary addresses on an attached ENI, or for
// delegated /28 or /80 prefixes: one of the three.
type AssignAddresses struct {
	ENI       ENIID
	Count     int // addresses
	Prefixes  int // of IPv4, in place of Count
	Prefixes6 int // of IPv6, in place of both
	Reason    string
}

// UnassignAddresses returns secondary addresses and prefixes to the subnet.
type UnassignAddresses struct {
	ENI       ENIID
	Addresses []netip.Addr
	Prefixes  []netip.Prefix
	Reason    string
}

// DetachENI detaches an ENI of ours that no pod needs; it is deleted then.
type DetachENI struct {
	ENI          ENIID
	AttachmentID string
	Reason       string
}

// DeleteENI deletes an ENI of ours that is attached to nothing.
type DeleteENI struct {
	ENI    ENIID
	Reason string
}

func (CreateENI) action()         {}
func (AttachENI) action()         {}
func (ProtectENI) action()        {}
func (SetSecurityGroups) action() {}
func (AssignAddresses) action()   {}
func (UnassignAddresses) action() {}
func (DetachENI) action()         {}
func (DeleteENI) action()         {}

// String is one line for the log.
func (a CreateENI) String() string {
	return fmt.Sprintf("create an ENI with %s in %s (%s)", a.Amount(), a.Subnet, a.Reason)
}

// String is one line for the log.
func (a AttachENI) String() string {
	return fmt.Sprintf("attach %s as device %d (%s)", a.ENI, a.Device, a.Reason)
}

// String is one line for the log.
func (a ProtectENI) String() string {
	return fmt.Sprintf("set DeleteOnTermination on %s (%s)", a.ENI, a.Reason)
}

// String is one line for the log.
func (a SetSecurityGroups) String() string {
	return fmt.Sprintf("set the security groups of %s to %v (%s)", a.ENI, a.SecurityGroups, a.Reason)
}

// String is one line for the log.
func (a AssignAddresses) String() string {
	return fmt.Sprintf("assign %s to %s (%s)", a.Amount(), a.ENI, a.Reason)
}

// String is one line for the log.
func (a UnassignAddresses) String() string {
	return fmt.Sprintf("unassign %v from %s (%s)", slices.Concat(texts(a.Addresses), texts(a.Prefixes)), a.ENI, a.Reason)
}

func texts[T fmt.Stringer](all []T) []string {
	var out []string
	for _, each := range all {
		out = append(out, each.String())
	}
	return out
}

// Amount is what the ENI is to bring, in words.
func (a CreateENI) Amount() string {
	if a.Prefixes6 > 0 {
		return fmt.Sprintf("%s and %d IPv6 prefixes", amount(a.Addresses, a.Prefixes), a.Prefixes6)
	}
	return amount(a.Addresses, a.Prefixes)
}

// Amount is what is asked for, in words.
func (a AssignAddresses) Amount() string {
	if a.Prefixes6 > 0 {
		return fmt.Sprintf("%d IPv6 prefixes", a.Prefixes6)
	}
	return amount(a.Count, a.Prefixes)
}

func amount(addresses, prefixes int) string {
	if prefixes > 0 {
		return fmt.Sprintf("%d prefixes", prefixes)
	}
	return fmt.Sprintf("%d addresses", addresses)
}

// String is one line for the log.
func (a DetachENI) String() string { return fmt.Sprintf("detach %s (%s)", a.ENI, a.Reason) }

// String is one line for the log.
func (a DeleteENI) String() string { return fmt.Sprintf("delete %s (%s)", a.ENI, a.Reason) }

// eniOf is the ENI that an action is about, if there is one yet.
func eniOf(action Action) ENIID {
	switch a := action.(type) {
	case AttachENI:
		return a.ENI
	case ProtectENI:
		return a.ENI
	case SetSecurityGroups:
		return a.ENI
	case AssignAddresses:
		return a.ENI
	case UnassignAddresses:
		return a.ENI
	case DetachENI:
		return a.ENI
	case DeleteENI:
		return a.ENI
	}
	return ""
}
