// Package notes is how the plugin tells a daemon that is away which addresses
// to release: one small file for each, left by DEL, read and removed by the
// daemon when it is back.
//
// A note is complete or not there: it is written aside and renamed.
package notes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Note names an attachment whose address is to be released.
type Note struct {
	Network     string `json:"network"`
	ContainerID string `json:"containerID"`
	Interface   string `json:"interface"`
	Namespace   string `json:"namespace,omitempty"` // of the pod
	Pod         string `json:"pod,omitempty"`
	Reason      string `json:"reason"`
}

// A note's file is "note.CONTAINER.INTERFACE.NETWORK.json".
const (
	prefix = "note."
	suffix = ".json"
)

// Leave writes a note below dir, which is made if need be. A second note for
// the same attachment replaces the first.
func Leave(dir string, n Note) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("leaving a release note: %w", err)
	}
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("leaving a release note: %w", err)
	}
	tmp, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return fmt.Errorf("leaving a release note: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, fileName(n)))
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("leaving a release note: %w", err)
	}
	return nil
}

// Withdraw removes the note of an attachment, if there is one: it is wanted
// again.
func Withdraw(dir string, n Note) error {
	if err := os.Remove(filepath.Join(dir, fileName(n))); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("withdrawing a release note: %w", err)
	}
	return nil
}

// fileName keeps to one path element whatever the runtime calls things.
func fileName(n Note) string {
	clean := strings.NewReplacer("/", "_", "\x00", "_")
	return prefix + clean.Replace(n.ContainerID+"."+n.Interface+"."+n.Network) + suffix
}

// Pending returns the notes below dir with their paths. What cannot be read is
// returned as part of the error, beside the notes that can.
func Pending(dir string) (map[string]Note, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading release notes: %w", err)
	}
	found := map[string]Note{}
	var bad []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		n, err := read(path)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		found[path] = n
	}
	return found, errors.Join(bad...)
}

func read(path string) (Note, error) {
	var n Note
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err == nil && (n.ContainerID == "" || n.Interface == "") {
		err = errors.New("containerID and interface must be set")
	}
	if err != nil {
		return n, fmt.Errorf("reading release note %s: %w", path, err)
	}
	return n, nil
}
