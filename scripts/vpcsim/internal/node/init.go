package node

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

const (
	readyWord = "ready\n"
	readyFD   = 3
)

// Init is the life of pid 1: it makes the node's mounts, says that it is ready
// and reaps orphans until it is told to end, which ends the node.
func Init(dir, hostname string) error {
	ready := os.NewFile(readyFD, "ready")
	if err := prepare(dir, hostname); err != nil {
		fmt.Fprintln(ready, err)
		return errors.Join(err, ready.Close())
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM, unix.SIGINT)
	if _, err := ready.WriteString(readyWord); err != nil {
		return fmt.Errorf("reporting that the node is ready: %w", err)
	}
	if err := ready.Close(); err != nil {
		return fmt.Errorf("reporting that the node is ready: %w", err)
	}
	for s := range signals {
		if s != unix.SIGCHLD {
			return nil
		}
		reap()
	}
	return nil
}

func prepare(dir, hostname string) error {
	if err := mountAll(dir); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(hostname)); err != nil {
		return fmt.Errorf("setting the host name to %q: %w", hostname, err)
	}
	return nil
}

// reap collects every child that has ended. Signals coalesce, so one signal
// may stand for several.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
	}
}
