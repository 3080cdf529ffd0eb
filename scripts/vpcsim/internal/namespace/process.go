package namespace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Processes lists the processes whose main thread is in the namespace, the
// calling process excepted. A namespace that does not exist has none.
func Processes(name string) ([]int, error) {
	var target unix.Stat_t
	err := unix.Stat(Path(name), &target)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("inspecting network namespace %s: %w", name, err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err == nil && pid != os.Getpid() && isIn(pid, target) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func isIn(pid int, target unix.Stat_t) bool {
	var ns unix.Stat_t
	if unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &ns) != nil {
		return false
	}
	return ns.Dev == target.Dev && ns.Ino == target.Ino
}

// Kill ends every process in the namespace and waits until they are gone.
// Killing pid 1 of a node takes the node's other processes with it.
func Kill(ctx context.Context, name string) error {
	for {
		pids, err := Processes(name)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := killIn(ctx, pid, name); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("ending processes %v of network namespace %s: %w", pids, name, err)
		}
	}
}

// killIn ends pid, provided that it is still the process that was seen in the
// namespace: the pidfd pins it, the second look confirms it.
func killIn(ctx context.Context, pid int, name string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil // gone
	}
	defer unix.Close(fd)
	var target unix.Stat_t
	if unix.Stat(Path(name), &target) != nil || !isIn(pid, target) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("killing process %d of network namespace %s: %w", pid, name, err)
	}
	return waitGone(ctx, fd, pid)
}

// waitGone returns when the process behind the pidfd has ended. Nodes end in
// some milliseconds; many processes under load in some hundred.
func waitGone(ctx context.Context, fd, pid int) error {
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("waiting for process %d to end: %w", pid, err)
		}
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, int((100 * time.Millisecond).Milliseconds()))
		if n > 0 {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for process %d to end: %w", pid, err)
		}
	}
}
