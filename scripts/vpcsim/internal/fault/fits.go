package fault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/glob"
)

// place is where some effects can be: on calls of these EC2 actions and, if
// metadata, on metadata requests.
type place struct {
	effects  string // as the error names them
	set      bool
	actions  []string
	metadata bool
}

// places lists the effects of a rule that only some EC2 calls can have.
func (e Effect) places() []place {
	all := Actions()
	describes := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return !strings.HasPrefix(a, "Describe") })
	changes := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return strings.HasPrefix(a, "Describe") })
	interfaces := []string{"DescribeNetworkInterfaces"}
	aged := append([]string{"DescribeInstances", "DescribeNetworkInterfaces", "DescribeTags"}, changes...)
	return []place{
		{"hang", e.Hang, all, true},
		{"empty", e.Empty, describes, true},
		{"sameToken", e.SameToken, describes, false},
		{"noAttachment or noTags", e.NoAttachment || e.NoTags, interfaces, false},
		{"stale", e.Stale > 0, aged, false},
		{"imdsLag", e.IMDSLag > 0, changes, true},
		{"settle", e.Settle > 0, []string{"CreateNetworkInterface", "AttachNetworkInterface", "DetachNetworkInterface"}, false},
		{"exhaust", e.Exhaust > 0, []string{"CreateNetworkInterface", "AssignPrivateIpAddresses"}, false},
	}
}

// device says whether there is an effect on a guest's device.
func (e Effect) device() bool {
	return e.DeviceDelay > 0 || e.DeviceNever || e.DeviceRename || e.DeviceDHCP || e.DeviceGone > 0
}

// fits refuses effects that the matched kind of call cannot have.
func (r Rule) fits() error {
	for _, p := range r.Effect.places() {
		if p.set && !(p.metadata && r.metadata()) && !r.names(p.actions) {
			return fmt.Errorf("effect.%s with action %q: it goes with %s", p.effects, r.Action, p.say())
		}
	}
	device := r.Effect.device()
	if device && r.Action != ActionDevice && !glob.Match(r.Action, "AttachNetworkInterface") {
		return fmt.Errorf("effect.deviceDelay, deviceNever, deviceRename, deviceDHCP or deviceGone with action %q: they go with %q or AttachNetworkInterface", r.Action, ActionDevice)
	}
	if r.Effect.Away && !r.kubernetes() {
		return fmt.Errorf("effect.away with action %q: it goes with %q or %s/VERB/RESOURCE", r.Action, ActionKubernetes, ActionKubernetes)
	}
	if e := r.Effect; r.kubernetes() && (e.Lost || e.Truncate) {
		return fmt.Errorf("effect.lost or truncate with action %q: they go with EC2 actions and %q", r.Action, ActionIMDS)
	}
	if e := r.Effect.Error; e != nil && e.Status == 0 && r.kubernetes() {
		return fmt.Errorf("effect.error of action %q: set status, such as 410 or 500", r.Action)
	}
	if r.Action == ActionDevice && !device {
		return fmt.Errorf("effect of action %q: set deviceDelay, deviceNever, deviceRename, deviceDHCP or deviceGone", ActionDevice)
	}
	return nil
}

func (p place) say() string {
	text := strings.Join(p.actions, ", ")
	if p.metadata {
		text += fmt.Sprintf(", %q or an IMDS path", ActionIMDS)
	}
	return text
}

// names says whether the rule's pattern matches one of the EC2 actions.
func (r Rule) names(actions []string) bool {
	return slices.ContainsFunc(actions, func(a string) bool { return glob.Match(r.Action, a) })
}

// serviceOf tells whose calls an action or a pattern of actions is about, so
// that a wildcard for all of EC2 is not one for the metadata service too.
func serviceOf(action string) string {
	switch {
	case action == ActionIMDS, strings.HasPrefix(action, "/"):
		return ActionIMDS
	case action == ActionDevice:
		return ActionDevice
	case action == ActionKubernetes, strings.HasPrefix(action, ActionKubernetes+"/"):
		return ActionKubernetes
	}
	return "EC2"
}

func (r Rule) metadata() bool { return serviceOf(r.Action) == ActionIMDS }

func (r Rule) kubernetes() bool { return serviceOf(r.Action) == ActionKubernetes }
