package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
)

// switchesEvery is how often switches are read. Where they are a ConfigMap,
// kubelet writes them within a minute or so.
const switchesEvery = 2 * time.Second

// switches follow a directory as a ConfigMap is mounted: a file for each switch,
// with its name. What cannot be read changes nothing.
type switches struct {
	dir   string
	log   *slog.Logger
	now   atomic.Pointer[budget.Switches]
	apply func(budget.Switches) // after each change
}

func newSwitches(dir string, log *slog.Logger) *switches {
	s := &switches{dir: dir, log: log, apply: func(budget.Switches) {}}
	s.now.Store(&budget.Switches{})
	return s
}

func (s *switches) current() budget.Switches { return *s.now.Load() }

// Step reads the directory, and applies what changed.
func (s *switches) Step(context.Context) (time.Duration, error) {
	texts, err := readSwitches(s.dir)
	if err != nil {
		return 0, fmt.Errorf("reading switches: %w", err)
	}
	told, err := budget.ParseSwitches(texts)
	if err != nil {
		return 0, fmt.Errorf("reading switches in %s, none is changed: %w", s.dir, err)
	}
	if before := s.current(); told != before {
		s.now.Store(&told)
		s.apply(told)
		s.log.Warn("switches changed", "now", told.ByName(), "before", before.ByName())
	}
	return 0, nil
}

// readSwitches reads the files of a directory, none if it is not there. Names
// with a dot first are those of the mount itself.
func readSwitches(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		texts[e.Name()] = string(text)
	}
	return texts, nil
}
