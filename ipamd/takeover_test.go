package main

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/config"
)

// Our book goes aside if and only if aws-node wrote a usable one after it.
func TestRetire(t *testing.T) {
	usable := []byte(`{"version":"vpc-cni-ipam/1","allocations":[]}`)
	for _, test := range []struct {
		name  string
		write func(t *testing.T, s shelf, file string, changed time.Time) error
		aside bool
	}{
		{"no file", func(*testing.T, shelf, string, time.Time) error { return nil }, false},
		{"older", func(_ *testing.T, _ shelf, file string, changed time.Time) error {
			return replaceFile(file, usable, 0o600, changed.Add(-time.Millisecond))
		}, false},
		{"exported", func(t *testing.T, s shelf, _ string, _ time.Time) error {
			_, _, _, err := s.export(t)
			return err
		}, false},
		{"younger", func(_ *testing.T, _ shelf, file string, changed time.Time) error {
			return replaceFile(file, usable, 0o600, changed.Add(time.Millisecond))
		}, true},
		{"younger and not usable", func(_ *testing.T, _ shelf, file string, changed time.Time) error {
			return replaceFile(file, []byte(`{"version":"vpc-cni-ipam/2"}`), 0o600, changed.Add(time.Millisecond))
		}, false},
	} {
		s := newShelf(t, "web")
		if err := os.Mkdir(s.book+".old", 0o700); err != nil { // of a time before
			t.Fatal(err)
		}
		ours, err := os.Stat(s.book)
		if err == nil {
			err = test.write(t, s, s.file, ours.ModTime())
		}
		if err == nil {
			err = retire(s.book, config.Config{Daemon: config.Daemon{BackingStore: s.file}}, slog.New(slog.DiscardHandler))
		}
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		where := s.book
		if test.aside {
			where += ".old"
		}
		if _, err := os.Stat(filepath.Join(where, "10.0.0.5")); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	missing := filepath.Join(t.TempDir(), "book")
	if err := retire(missing, config.Config{}, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("no book: %v", err)
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Errorf("no book: %v, want %v", err, fs.ErrNotExist)
	}
}
