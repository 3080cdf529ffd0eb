package fleet

import (
	"container/heap"
	"time"
)

// clock is virtual time: what is to happen, in order.
type clock struct {
	now    time.Time
	events events
	made   int
}

type event struct {
	at    time.Time
	order int // of events of one moment
	do    func()
}

type events []event

// Len, Less, Swap, Push and Pop are heap's.
func (e events) Len() int      { return len(e) }
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e events) Less(i, j int) bool {
	if e[i].at.Equal(e[j].at) {
		return e[i].order < e[j].order
	}
	return e[i].at.Before(e[j].at)
}

func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

// after lets something happen after a while.
func (c *clock) after(d time.Duration, do func()) {
	c.made++
	heap.Push(&c.events, event{c.now.Add(max(0, d)), c.made, do})
}

// run lets things happen until there is nothing left, it is time, or over says
// so.
func (c *clock) run(end time.Time, over func() bool) {
	for len(c.events) > 0 && !over() && !c.events[0].at.After(end) {
		next := heap.Pop(&c.events).(event)
		c.now = next.at
		next.do()
	}
}
