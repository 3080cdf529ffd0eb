package main

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/causeway-cni/causeway/config"
)

const awsConflist = `{"cniVersion":"0.4.0","name":"aws-cni","plugins":[{"type":"aws-cni","mtu":"9001"},{"type":"portmap","capabilities":{"portMappings":true},"snat":true}]}`

// TestConflistIsRead reads it as runtimes do.
func TestConflistIsRead(t *testing.T) {
	list, err := libcni.NetworkConfFromBytes([]byte(config.Conflist))
	if err != nil {
		t.Fatal(err)
	}
	if list.Name != "aws-cni" || list.CNIVersion != "1.1.0" || len(list.Plugins) != 1 || list.Plugins[0].Network.Type != config.Plugin {
		t.Errorf("%+v", list)
	}
	if !list.Plugins[0].Network.Capabilities["portMappings"] {
		t.Error("it does not ask for host ports")
	}
}

func TestOffer(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, config.ConflistName)
	for _, tt := range []struct {
		name    string
		written bool
		before  func() error
	}{
		{"where there is none", true, func() error { return nil }},
		{"where it is", false, func() error { return nil }},
		{"in aws-node's place", true, func() error { return os.WriteFile(path, []byte(awsConflist), 0o644) }},
		{"after it was removed", true, func() error { return os.Remove(path) }},
	} {
		if err := tt.before(); err != nil {
			t.Fatal(err)
		}
		written, err := offer(dir)
		text, readErr := os.ReadFile(path)
		if written != tt.written || string(text) != config.Conflist || errors.Join(err, readErr) != nil {
			t.Errorf("%s: written %t, %q, errors %v, %v", tt.name, written, text, err, readErr)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o644 {
		t.Errorf("%v, error %v", info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left in the directory: %v, error %v", entries, err)
	}
}

// TestRetractAfterBoot removes what an earlier boot left, and nothing else.
func TestRetractAfterBoot(t *testing.T) {
	older := `{"name":"aws-cni","plugins":[{"type":"causeway-cni"},{"type":"bandwidth"}]}`
	for _, tt := range []struct {
		name, text string
		served     bool // since the boot
		stays      bool
	}{
		{"ours", config.Conflist, false, false},
		{"ours of another version", older, false, false},
		{"ours, of this boot", config.Conflist, true, true},
		{"aws-node's", awsConflist, false, true},
		{"no JSON", "causeway-cni", false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path, book := filepath.Join(dir, config.ConflistName), filepath.Join(dir, "book")
			write(t, path, tt.text)
			if tt.served {
				write(t, filepath.Join(book, "record"), "")
			}
			for range 2 {
				if err := retractAfterBoot(dir, book, slog.New(slog.DiscardHandler)); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := os.Stat(path); tt.stays != (err == nil) || err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("stays: %t, error %v", !tt.stays, err)
			}
		})
	}
	if err := retractAfterBoot("", "", slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("where no configuration is written: %v", err)
	}
}
