package budget

import "slices"

// Switches take load off EC2, or keep a node as it is, while something is wrong
// that no rule here knows of.
type Switches struct {
	// StopReleasing keeps all that the node has: nothing is unassigned,
	// detached or deleted.
	StopReleasing bool
	// StopCalling keeps the node from calling EC2 at all, also from reading.
	// Pods get what is free.
	StopCalling bool
}

// releasing are the actions that give something back.
var releasing = []string{
	"DeleteNetworkInterface", "DetachNetworkInterface", "UnassignPrivateIpAddresses", "UnassignIpv6Addresses",
}

// Off says which switch keeps an action from being called; empty if none does.
func (s Switches) Off(action string) (name string) {
	switch {
	case s.StopCalling:
		return "stop calling EC2"
	case s.StopReleasing && slices.Contains(releasing, action):
		return "stop releasing"
	}
	return ""
}
