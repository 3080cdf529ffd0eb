package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// connect connects once to port 80 and hangs up, by system calls alone: a
// runtime between them would take longer than what is measured.
func connect(to netip.Addr) (time.Duration, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return 0, err
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: 80, Addr: to.As4()}); err != nil {
		return 0, fmt.Errorf("connecting to %s: %w", to, err)
	}
	return time.Since(began), nil
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// quiet waits until the machine has next to nothing to do, 15 s at most.
func quiet(ctx context.Context) {
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline) && ctx.Err() == nil; {
		idle, all := idleTicks()
		rest(ctx, 500*time.Millisecond)
		idleNow, allNow := idleTicks()
		if 10*(idleNow-idle) > 9*(allNow-all) {
			return
		}
	}
}

// idleTicks are the idle time and the whole time of all CPUs since boot, from
// the first line of proc(5) stat.
func idleTicks() (idle, all int) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		n, _ := strconv.Atoi(field)     // the first is a name
		if all += n; i == 4 || i == 5 { // idle, and waiting for disks
			idle += n
		}
	}
	return idle, all
}

// cpu is the time that a process and those that it waited for have taken, from
// fields 14 to 17 of proc(5) stat, in ticks of 10 ms.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 15 {
		return 0, fmt.Errorf("reading the CPU time of process %d: %q", pid, text)
	}
	ticks := 0
	for _, f := range fields[11:15] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// peak is the most memory that a process had, in MiB.
func peak(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, value, found := strings.Cut(string(text), "VmHWM:")
	if !found {
		return 0, fmt.Errorf("reading the memory of process %d", pid)
	}
	kib, err := strconv.ParseFloat(strings.Fields(value)[0], 64)
	return kib / 1024, err
}

func middle(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
