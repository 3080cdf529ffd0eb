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

// shut says why a cordoned node has no address to come; nil if its ENIs have
// room for some.
func (p *Pool) shut() *Refusal {
	if !p.cordoned {
		return nil
	}
	enis := 0
	for _, e := range p.enis {
		if !p.managed(e.ENI) || e.Status == Available {
			continue
		}
		if enis++; p.room(e) > 0 {
			return nil
		}
	}
	return &Refusal{Cause: Cordoned, Message: fmt.Sprintf("the node is cordoned, so that no ENI is created, and its %d ENIs for pods are full: uncordon it, or set AWS_MANAGE_ENIS_NON_SCHEDULABLE to true", enis)}
}
