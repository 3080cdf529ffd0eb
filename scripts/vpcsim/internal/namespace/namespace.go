// Package namespace makes, enters and removes the named network namespaces
// that a simulated VPC is made of. The names are those of ip-netns(8), so that
// `ip netns exec vpcsim-router ip route` shows what the simulator has built.
//
// Everything here runs on threads that are thrown away when they cannot be
// brought back to the namespace that they came from; the caller's goroutine
// never sees another namespace than its own.
package namespace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is where named network namespaces are kept, as ip-netns(8) does.
const Dir = "/run/netns"

// Path returns the file by which the namespace is known.
func Path(name string) string { return filepath.Join(Dir, name) }

// Create makes the network namespace name, with nothing in it but a loopback
// device that is down. It fails if the name is taken.
func Create(name string) error {
	if err := shareDir(); err != nil {
		return err
	}
	file, err := os.OpenFile(Path(name), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("creating network namespace %s: %w", name, err)
	}
	file.Close()
	done := make(chan error, 1)
	go func() {
		// The thread stays locked, so it dies with this goroutine and the new
		// namespace lives by its name alone.
		runtime.LockOSThread()
		done <- unshareTo(Path(name))
	}()
	if err := <-done; err != nil {
		return errors.Join(fmt.Errorf("creating network namespace %s: %w", name, err), os.Remove(Path(name)))
	}
	return nil
}

func unshareTo(path string) error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Mount(threadNamespace(), path, "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind mount on %s: %w", path, err)
	}
	return nil
}

// shareDir makes Dir a mount point with shared propagation, which ip-netns(8)
// expects. Were it left to a later `ip netns add`, that would stack a second
// mount over our names and keep what is below alive for ever.
func shareDir() error {
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return fmt.Errorf("creating %s: %w", Dir, err)
	}
	err := unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("sharing %s: %w", Dir, err)
	}
	if err := unix.Mount(Dir, Dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("making a mount point of %s: %w", Dir, err)
	}
	if err := unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("sharing %s: %w", Dir, err)
	}
	return nil
}

// Remove takes away the name. The namespace itself ends with the last process
// and mount in it. A name that is gone is fine.
func Remove(name string) error {
	err := unix.Unmount(Path(name), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting network namespace %s: %w", name, err)
	}
	if err := os.Remove(Path(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing network namespace %s: %w", name, err)
	}
	return nil
}

// Names lists the namespaces whose names start with prefix, sorted.
func Names(prefix string) ([]string, error) {
	entries, err := os.ReadDir(Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing network namespaces: %w", err)
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), prefix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// Do runs f on a thread that is inside the namespace. f may open sockets,
// start processes and write net sysctls there, and must not start goroutines
// that expect to be inside as well.
func Do(name string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- within(name, f) }()
	return <-done
}

func within(name string, f func() error) error {
	target, err := os.Open(Path(name))
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", name, err)
	}
	defer target.Close()
	runtime.LockOSThread()
	origin, err := os.Open(threadNamespace())
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("opening the thread's own network namespace: %w", err)
	}
	defer origin.Close()
	if err := unix.Setns(int(target.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering network namespace %s: %w", name, err)
	}
	err = f()
	// A thread that cannot go back stays locked and ends with the goroutine.
	if back := unix.Setns(int(origin.Fd()), unix.CLONE_NEWNET); back == nil {
		runtime.UnlockOSThread()
	}
	return err
}

func threadNamespace() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }

// Sysctl is a setting under /proc/sys.
type Sysctl struct {
	Key   string // with slashes, "net/ipv4/ip_forward"
	Value string
}

// SetSysctls writes settings inside the namespace.
func SetSysctls(name string, settings []Sysctl) error {
	return Do(name, func() error {
		for _, s := range settings {
			if err := os.WriteFile(filepath.Join("/proc/sys", s.Key), []byte(s.Value), 0o644); err != nil {
				return fmt.Errorf("setting %s=%s in %s: %w", s.Key, s.Value, name, err)
			}
		}
		return nil
	})
}
