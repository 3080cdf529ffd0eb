package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/config"
)

// write makes a file with its directories.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInstallPlugin(t *testing.T) {
	dir := t.TempDir()
	from, bin := filepath.Join(dir, "from"), filepath.Join(dir, "host", "bin")
	to := filepath.Join(bin, config.Plugin)
	write(t, from, "new plugin")
	for _, tt := range []struct {
		name, said string
		before     func()
	}{
		{"on a new node", "installed", func() {}},
		{"again", "is up to date", func() {}},
		{"over another version", "installed", func() { write(t, to, "old plugin of another size") }},
		{"over what differs in its text alone", "installed", func() { write(t, to, "old plugin") }},
		{"over one that cannot be run", "installed", func() {
			if err := os.Chmod(to, 0o644); err != nil {
				t.Fatal(err)
			}
		}},
		{"over a link, which is not followed", "installed", func() {
			write(t, filepath.Join(dir, "other"), "other")
			if err := os.Remove(to); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join(dir, "other"), to); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.before()
			held, err := os.Open(to) // as a runtime has it that runs it
			if err == nil {
				defer held.Close()
			}
			var out strings.Builder
			if err := installPlugin(&out, from, bin); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), tt.said) {
				t.Errorf("said %q, want %q", out.String(), tt.said)
			}
			info, err := os.Lstat(to)
			if err != nil || info.Mode() != fs.FileMode(0o755) {
				t.Fatalf("%v, error %v", info, err)
			}
			if text, err := os.ReadFile(to); err != nil || string(text) != "new plugin" {
				t.Errorf("%q, error %v", text, err)
			}
			if entries, err := os.ReadDir(bin); err != nil || len(entries) != 1 {
				t.Errorf("left in the directory: %v, error %v", entries, err)
			}
		})
	}
	if text, err := os.ReadFile(filepath.Join(dir, "other")); err != nil || string(text) != "other" {
		t.Errorf("what the link led to: %q, error %v", text, err)
	}
	if err := installPlugin(&strings.Builder{}, filepath.Join(dir, "none"), bin); err == nil {
		t.Error("a plugin that is not there was installed")
	}
}

func TestPrepareNode(t *testing.T) {
	dir := t.TempDir()
	forward := filepath.Join(dir, "proc/sys/net/ipv4/ip_forward")
	c := config.Config{Host: config.Host{Writable: dir}, Proxy: config.Proxy{Mode: config.ProxyOff}}
	if err := checkHost(c.Host); err == nil || !strings.Contains(err.Error(), "CAUSEWAY_HOST_ROOT") {
		t.Errorf("a directory without sysctls: %v", err)
	}
	if err := prepareNode(&strings.Builder{}, c); err == nil {
		t.Error("nothing to write to, and no error")
	}
	write(t, forward, "0\n")
	for _, want := range []string{"net.ipv4.ip_forward = 1\n", ""} {
		var out strings.Builder
		if err := prepareNode(&out, c); err != nil || out.String() != want {
			t.Errorf("said %q, want %q; error %v", out.String(), want, err)
		}
	}
	if text, err := os.ReadFile(forward); err != nil || string(text) != "1" {
		t.Errorf("%q, error %v", text, err)
	}
	if err := checkHost(c.Host); err != nil {
		t.Error(err)
	}
}
