package allocator

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Release takes an address back. link is the pod's, and addresses are those that
// the caller was given, as far as it knows: an address that was adopted is
// released only by both. held is false if nothing was.
func (a *Allocator) Release(_ context.Context, key pool.Key, link string, addresses []netip.Addr, reason string) (released pool.Assignment, held bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.leave(key)
	released, held, err = a.release(key, link, addresses)
	if held {
		a.log.Info("released", "address", released.Text(), "pod", released.Pod.Namespace+"/"+released.Pod.Name, "container", key.ContainerID, "reason", reason)
		a.changed()
		a.wake()
	}
	return released, held, err
}

// leave takes the requests of a key out of the line: its container is gone, and
// nobody would release what they got. The lock is held.
func (a *Allocator) leave(key pool.Key) {
	a.waiters = slices.DeleteFunc(a.waiters, func(w *waiter) bool {
		if w.request.Key != key {
			return false
		}
		w.served <- outcome{err: fmt.Errorf("waiting for an address: container %s was deleted meanwhile: %w", key.ContainerID, context.Canceled)}
		return true
	})
}

func (a *Allocator) release(key pool.Key, link string, addresses []netip.Addr) (pool.Assignment, bool, error) {
	now := time.Now()
	was, held := a.pool.Release(key, link, addresses, now)
	if !held {
		return was, false, nil
	}
	// The record of the assignment is the first address's: it goes last.
	for _, address := range slices.Backward(was.Addresses()) {
		if err := a.store.Cool(address, now.Add(a.settings.Pool.CoolDown)); err != nil {
			a.pool.Restore(was)
			return pool.Assignment{}, false, err
		}
	}
	return was, true, nil
}

// Adopt holds the address of a running pod that has no record, and the second
// one if it has two.
func (a *Allocator) Adopt(address, second netip.Addr, link string, device int) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	held := a.pool.Adopt(address, second, link, device, time.Now())
	if err := a.store.Assign(held); err != nil {
		a.pool.Unassign(held)
		return err
	}
	return nil
}

// Import holds an address as another agent recorded it. It returns false, and
// does nothing, if the address or the container is in the book, as it is when
// an import was interrupted.
func (a *Allocator) Import(recorded pool.Assignment) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, cooling := a.pool.Cooling()[recorded.Address]; cooling || a.pool.Holds(recorded.Key) || a.pool.Taken(recorded.Address) {
		return false, nil
	}
	if err := a.store.Assign(recorded); err != nil {
		return false, err
	}
	a.pool.Hold(recorded)
	return true, nil
}

// ReleaseAdopted takes back adopted addresses whose link is gone.
func (a *Allocator) ReleaseAdopted(exists func(link string) bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var failed []error
	for _, h := range a.pool.Assignments() {
		if !h.Adopted || exists(h.Link) {
			continue
		}
		if _, _, err := a.release(h.Key, "", nil); err != nil {
			failed = append(failed, fmt.Errorf("releasing adopted address %s: %w", h.Text(), err))
			continue
		}
		a.log.Info("released an adopted address: its link is gone", "address", h.Text(), "link", h.Link)
	}
	return errors.Join(failed...)
}
