package pool

import "fmt"

// SetCordoned says whether the node is kept from new pods, so that it may be on
// its way out. It then creates, attaches and detaches no ENI, for a call that
// the end of the instance cuts short leaves something behind; it holds nothing
// to spare, and what is free goes back to the subnet. Pods that come
// nonetheless get addresses of the ENIs that are there.
func (p *Pool) SetCordoned(cordoned bool) { p.cordoned = cordoned }

// spareNow is what to hold beyond so many addresses that pods have or are about
// to ask for.
func (p *Pool) spareNow(assigned int) spare {
	if p.cordoned {
		return spare{reason: "the node is cordoned"}
	}
	return p.settings.spareFor(assigned)
}

// shut says why no ENI is ever created as things are; nil if one may be.
func (p *Pool) shut() *Refusal {
	switch {
	case p.cordoned:
		return &Refusal{Cause: Cordoned, Message: "the node is cordoned, so that no ENI is created, and those that it has are full: uncordon it, or set AWS_MANAGE_ENIS_NON_SCHEDULABLE to true"}
	case p.primary() != nil && len(p.candidates()) == 0:
		return &Refusal{Cause: NoSubnet, Message: fmt.Sprintf("subnet %s is kept from pods by its tag %s=0, and no other subnet of the zone is for them: tag one with %s=1", p.primary().Subnet, TagRole, TagRole)}
	}
	return nil
}
