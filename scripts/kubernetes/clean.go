package kubernetes

import (
	"context"
	"errors"
	"os"
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

// ignore is err, unless it is one that does not matter.
func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
