package budget

import "strings"

// Class is a kind of actions to which EC2 grants equal buckets, one for each
// action.
type Class int

const (
	// Describe: all that only reads, with filters or pages.
	Describe Class = iota
	// Mutating: what changes anything and has no class of its own, such as
	// attaching and detaching ENIs.
	Mutating
	// Interface: creating, deleting and changing ENIs and their addresses.
	Interface
	// Tags: writing tags.
	Tags
)

// String names the class.
func (c Class) String() string {
	return [...]string{"describe", "mutating", "interface", "tags"}[c]
}

// ClassOf is the class of an action of the EC2 API.
func ClassOf(action string) Class {
	switch action {
	case "CreateNetworkInterface", "DeleteNetworkInterface", "ModifyNetworkInterfaceAttribute",
		"AssignPrivateIpAddresses", "UnassignPrivateIpAddresses", "AssignIpv6Addresses":
		return Interface
	case "CreateTags", "DeleteTags":
		return Tags
	}
	for _, reads := range []string{"Describe", "Get", "List", "Search"} {
		if strings.HasPrefix(action, reads) {
			return Describe
		}
	}
	return Mutating
}

// Limit is a token bucket of the account.
type Limit struct {
	Size   float64 // calls that a full one serves at once
	Refill float64 // calls per second
}

// Documented is what EC2 grants an account for one action in one region, if it
// asked for no more (Amazon EC2 developer guide, "Request throttling for the
// Amazon EC2 API").
func Documented(c Class) Limit {
	return [...]Limit{Describe: {100, 20}, Mutating: {50, 5}, Interface: {100, 5}, Tags: {100, 10}}[c]
}
