// Package fault decides which requests to the simulator go wrong, and how. A
// Rule says which calls it is about and what happens to them; the Engine
// counts calls and answers with the merged Effect of all rules that fire. It
// only decides: the EC2 and IMDS servers and the model carry effects out. The
// same rules, seed and order of calls give the same faults.
package fault

import (
	"fmt"
	"slices"
	"strings"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/glob"
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

// Window is a stretch of time counted from the adding of the rule.
type Window struct {
	After span.Duration `json:"after,omitzero"`
	For   span.Duration `json:"for,omitzero"` // 0 is without end
}

// Effect is what happens to a call. Several can be set: the latency comes
// first, then what refuses the call, then the call itself, then what spoils
// the answer.
type Effect struct {
	Latency  span.Duration `json:"latency,omitzero"`
	Error    *Error        `json:"error,omitempty"`
	Throttle bool          `json:"throttle,omitempty"` // as if the token bucket were empty
	Reset    bool          `json:"reset,omitempty"`    // connection reset, nothing done
	Lost     bool          `json:"lost,omitempty"`     // done, then connection reset
	HTML502  bool          `json:"html502,omitempty"`  // a 502 page of a load balancer, nothing done
	Truncate bool          `json:"truncate,omitempty"` // done, half of the answer arrives
	// Stale: on a Describe call it answers as of that long ago (up to 15
	// minutes); on a call that changes an ENI, Describe shows the change that
	// much later.
	Stale span.Duration `json:"stale,omitzero"`
	// DeviceDelay and DeviceNever are about the guest's device, on "device" or
	// AttachNetworkInterface.
	DeviceDelay span.Duration `json:"deviceDelay,omitzero"`
	DeviceNever bool          `json:"deviceNever,omitempty"`
	// IMDSLag is as Stale, for the metadata service.
	IMDSLag    span.Duration `json:"imdsLag,omitzero"`
	IMDSOutage bool          `json:"imdsOutage,omitempty"` // no answer until the client gives up
	// Away is that the Kubernetes API is: new requests are reset, running ones
	// end.
	Away bool `json:"away,omitempty"`
}

// Error is an injected answer. An empty message or status is filled from what
// EC2 sends with the code.
type Error struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Status  int    `json:"status,omitempty"`
}

// AWS is the injected error as the EC2 server sends it.
func (e *Error) AWS() *awserr.Error {
	out := awserr.New(e.Code, "%s", e.Message)
	if e.Message == "" {
		out.Message = awserr.DefaultMessage(e.Code)
	}
	if e.Status != 0 {
		out.Status = e.Status
	}
	return out
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
	case r.Effect == Effect{}:
		return fmt.Errorf("effect is empty: say what goes wrong, such as {latency: 2s} or {error: {code: InternalError}}")
	}
	if e := r.Effect.Error; e != nil {
		if e.Status != 0 && (e.Status < 400 || e.Status > 599) {
			return fmt.Errorf("effect.error.status %d: an error has an HTTP status from 400 to 599", e.Status)
		}
		if e.Code == "" && e.Status == 0 {
			return fmt.Errorf("effect.error: set code (EC2) or status (IMDS)")
		}
	}
	return r.fits()
}

// fits refuses effects that the matched kind of call cannot have.
func (r Rule) fits() error {
	metadata := r.Action == ActionIMDS || strings.HasPrefix(r.Action, "/")
	if r.Effect.IMDSOutage && !metadata {
		return fmt.Errorf("effect.imdsOutage with action %q: it goes with %q or an IMDS path", r.Action, ActionIMDS)
	}
	device := r.Effect.DeviceDelay > 0 || r.Effect.DeviceNever
	if device && r.Action != ActionDevice && !glob.Match(r.Action, "AttachNetworkInterface") {
		return fmt.Errorf("effect.deviceDelay or deviceNever with action %q: they go with %q or AttachNetworkInterface", r.Action, ActionDevice)
	}
	if r.Effect.Away && !r.kubernetes() {
		return fmt.Errorf("effect.away with action %q: it goes with %q or %s/VERB/RESOURCE", r.Action, ActionKubernetes, ActionKubernetes)
	}
	if e := r.Effect.Error; e != nil && e.Status == 0 && r.kubernetes() {
		return fmt.Errorf("effect.error of action %q: set status, such as 410 or 500", r.Action)
	}
	if r.Action == ActionDevice && !device {
		return fmt.Errorf("effect of action %q: set deviceDelay or deviceNever", ActionDevice)
	}
	return nil
}

func (r Rule) kubernetes() bool {
	return r.Action == ActionKubernetes || strings.HasPrefix(r.Action, ActionKubernetes+"/")
}

func (r Rule) knownAction() bool {
	if strings.HasPrefix(r.Action, "/") || r.Action == ActionIMDS || r.Action == ActionDevice || r.kubernetes() {
		return true
	}
	return slices.ContainsFunc(Actions(), func(a string) bool { return glob.Match(r.Action, a) })
}

// merge adds the effects of another rule that fired on the same call.
func (e Effect) merge(o Effect) Effect {
	e.Latency += o.Latency
	e.Stale = max(e.Stale, o.Stale)
	e.DeviceDelay = max(e.DeviceDelay, o.DeviceDelay)
	e.IMDSLag = max(e.IMDSLag, o.IMDSLag)
	if e.Error == nil {
		e.Error = o.Error
	}
	e.Throttle = e.Throttle || o.Throttle
	e.Reset = e.Reset || o.Reset
	e.Lost = e.Lost || o.Lost
	e.HTML502 = e.HTML502 || o.HTML502
	e.Truncate = e.Truncate || o.Truncate
	e.DeviceNever = e.DeviceNever || o.DeviceNever
	e.IMDSOutage = e.IMDSOutage || o.IMDSOutage
	e.Away = e.Away || o.Away
	return e
}
