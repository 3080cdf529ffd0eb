package node

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// overlaid are directories of the machine that a node sees but does not write
// to: what it writes stays with the node and is gone with it.
var overlaid = []string{"/etc", "/opt", "/var/lib", "/var/log"}

// Bound are the directories that a node has to itself, empty at first, and
// that the machine can look into under Root. They are on the machine's disk,
// so that a container runtime can build its overlays there.
var Bound = []string{
	"/etc/cni/net.d",
	"/etc/kubernetes",
	"/opt/cni/bin",
	"/var/lib/cni",
	"/var/lib/containerd",
	"/var/lib/kubelet",
	"/var/log/pods",
}

// mountAll makes the node's view of the file system, in the mount namespace of
// the calling process.
func mountAll(dir string) error {
	if err := mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := dropNamespaceMounts(); err != nil {
		return err
	}
	scratch := filepath.Join(dir, "scratch")
	if err := mountOn("tmpfs", scratch, "tmpfs", 0, "mode=755"); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return mountOverlays(scratch) },
		func() error { return mountBound(dir) },
		func() error { return mountSys(filepath.Join(scratch, "cgroup")) },
		func() error { return mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "") },
		mountRun, // last: it hides the node's folder
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// dropNamespaceMounts unmounts the names of all network namespaces. A node's
// copy of them would keep those of other simulators alive after their end.
func dropNamespaceMounts() error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading mounts: %w", err)
	}
	defer file.Close()
	var points []string
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		if fields := strings.Fields(before); strings.HasPrefix(after, "nsfs ") && len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading mounts: %w", err)
	}
	for _, p := range points {
		// Unmounting a point takes the copies below along; EINVAL is that.
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("unmounting %s: %w", p, err)
		}
	}
	return nil
}

// mountOverlays makes directories writable without touching the machine's.
// The upper layers are in memory: an overlay cannot have another as its upper
// layer, and on some machines the disk is one.
func mountOverlays(scratch string) error {
	for _, path := range overlaid {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		layer := filepath.Join(scratch, strings.ReplaceAll(path[1:], "/", "-"))
		upper, work := filepath.Join(layer, "upper"), filepath.Join(layer, "work")
		for _, d := range []string{upper, work} {
			if err := os.MkdirAll(d, 0o755); err != nil {
				return fmt.Errorf("preparing the overlay of %s: %w", path, err)
			}
		}
		options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", path, upper, work)
		if err := mount("overlay", path, "overlay", 0, options); err != nil {
			return err
		}
	}
	return nil
}

func mountBound(dir string) error {
	for _, path := range Bound {
		own := Root(dir, path)
		if err := os.MkdirAll(own, 0o755); err != nil {
			return fmt.Errorf("creating the node's %s: %w", path, err)
		}
		if err := mountOn(own, path, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return nil
}

// mountSys shows the node's network devices under /sys and keeps the cgroup
// hierarchies of the machine there, which container runtimes need: once each,
// for runtimes take the first that they find among all mounts.
func mountSys(aside string) error {
	const cgroup = "/sys/fs/cgroup"
	if err := mountOn(cgroup, aside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Unmount(cgroup, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) { // which says that it was no mount
		return fmt.Errorf("unmounting %s beneath the node's own: %w", cgroup, err)
	}
	if err := mount("sysfs", "/sys", "sysfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	return mount(aside, cgroup, "", unix.MS_MOVE, "")
}

// mountRun gives the node an empty /run, in which ip-netns(8) and runtimes can
// pin namespaces: /run/netns passes mounts on to mount namespaces made inside
// the node, and to no one else.
func mountRun() error {
	const names = "/run/netns"
	if err := mount("tmpfs", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	if err := os.MkdirAll("/run/lock", 0o1777); err != nil {
		return fmt.Errorf("creating /run/lock: %w", err)
	}
	if err := mountOn(names, names, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return mount("", names, "", unix.MS_SHARED|unix.MS_REC, "")
}

// mountOn is mount on a directory that it creates where it is missing.
func mountOn(source, target, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("creating mount point %s: %w", target, err)
	}
	return mount(source, target, kind, flags, options)
}

func mount(source, target, kind string, flags uintptr, options string) error {
	if err := unix.Mount(source, target, kind, flags, options); err != nil {
		return fmt.Errorf("mounting %s on %s (type %q, flags %#x, options %q): %w", source, target, kind, flags, options, err)
	}
	return nil
}
