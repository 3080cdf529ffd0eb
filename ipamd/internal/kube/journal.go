package kube

import (
	"sync"
	"time"
)

const (
	// sameEvent is the least time between two writes of the same event.
	sameEvent = 5 * time.Minute
	// mostSeries bounds the memory for events: more than pods of a node, with
	// several causes each.
	mostSeries = 500
)

// series is the same event, again and again.
type series struct {
	latest      Event
	name        string // of the object that the API has; empty if it has none
	first, last time.Time
	written     time.Time // zero: never
	count       int       // of all reports
	pending     int       // of those not written
}

// journal joins the same events. Of an event that is reported often one write
// comes at once, and then one each five minutes, with the count. It is safe for
// concurrent use.
type journal struct {
	every time.Duration
	noted chan struct{} // something was noted

	mu      sync.Mutex
	series  map[seriesKey]*series
	dropped uint64
}

// seriesKey is what makes events the same; the message may change.
type seriesKey struct {
	about  Object
	reason string
}

func newJournal() *journal {
	return &journal{every: sameEvent, noted: make(chan struct{}, 1), series: map[seriesKey]*series{}}
}

// note counts an event. If there are too many of different kinds, it is
// dropped.
func (j *journal) note(e Event, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := seriesKey{e.About, e.Reason}
	s := j.series[key]
	if s == nil {
		if len(j.series) >= mostSeries {
			j.forget(now)
		}
		if len(j.series) >= mostSeries {
			j.dropped++
			return
		}
		s = &series{first: now}
		j.series[key] = s
	}
	s.latest, s.last = e, now
	s.count++
	s.pending++
	select {
	case j.noted <- struct{}{}:
	default: // the writer has yet to look, and sees all then
	}
}

// forget forgets what was written and may be written again.
func (j *journal) forget(now time.Time) {
	for key, s := range j.series {
		if s.pending == 0 && !now.Before(s.written.Add(j.every)) {
			delete(j.series, key)
		}
	}
}

// due is what has waited longest of what may be written now. If there is
// nothing, wait is how long that stays so unless something is noted.
func (j *journal) due(now time.Time) (next series, ok bool, wait time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	wait = j.every
	for _, s := range j.series {
		until := s.written.Add(j.every).Sub(now)
		switch {
		case s.pending == 0:
		case until > 0:
			wait = min(wait, until)
		case !ok || s.first.Before(next.first):
			next, ok = *s, true
		}
	}
	return next, ok, wait
}

// wrote notes that a series is written as the API has it under this name.
func (j *journal) wrote(what series, name string, now time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.series[seriesKey{what.latest.About, what.latest.Reason}]; s != nil {
		s.pending -= what.pending
		s.name, s.written = name, now
	}
}

// failed drops what could not be written. The next report tries again.
func (j *journal) failed(what series) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dropped += uint64(what.pending)
	if s := j.series[seriesKey{what.latest.About, what.latest.Reason}]; s != nil {
		s.pending -= what.pending
	}
}
