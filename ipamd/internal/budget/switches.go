package budget

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

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

// Names of the switches, as operators write them.
const (
	stopReleasing = "stop-releasing"
	stopCalling   = "stop-calling-ec2"
)

// ParseSwitches reads true or false for each switch that is named; the others
// are off. It refuses what is no switch, and any other value, by name.
func ParseSwitches(texts map[string]string) (Switches, error) {
	var s Switches
	known := map[string]*bool{stopReleasing: &s.StopReleasing, stopCalling: &s.StopCalling}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		on, ok := known[name]
		if !ok {
			return Switches{}, fmt.Errorf("there is no switch %q: want %s or %s", name, stopCalling, stopReleasing)
		}
		text := strings.TrimSpace(texts[name])
		value, err := strconv.ParseBool(text)
		if err != nil {
			return Switches{}, fmt.Errorf("switch %s=%q: want true or false", name, text)
		}
		*on = value
	}
	return s, nil
}

// ByName says of each switch whether it is on.
func (s Switches) ByName() map[string]bool {
	return map[string]bool{stopReleasing: s.StopReleasing, stopCalling: s.StopCalling}
}

// Keeps says whether nothing is to be given back.
func (s Switches) Keeps() bool { return s.StopReleasing || s.StopCalling }

// releasing are the actions that give something back.
var releasing = []string{
	"DeleteNetworkInterface", "DetachNetworkInterface", "UnassignPrivateIpAddresses", "UnassignIpv6Addresses",
}

// Off says which switch keeps an action from being called; empty if none does.
func (s Switches) Off(action string) (name string) {
	switch {
	case s.StopCalling:
		return stopCalling
	case s.StopReleasing && slices.Contains(releasing, action):
		return stopReleasing
	}
	return ""
}
