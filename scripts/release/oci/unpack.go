package oci

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Unpack writes files below a directory, which it makes if need be. What is
// there already is an error.
func Unpack(root string, files []File) error {
	for _, f := range files {
		if err := f.unpack(root); err != nil {
			return fmt.Errorf("unpacking %s: %w", f.Path, err)
		}
	}
	return nil
}

func (f File) unpack(root string) error {
	to := filepath.Join(root, f.Path)
	if f.Mode.IsDir() {
		return os.MkdirAll(to, f.Mode.Perm())
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if f.Mode&fs.ModeSymlink != 0 {
		return os.Symlink(f.Link, to)
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.Mode.Perm())
	if err != nil {
		return err
	}
	if _, err := file.Write(f.Body); err != nil {
		file.Close()
		return err
	}
	if err := file.Chmod(f.Mode.Perm()); err != nil { // whatever the umask is
		file.Close()
		return err
	}
	return file.Close()
}
