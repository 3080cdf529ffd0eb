package pool

import (
	"fmt"
	"net/netip"
	"reflect"
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

// AssignAddresses asks for more secondary addresses on an attached ENI.
type AssignAddresses struct {
	ENI    ENIID
	Count  int
	Reason string
}

// UnassignAddresses returns secondary addresses to the subnet.
type UnassignAddresses struct {
	ENI       ENIID
	Addresses []netip.Addr
	Reason    string
}

// DeleteENI deletes an ENI of ours that is attached to nothing.
type DeleteENI struct {
	ENI    ENIID
	Reason string
}

func (CreateENI) action()         {}
func (AttachENI) action()         {}
func (ProtectENI) action()        {}
func (AssignAddresses) action()   {}
func (UnassignAddresses) action() {}
func (DeleteENI) action()         {}

// String is one line for the log.
func (a CreateENI) String() string {
	return fmt.Sprintf("create an ENI with %d addresses in %s (%s)", a.Addresses, a.Subnet, a.Reason)
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
func (a AssignAddresses) String() string {
	return fmt.Sprintf("assign %d addresses to %s (%s)", a.Count, a.ENI, a.Reason)
}

// String is one line for the log.
func (a UnassignAddresses) String() string {
	return fmt.Sprintf("unassign %v from %s (%s)", a.Addresses, a.ENI, a.Reason)
}

// String is one line for the log.
func (a DeleteENI) String() string { return fmt.Sprintf("delete %s (%s)", a.ENI, a.Reason) }

// same says whether two actions are one and the same call.
func same(a, b Action) bool {
	x, isCreate := a.(CreateENI)
	y, both := b.(CreateENI)
	if isCreate || both {
		return isCreate && both && x.Token == y.Token
	}
	return reflect.TypeOf(a) == reflect.TypeOf(b) && eniOf(a) == eniOf(b)
}

// eniOf is the ENI that an action is about, if there is one yet.
func eniOf(action Action) ENIID {
	switch a := action.(type) {
	case AttachENI:
		return a.ENI
	case ProtectENI:
		return a.ENI
	case AssignAddresses:
		return a.ENI
	case UnassignAddresses:
		return a.ENI
	case DeleteENI:
		return a.ENI
	}
	return ""
}
