// Package fault decides which requests to the simulator go wrong, and how. A
// Rule says which calls it is about and what happens to them; the Engine
// counts calls and answers with the merged Effect of all rules that fire. It
// only decides: the EC2 and IMDS servers and the model carry effects out. The
// same rules, seed and order of calls give the same faults.
package fault

import (
	"fmt"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

const (
	// ActionIMDS is what a rule names to match every metadata request; a
	// pattern that begins with a slash matches the request's path instead.
	ActionIMDS = "IMDS"
	// ActionDevice is what a rule names to match the appearing of a device
	// in a guest after its ENI was attached.
	ActionDevice = "device"
	// ActionKubernetes is what a rule names to match every request to the
	// Kubernetes API; Kubernetes/watch/services and the like match by verb and
	// resource.
	ActionKubernetes = "Kubernetes"
)

// Actions lists the EC2 actions that a rule can name.
func Actions() []string {
	return []string{
		"AssignIpv6Addresses", "AssignPrivateIpAddresses", "AttachNetworkInterface",
		"CreateNetworkInterface", "CreateTags", "DeleteNetworkInterface", "DeleteTags",
		"DescribeInstanceTypes", "DescribeInstances", "DescribeNetworkInterfaces",
		"DescribeSecurityGroups", "DescribeSubnets", "DescribeTags", "DescribeVpcs",
		"DetachNetworkInterface", "ModifyNetworkInterfaceAttribute",
		"UnassignIpv6Addresses", "UnassignPrivateIpAddresses",
	}
}

// Rule says which calls go wrong and how. Calls are those that Node and Action
// match within Window; of them Nth, Every or Probability chooses (all of them
// if none is set), at most Times times.
type Rule struct {
	ID          string  `json:"id,omitempty"`     // given by the engine if empty
	Node        string  `json:"node,omitempty"`   // pattern on the calling node's name; empty is everyone
	Action      string  `json:"action,omitempty"` // pattern: EC2 action, "IMDS", IMDS path, "device", "Kubernetes"
	Nth         int     `json:"nth,omitempty"`    // only the n-th call, from 1
	Every       int     `json:"every,omitempty"`  // each n-th call
	Probability float64 `json:"probability,omitempty"`
	Window      Window  `json:"window,omitzero"`
	Times       int     `json:"times,omitempty"` // 0 is without end
	Effect      Effect  `json:"effect"`
}

// Window is a stretch of time counted from the adding of the rule, which can
// come again.
type Window struct {
	After span.Duration `json:"after,omitzero"`
	For   span.Duration `json:"for,omitzero"`   // 0 is without end
	Every span.Duration `json:"every,omitzero"` // from one beginning to the next; 0 is once
}

// has says whether a moment so long after the adding of the rule is in it.
func (w Window) has(age time.Duration) bool {
	age -= time.Duration(w.After)
	if age < 0 || w.For == 0 {
		return age >= 0
	}
	if w.Every > 0 {
		age %= time.Duration(w.Every)
	}
	return age < time.Duration(w.For)
}

// Validate refuses a rule that can never do what it says, naming the field.
func (r Rule) Validate() error {
	switch {
	case r.Action == "":
		return fmt.Errorf("action is empty: name an EC2 action, %q, an IMDS path, %q or %q", ActionIMDS, ActionDevice, ActionKubernetes)
	case !r.knownAction():
		return fmt.Errorf("action %q is unknown: name an EC2 action (%s), %q, an IMDS path beginning with /, %q or %q; * and ? are wildcards",
			r.Action, strings.Join(Actions(), ", "), ActionIMDS, ActionDevice, ActionKubernetes)
	case r.Nth < 0 || r.Every < 0 || r.Times < 0:
		return fmt.Errorf("nth %d, every %d, times %d: they count calls and are 0 (unset) or more", r.Nth, r.Every, r.Times)
	case r.Nth > 0 && r.Every > 0:
		return fmt.Errorf("nth %d and every %d are both set: set one of them", r.Nth, r.Every)
	case !(r.Probability >= 0 && r.Probability <= 1):
		return fmt.Errorf("probability %v: it lies between 0 (unset) and 1", r.Probability)
	case r.Window.Every > 0 && (r.Window.For == 0 || r.Window.Every <= r.Window.For):
		return fmt.Errorf("window.every %v with window.for %v: a window that comes again is over before: write a length for for, and a longer one for every", r.Window.Every, r.Window.For)
	case r.Effect == Effect{}:
		return fmt.Errorf("effect is empty: say what goes wrong, such as {latency: 2s} or {error: {code: InternalError}}")
	}
	if err := r.Effect.check(); err != nil {
		return err
	}
	return r.fits()
}

func (r Rule) knownAction() bool {
	return r.metadata() || r.Action == ActionDevice || r.kubernetes() || r.names(Actions())
}
