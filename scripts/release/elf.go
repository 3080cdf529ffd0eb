package release

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// libraries are what a program or library has the kernel and the loader load:
// the loader's path, and names of libraries. What is no ELF file needs nothing.
func libraries(text []byte) ([]string, error) {
	if !bytes.HasPrefix(text, []byte(elf.ELFMAG)) {
		return nil, nil
	}
	file, err := elf.NewFile(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	var needed []string
	for _, p := range file.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		loader, err := io.ReadAll(p.Open())
		if err != nil {
			return nil, fmt.Errorf("reading the loader's name: %w", err)
		}
		needed = append(needed, strings.TrimRight(string(loader), "\x00"))
	}
	imported, err := file.ImportedLibraries()
	return append(needed, imported...), err
}

// find is where a library is on a Debian machine: in the directories that its
// loader knows without a cache.
func find(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, pattern := range []string{"/usr/lib/*-linux-gnu/", "/usr/lib/", "/usr/lib64/"} {
		found, err := filepath.Glob(pattern + name)
		if err != nil {
			return "", fmt.Errorf("library %s: %w", name, err)
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return "", fmt.Errorf("library %s is at %s: want one architecture", name, strings.Join(found, " and "))
		}
	}
	return "", fmt.Errorf("library %s: %w", name, os.ErrNotExist)
}
