package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
)

const (
	grace      = 5 * time.Second  // from SIGTERM to SIGKILL for the daemon
	cleanLimit = 30 * time.Second // for ending what ran in the namespaces
)

// Down ends the simulator of this name and removes all that it, or one that
// was killed, has left: processes in its namespaces, the namespaces, the
// folder. Nothing to remove is fine.
func Down(ctx context.Context, s State) error {
	if err := s.stopDaemon(ctx); err != nil {
		return err
	}
	lock, err := s.lock()
	if errors.Is(err, errBusy) {
		return fmt.Errorf("taking down simulator %s: another vpcsim command is at work on it: try again when it is done", s.Name)
	}
	if err != nil {
		return fmt.Errorf("taking down simulator %s: %w", s.Name, err)
	}
	defer lock.Close()
	return s.clean(ctx)
}

// clean removes namespaces and folder. The caller holds the lock.
func (s State) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanLimit)
	defer cancel()
	if err := fabric.Remove(ctx, s.Name); err != nil {
		return fmt.Errorf("cleaning up simulator %s: %w", s.Name, err)
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("cleaning up simulator %s: %w", s.Name, err)
	}
	// Other simulators may have folders beside this one.
	if err := os.Remove(root); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("cleaning up simulator %s: %w", s.Name, err)
	}
	return nil
}

// stopDaemon ends the daemon, politely first, and waits for it.
func (s State) stopDaemon(ctx context.Context) error {
	r, err := readRecord(s.daemonRecord())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil || !r.alive() {
		return nil // gone; a pidfd that was opened in between says nothing of it
	}
	defer unix.Close(fd)
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("ending the daemon of simulator %s (pid %d): %w", s.Name, r.PID, err)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for end := time.Now().Add(grace); time.Now().Before(end) && ctx.Err() == nil; {
			if n, _ := unix.Poll(poll, 100); n > 0 {
				return nil
			}
		}
	}
	return fmt.Errorf("ending the daemon of simulator %s: pid %d does not go", s.Name, r.PID)
}
