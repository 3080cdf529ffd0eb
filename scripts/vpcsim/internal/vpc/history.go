package vpc

import (
	"time"
)

// keepHistory is how far back a reader can be held: superseded revisions are
// forgotten after it.
const keepHistory = 15 * time.Minute

// record is an ENI as it is, and as it was: EC2's Describe calls and the
// metadata service read older revisions.
type record struct {
	ENI
	devicePresent bool
	guest         Guest // of the device that is present
	deleted       bool
	history       []revision // oldest first; the times never decrease
}

// revision is the state after one change, and when each reader begins to see
// it. A nil state means that the ENI is gone.
type revision struct {
	state     *ENI
	describe  time.Time // EC2's Describe calls
	mac       time.Time // IMDS: whether the MAC is listed
	addresses time.Time // IMDS: what is listed under it
}

// reader picks the time of a revision that counts for a kind of reader.
type reader func(*revision) time.Time

func describeReader(r *revision) time.Time { return r.describe }
func macReader(r *revision) time.Time      { return r.mac }
func addressReader(r *revision) time.Time  { return r.addresses }

// asOf is the state that a reader sees at a moment, nil if there is none.
func (r *record) asOf(seen reader, at time.Time) *ENI {
	for i := len(r.history) - 1; i >= 0; i-- {
		if rev := &r.history[i]; !seen(rev).After(at) {
			return rev.state
		}
	}
	return nil
}

// attached reports whether the guest's host has this ENI plugged in.
func (e *ENI) attached(node string) bool {
	return e != nil && e.Attachment != nil && e.Attachment.Node == node && e.Attachment.Status != Attaching
}

// commit makes the record's present state a revision, visible to each reader
// after its delay, and tells the fabric.
func (m *Model) commit(r *record, c Call) {
	rev := m.revision(r, c)
	if !r.deleted {
		state := r.ENI.clone()
		rev.state = &state
	}
	r.history = append(r.history, rev)
	m.forget(r)
	m.notify()
}

// commitNow is commit for what every reader sees at once.
func (m *Model) commitNow(r *record) {
	state := r.ENI.clone()
	r.history = append(r.history, revision{&state, m.now, m.now, m.now})
	m.notify()
}

func (m *Model) revision(r *record, c Call) revision {
	d := &m.topo.Delays
	was, is := false, !r.deleted && r.Attachment != nil && r.Attachment.Status != Attaching
	var prev revision
	if n := len(r.history); n > 0 {
		prev = r.history[n-1]
		was = prev.state != nil && prev.state.Attachment != nil && prev.state.Attachment.Status != Attaching
	}
	mac, addresses := d.IMDSMAC, d.IMDSAddresses
	switch {
	case was && is:
		addresses = d.IMDSAssign
	case was && !is:
		mac, addresses = d.IMDSRemove, d.IMDSRemove
	}
	return revision{
		describe:  later(prev.describe, m.now.Add(d.DescribeLag.Draw(m.rng)+c.Stale)),
		mac:       later(prev.mac, m.now.Add(mac.Draw(m.rng)+c.IMDSLag)),
		addresses: later(prev.addresses, m.now.Add(addresses.Draw(m.rng)+c.IMDSLag)),
	}
}

// forget drops revisions that no reader can ask for any more.
func (m *Model) forget(r *record) {
	old := m.now.Add(-keepHistory)
	for len(r.history) > 1 && r.history[1].superseded(old) {
		r.history = r.history[1:]
	}
}

func (r *revision) superseded(old time.Time) bool {
	return r.describe.Before(old) && r.mac.Before(old) && r.addresses.Before(old)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
