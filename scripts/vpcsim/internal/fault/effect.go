package fault

import (
	"fmt"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/awserr"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// Effect is what happens to a call. Several can be set: the latency comes
// first, then what refuses the call, then the call itself, then what spoils
// the answer.
type Effect struct {
	Latency  span.Duration `json:"latency,omitzero"`
	Error    *Error        `json:"error,omitempty"`
	Throttle bool          `json:"throttle,omitempty"` // as if the token bucket were empty
	Reset    bool          `json:"reset,omitempty"`    // connection reset, nothing done
	Hang     bool          `json:"hang,omitempty"`     // nothing done, no answer until the client gives up
	Lost     bool          `json:"lost,omitempty"`     // done, then connection reset; with Hang, no answer
	HTML502  bool          `json:"html502,omitempty"`  // a 502 page of a load balancer, nothing done
	Truncate bool          `json:"truncate,omitempty"` // done, half of the answer arrives
	// Empty: a Describe call finds nothing, though a next page is told of as
	// ever; a metadata path has a text of no length.
	Empty bool `json:"empty,omitempty"`
	// SameToken: the answer to a request for a next page names that page as
	// the next.
	SameToken bool `json:"sameToken,omitempty"`
	// NoAttachment and NoTags leave these out of what
	// DescribeNetworkInterfaces sees.
	NoAttachment bool `json:"noAttachment,omitempty"`
	NoTags       bool `json:"noTags,omitempty"`
	// Stale: on a Describe call it answers as of that long ago (up to 15
	// minutes); on a call that changes an ENI, Describe shows the change that
	// much later.
	Stale span.Duration `json:"stale,omitzero"`
	// Settle: an ENI stays pending, an attachment attaching or detaching that
	// much longer.
	Settle span.Duration `json:"settle,omitzero"`
	// Exhaust: before a Create or Assign call, other tenants take all
	// addresses of its subnet, and give them back after that long.
	Exhaust span.Duration `json:"exhaust,omitzero"`
	// The device effects are about the guest's device, on "device" or
	// AttachNetworkInterface: it appears later, or never; the operating system
	// renames it, or configures it by DHCP; an operator detaches its ENI that
	// long after it has appeared.
	DeviceDelay  span.Duration `json:"deviceDelay,omitzero"`
	DeviceNever  bool          `json:"deviceNever,omitempty"`
	DeviceRename bool          `json:"deviceRename,omitempty"`
	DeviceDHCP   bool          `json:"deviceDHCP,omitempty"`
	DeviceGone   span.Duration `json:"deviceGone,omitzero"`
	// IMDSLag is as Stale, for the metadata service.
	IMDSLag span.Duration `json:"imdsLag,omitzero"`
	// Away is that the Kubernetes API is: new requests are reset, running ones
	// end.
	Away bool `json:"away,omitempty"`
}

// Error is an injected answer. An empty message or status is filled from what
// EC2 sends with the code. {NAME} in a message is the request's parameter of
// that name, or the first if it is a list.
type Error struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Status  int    `json:"status,omitempty"`
}

// AWS is the injected error as the EC2 server sends it, but for parameters in
// its message.
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

// Merge adds the effects of another rule that fired on the same call.
func (e Effect) Merge(o Effect) Effect {
	e.Latency += o.Latency
	if e.Error == nil {
		e.Error = o.Error
	}
	for _, b := range []struct{ to, from *bool }{
		{&e.Throttle, &o.Throttle}, {&e.Reset, &o.Reset}, {&e.Hang, &o.Hang}, {&e.Lost, &o.Lost}, {&e.HTML502, &o.HTML502},
		{&e.Truncate, &o.Truncate}, {&e.Empty, &o.Empty}, {&e.SameToken, &o.SameToken}, {&e.NoAttachment, &o.NoAttachment},
		{&e.NoTags, &o.NoTags}, {&e.DeviceNever, &o.DeviceNever}, {&e.DeviceRename, &o.DeviceRename},
		{&e.DeviceDHCP, &o.DeviceDHCP}, {&e.Away, &o.Away},
	} {
		*b.to = *b.to || *b.from
	}
	for _, d := range []struct{ to, from *span.Duration }{
		{&e.Stale, &o.Stale}, {&e.Settle, &o.Settle}, {&e.Exhaust, &o.Exhaust}, {&e.DeviceDelay, &o.DeviceDelay},
		{&e.DeviceGone, &o.DeviceGone}, {&e.IMDSLag, &o.IMDSLag},
	} {
		*d.to = max(*d.to, *d.from)
	}
	return e
}

// check refuses effects that no call can have.
func (e Effect) check() error {
	switch in := e.Error; {
	case in == nil:
	case in.Status != 0 && (in.Status < 400 || in.Status > 599):
		return fmt.Errorf("effect.error.status %d: an error has an HTTP status from 400 to 599", in.Status)
	case in.Code == "" && in.Status == 0:
		return fmt.Errorf("effect.error: set code (EC2) or status (IMDS)")
	}
	if e.DeviceNever && (e.DeviceDelay > 0 || e.DeviceGone > 0 || e.DeviceRename || e.DeviceDHCP) {
		return fmt.Errorf("effect.deviceNever with another device effect: a device that never appears has no other")
	}
	return nil
}
