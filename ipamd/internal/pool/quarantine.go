package pool

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// doubtful is for how long after a call of unknown outcome, ours or that of a
	// daemon before us, an ENI may show what it brought.
	doubtful = 6 * time.Minute
	// formerly is for how long what a describe did not show any more is known.
	formerly = 2 * time.Hour
)

// quarantine is what an ENI is shown to have that we neither asked for nor
// know: somebody assigned it by hand, and may use it. It is handed out to nobody
// and not given back, nor is its ENI, until EC2 does not show it any more. All
// that an ENI has when it is seen for the first time is ours.
func (p *Pool) quarantine(old *entry, e ENI, now time.Time) []netip.Prefix {
	if !p.managed(e) {
		return nil
	}
	var out []netip.Prefix
	known := old.parts()
	for _, part := range e.parts() {
		if _, former := old.former[part]; slices.Contains(old.Quarantined, part) ||
			!former && !slices.Contains(known, part) && !p.mayBring(old, now) && !p.remembers(part) {
			out = append(out, part)
		}
	}
	return out
}

// mayBring says whether a call may have brought an ENI what nobody knows yet.
func (p *Pool) mayBring(e *entry, now time.Time) bool {
	return p.asking(e) || !e.doubted.IsZero() && now.Sub(e.doubted) < doubtful
}

// asking says whether addresses were asked for an ENI by a call that is on its
// way.
func (p *Pool) asking(e *entry) bool {
	return slices.ContainsFunc(p.flying, func(a Action) bool {
		asked, ok := a.(AssignAddresses)
		return ok && asked.ENI == e.ID
	})
}

// remembers says whether an address of a part is held or cools down.
func (p *Pool) remembers(part netip.Prefix) bool {
	for a := range p.owner {
		if part.Contains(a) {
			return true
		}
	}
	for a := range p.cooling {
		if part.Contains(a) {
			return true
		}
	}
	return false
}

// settle books that describes show an ENI as it is now. One that lacks what we
// know is behind our answers: what it lacks may come again, also after a restart.
func (e *entry) settle(shown ENI, now time.Time) {
	left := shown.parts()
	lacking := slices.DeleteFunc(e.parts(), func(part netip.Prefix) bool {
		return slices.Contains(left, part) || slices.Contains(e.Quarantined, part)
	})
	e.lack(lacking, now)
	switch {
	case len(lacking) > 0:
		e.doubted = now
	case now.Sub(e.doubted) >= doubtful:
		e.doubted = time.Time{}
	}
}

// lack remembers what an ENI has no more, for describes may waver.
func (e *entry) lack(parts []netip.Prefix, now time.Time) {
	for part, since := range e.former {
		if now.Sub(since) >= formerly {
			delete(e.former, part)
		}
	}
	for _, part := range parts {
		if e.former == nil {
			e.former = map[netip.Prefix]time.Time{}
		}
		e.former[part] = now
	}
}

// depart remembers an ENI that is not shown any more, and welcome finds it again.
func (p *Pool) depart(e *entry, now time.Time) {
	delete(p.enis, e.ID)
	e.ready, e.since = false, now
	p.departed[e.ID] = e
	for id, e := range p.departed {
		if now.Sub(e.since) >= formerly {
			delete(p.departed, id)
		}
	}
}

func (p *Pool) welcome(id ENIID, now time.Time) (e *entry, known bool) {
	if e, known = p.departed[id]; known {
		delete(p.departed, id)
		e.since = now
		p.enis[id] = e
	}
	return e, known
}

// parts are single addresses and prefixes alike.
func (e ENI) parts() []netip.Prefix { return parts(e.Addresses, e.Prefixes) }

func parts(addresses []netip.Addr, prefixes []netip.Prefix) []netip.Prefix {
	out := slices.Clone(prefixes)
	for _, a := range addresses {
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

// quarantined says whether an address is.
func (e ENI) quarantined(a netip.Addr) bool {
	return slices.ContainsFunc(e.Quarantined, func(part netip.Prefix) bool { return part.Contains(a) })
}

// inQuarantine counts an ENI's addresses that are.
func (e ENI) inQuarantine() int {
	n := 0
	for _, part := range e.Quarantined {
		n += 1 << (part.Addr().BitLen() - part.Bits())
	}
	return n
}
