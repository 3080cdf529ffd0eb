package kubernetes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// group is the control group of all pods of a cluster, in each hierarchy. A node
// has one of its own in it.
func group(name string) string { return "causeway-" + name }

// awaitGroups removes control groups as soon as their processes, which were
// killed, are gone.
func awaitGroups(ctx context.Context, name string) error {
	return harness.Poll(ctx, func() error { return removeGroups(name) })
}

func removeGroups(name string) error {
	roots, err := filepath.Glob("/sys/fs/cgroup/*/" + group(name))
	if err != nil {
		return err
	}
	if unified := "/sys/fs/cgroup/" + group(name); len(roots) == 0 {
		roots = []string{unified}
	}
	for _, root := range roots {
		var groups []string
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				groups = append(groups, path)
			}
			return ignore(err, fs.ErrNotExist)
		})
		if err != nil {
			return err
		}
		for _, g := range slices.Backward(groups) { // the inner ones first
			if err := ignore(unix.Rmdir(g), fs.ErrNotExist); err != nil {
				return fmt.Errorf("removing control group %s: %w", g, err)
			}
		}
	}
	return nil
}

// confine gives the node control groups of its own: in its view of the file
// system they are the roots of all hierarchies, so that what its containers get
// is below them. kubelet's cgroupRoot is not heeded without cgroupsPerQOS. The
// mounts of the machine go: runc looks at the first of each hierarchy.
func (n *Node) confine(ctx context.Context) error {
	mounts, err := os.Open("/proc/mounts")
	if err != nil {
		return err
	}
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // device, mount point, type (proc_mounts(5))
		if len(fields) < 3 || fields[2] != "cgroup" && fields[2] != "cgroup2" {
			continue
		}
		root := fields[1]
		own, err := makeGroups(root, group(n.cluster.name), n.place)
		if err == nil {
			_, err = n.Exec(ctx, "sh", "-ec", `mkdir -p "$3"; mount --bind "$1" "$3"; umount "$2"; mount --move "$3" "$2"`, "sh", own, root, "/run/groups")
		}
		if err != nil {
			return fmt.Errorf("giving %s a control group in %s: %w", n.place, root, err)
		}
	}
	return nil
}

// makeGroups makes a control group in another, with all that the parents may
// use: of cpuset and in the unified hierarchy a new one may use nothing.
func makeGroups(path string, names ...string) (string, error) {
	for _, name := range names {
		inner := filepath.Join(path, name)
		if err := os.Mkdir(inner, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			text, err := os.ReadFile(filepath.Join(path, file))
			if err == nil && len(text) > 1 {
				err = os.WriteFile(filepath.Join(inner, file), text, 0o644)
			}
			if ignore(err, fs.ErrNotExist) != nil {
				return "", err
			}
		}
		if controllers, err := os.ReadFile(filepath.Join(path, "cgroup.controllers")); err == nil {
			for _, c := range strings.Fields(string(controllers)) {
				if err := os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
					return "", err
				}
			}
		}
		path = inner
	}
	return path, nil
}
