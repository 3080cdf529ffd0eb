package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// replaceFile puts a file of that mode and time in place, whole and for good,
// also over a power cut. The zero time is now.
func replaceFile(path string, text []byte, mode fs.FileMode, written time.Time) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Hidden, because runtimes read all of a directory of configurations.
	fresh, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(fresh.Name()) // it is gone when all went well
	if err = fresh.Chmod(mode); err == nil {
		_, err = fresh.Write(text)
	}
	if err == nil && !written.IsZero() {
		err = os.Chtimes(fresh.Name(), written, written)
	}
	if err == nil {
		err = fresh.Sync()
	}
	if err = errors.Join(err, fresh.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", fresh.Name(), err)
	}
	if err := os.Rename(fresh.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes what was renamed or removed in a directory last.
func syncDir(dir string) error {
	file, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := file.Sync(); err != nil {
		return fmt.Errorf("writing %s: %w", dir, err)
	}
	return nil
}
