package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// Clean removes what is left of a cluster whose process has ended: the
// simulator with all that runs in its nodes, control groups, and the folder.
// Nothing to remove is fine. Without a vpcsim program there was no simulator.
func Clean(ctx context.Context, vpcsim, name, dir string) error {
	var failed []error
	if _, err := os.Stat(vpcsim); err == nil {
		_, err := run(ctx, vpcsim, "down", "--name", name)
		failed = append(failed, err)
	}
	failed = append(failed, awaitGroups(ctx, name))
	if errors.Join(failed...) == nil {
		failed = append(failed, os.RemoveAll(dir))
	}
	return errors.Join(failed...)
}

// group is the control group of all pods of a cluster, in each hierarchy.
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

// ignore is err, unless it is one that does not matter.
func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
