package sysctl

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// Writer writes settings. It remembers what it could not write, so as to say
// it once; when it can, or wants another value, it will say the next failure,
// too. The zero value writes to the machine. It is not safe for concurrent use.
type Writer struct {
	// Root is put before all paths; "" for the machine's own.
	Root string
	// Writable is put before paths that are written, where those that can be
	// read are read-only; "" if they are not.
	Writable string
	said     map[string]int // the value that could not be written
}

// Write writes what differs, below /proc/sys/net to the network namespace of
// the calling thread. It says what it changed, and names the path, the wanted
// and the found value of what it could not change and has not said before.
func (w *Writer) Write(want []Sysctl) (changed, failed []string) {
	for _, s := range want {
		did, err := w.write(s)
		switch {
		case err == nil:
			delete(w.said, s.Path)
			if did != "" {
				changed = append(changed, did)
			}
		case !w.knows(s):
			failed = append(failed, err.Error())
		}
	}
	return changed, failed
}

// knows says whether a failure was said before, and remembers it.
func (w *Writer) knows(s Sysctl) bool {
	if value, said := w.said[s.Path]; said && value == s.Value {
		return true
	}
	if w.said == nil {
		w.said = map[string]int{}
	}
	w.said[s.Path] = s.Value
	return false
}

// write says what it did; nothing if the value was right.
func (w *Writer) write(s Sysctl) (did string, err error) {
	path := filepath.Join(w.Root, s.Path)
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: want %d, found nothing: %w", s.Path, s.Value, err)
	}
	found, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return "", fmt.Errorf("%s: want %d, found %q: %w", s.Path, s.Value, text, err)
	}
	if found == s.Value || s.AtLeast && found > s.Value {
		return "", nil
	}
	if err := os.WriteFile(filepath.Join(w.Root, w.Writable, s.Path), []byte(strconv.Itoa(s.Value)), 0o644); err != nil {
		return "", fmt.Errorf("%s: want %d, found %d: %w", s.Path, s.Value, found, err)
	}
	return fmt.Sprintf("%s: %d, was %d", s.Path, s.Value, found), nil
}

// Cores is how many cores the machine has, those that this process may not use
// included.
func (w *Writer) Cores() int {
	text, _ := os.ReadFile(filepath.Join(w.Root, "/sys/devices/system/cpu/online"))
	if cores := countCores(strings.TrimSpace(string(text))); cores > 0 {
		return cores
	}
	return runtime.NumCPU()
}

// countCores reads a list of the kernel's, as 0-3,6; 0 if it is none.
func countCores(list string) int {
	cores := 0
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.Atoi(from)
		if err != nil || first < 0 {
			return 0
		}
		last := first
		if isRange {
			if last, err = strconv.Atoi(to); err != nil || last < first {
				return 0
			}
		}
		cores += last - first + 1
	}
	return cores
}
