// Package kernel is the doorway to rtnetlink and /proc/sys: it observes a
// network namespace as a linux.State and applies linux.Changes to it.
//
// It holds no policy: what is ours, and what is wanted, is decided elsewhere.
// A Handle belongs to one network namespace for its whole life, whichever
// thread uses it. All messages of an Apply travel in as few system calls as
// the kernel allows, because a pod's wiring is on the path of every pod start.
package kernel

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Handle is a network namespace, open for observing and changing. It is not
// safe for use by several goroutines at once.
type Handle struct {
	list  *netlink.Handle
	batch *batch
	path  string   // of the namespace; empty for the caller's own
	ns    *os.File // open namespace; nil for the caller's own

	writable string // see WriteSysctlsBelow
}

// Open opens the network namespace at path, or the caller's own if path is
// empty. The error says which path failed; a path that does not exist gives
// an error for which errors.Is(err, fs.ErrNotExist) holds.
func Open(path string) (*Handle, error) {
	h := &Handle{path: path}
	target := netns.None()
	if path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("opening network namespace: %w", err)
		}
		h.ns = f
		target = netns.NsHandle(f.Fd())
		if err := isNetns(f); err != nil {
			h.Close()
			return nil, err
		}
	}
	socket, err := nl.GetNetlinkSocketAt(target, netns.None(), unix.NETLINK_ROUTE)
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("opening rtnetlink in namespace %q: %w", path, err)
	}
	h.batch = &batch{socket: socket}
	if err := socket.SetExtAck(true); err != nil {
		h.Close()
		return nil, fmt.Errorf("asking rtnetlink for error texts: %w", err)
	}
	return h, nil
}

// isNetns refuses what is not a namespace before the thread is switched to it.
func isNetns(f *os.File) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("network namespace %s: %w", f.Name(), err)
	}
	if st.Type != unix.NSFS_MAGIC && st.Type != unix.PROC_SUPER_MAGIC {
		return fmt.Errorf("network namespace %s: not a namespace; want a file under /run/netns or /proc/PID/ns/net", f.Name())
	}
	return nil
}

// lister is opened at its first use: adding a pod observes nothing.
func (h *Handle) lister() (*netlink.Handle, error) {
	if h.list != nil {
		return h.list, nil
	}
	ns := netns.None()
	if h.ns != nil {
		ns = netns.NsHandle(h.ns.Fd())
	}
	list, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening rtnetlink in namespace %q: %w", h.path, err)
	}
	h.list = list
	return list, nil
}

// inside calls do on a thread that is in the namespace, for /proc/sys shows that
// of the thread that opens a file.
func (h *Handle) inside(do func() error) (err error) {
	if h.ns == nil {
		return do()
	}
	runtime.LockOSThread()
	own, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("finding our own network namespace: %w", err)
	}
	defer own.Close()
	if err := netns.Set(netns.NsHandle(h.ns.Fd())); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("entering network namespace %s: %w", h.path, err)
	}
	err = do()
	if back := netns.Set(own); back != nil {
		// The thread stays locked, so that it ends with its goroutine.
		return errors.Join(err, fmt.Errorf("leaving network namespace %s: %w", h.path, back))
	}
	runtime.UnlockOSThread()
	return err
}

// Close frees the handle's descriptors.
func (h *Handle) Close() {
	if h.list != nil {
		h.list.Close()
	}
	if h.batch != nil {
		h.batch.socket.Close()
	}
	if h.ns != nil {
		h.ns.Close()
	}
}
