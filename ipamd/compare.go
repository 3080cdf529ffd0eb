package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/compare"
	"github.com/causeway-cni/causeway/ipamd/linux"
	"github.com/causeway-cni/causeway/ipamd/linux/kernel"
)

// compareEvery is how often the kernel is compared with the book. EC2 is as the
// allocator saw it last.
const compareEvery = 10 * time.Second

// comparer compares the book, EC2 and the kernel, and tells what stands.
type comparer struct {
	book       *allocator.Allocator
	kernel     *kernel.Handle
	vethPrefix string
	log        *slog.Logger
	found      func(kind string)
	last       []compare.Difference
	standing   atomic.Pointer[[]compare.Difference]
}

func newComparer(book *allocator.Allocator, vethPrefix string, log *slog.Logger, found func(kind string)) (*comparer, error) {
	handle, err := kernel.Open("")
	return &comparer{book: book, kernel: handle, vethPrefix: vethPrefix, log: log, found: found}, err
}

// Step compares, once EC2 was described.
func (c *comparer) Step(context.Context) (time.Duration, error) {
	if c.book.Ready() != nil {
		return 0, nil
	}
	have, err := c.kernel.Observe(linux.Scope{VethPrefix: c.vethPrefix})
	if err != nil {
		return 0, fmt.Errorf("comparing the node with the book: %w", err)
	}
	node := compare.Node{Links: have.Links, VethPrefix: c.vethPrefix, Routes: have.Routes, Addresses: localAddrs()}
	now := c.book.Snapshot()
	differences := compare.Differences(compare.Book{Assignments: now.Assignments, Cooling: now.Cooling}, now.ENIs, node)
	c.book.SetInUse(compare.InUse(differences))
	c.tell(differences)
	return 0, nil
}

// tell logs and counts what is there at two looks in a row, and what stands no
// more.
func (c *comparer) tell(now []compare.Difference) {
	before := c.differences()
	var standing []compare.Difference
	for _, d := range now {
		if !slices.Contains(c.last, d) {
			continue
		}
		standing = append(standing, d)
		if !slices.Contains(before, d) {
			c.found(d.Kind.String())
			c.log.Warn("book, EC2 and kernel differ", "kind", d.Kind.String(), "of", d.Of, "what", d.Text, "done", d.Kind.Remedy())
		}
	}
	for _, d := range before {
		if !slices.Contains(standing, d) {
			c.log.Info("book, EC2 and kernel agree again", "kind", d.Kind.String(), "of", d.Of)
		}
	}
	c.last = now
	c.standing.Store(&standing)
}

// differences are those that stand. It may be called from any goroutine, also
// before there is a comparer.
func (c *comparer) differences() []compare.Difference {
	if c == nil || c.standing.Load() == nil {
		return nil
	}
	return *c.standing.Load()
}

// byKind counts the differences that stand; each kind is there.
func (c *comparer) byKind() map[string]int {
	n := map[string]int{}
	for _, k := range compare.Kinds() {
		n[k.String()] = 0
	}
	for _, d := range c.differences() {
		n[d.Kind.String()]++
	}
	return n
}
