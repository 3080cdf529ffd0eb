package pool

import "fmt"

// Targets are how much an operator wants to be held beyond what pods have, with
// the meaning and the precedence that aws-node gives them (amazon-vpc-cni-k8s,
// docs/eni-and-ip-target.md and docs/prefix-and-ip-target.md): addresses before
// prefixes before ENIs. Addresses that cool down are not free. With none set,
// the pool follows demand.
type Targets struct {
	// WarmAddresses is how many addresses are to be free, and MinimumAddresses
	// how many there are to be, with those of pods; 0 for no such target.
	WarmAddresses, MinimumAddresses int
	// WarmPrefixes is how many prefixes' worth of addresses is to be free, with
	// prefixes.
	WarmPrefixes Target
	// WarmENIs is how many ENIs' worth of addresses is to be free.
	WarmENIs Target
}

// Target is a number that may not be set: 0 is not the same.
type Target struct {
	Number int
	Set    bool
}

// spare is how many free addresses to hold: asked for again below low, up to
// high, and given back above keep, down to high. With whole, ENIs are filled and
// given back as a whole.
type spare struct {
	low, high, keep int
	whole           bool
	reason          string
}

// spareFor is what to hold beyond so many addresses that pods have or are about
// to ask for.
func (s Settings) spareFor(assigned int) spare {
	if s.Families == IPv6 {
		return spare{reason: "pods get IPv6"}
	}
	t, unit := s.Targets, 1
	if s.Prefixes {
		unit = prefixSize
	}
	switch {
	case t.WarmAddresses > 0 || t.MinimumAddresses > 0:
		n := max(t.WarmAddresses, t.MinimumAddresses-assigned)
		return spare{n, n, n, false, fmt.Sprintf("WARM_IP_TARGET %d, MINIMUM_IP_TARGET %d", t.WarmAddresses, t.MinimumAddresses)}
	case s.Prefixes && t.WarmPrefixes.Set:
		n := max(1, t.WarmPrefixes.Number*prefixSize)
		return spare{n, n, n, false, fmt.Sprintf("WARM_PREFIX_TARGET %d", t.WarmPrefixes.Number)}
	case t.WarmENIs.Set:
		n := max(1, t.WarmENIs.Number*s.Limits.slots()*unit)
		return spare{n, n, n, true, fmt.Sprintf("WARM_ENI_TARGET %d", t.WarmENIs.Number)}
	}
	high := s.Headroom + assigned*s.Headroom/20
	return spare{high - high/3, high, high + 2, false, fmt.Sprintf("%d headroom", high)}
}
