package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
)

// Switches follow their files, as a ConfigMap is mounted. What is wrong changes
// nothing.
func TestSwitchesFollowTheirFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "switches")
	var applied []budget.Switches
	s := newSwitches(dir, slog.New(slog.DiscardHandler))
	s.apply = func(now budget.Switches) { applied = append(applied, now) }
	step := func(refused string, want budget.Switches, changes int) {
		t.Helper()
		_, err := s.Step(t.Context())
		if (err == nil) != (refused == "") || err != nil && !strings.Contains(err.Error(), refused) {
			t.Errorf("error %v, want %q", err, refused)
		}
		if s.current() != want || len(applied) != changes || changes > 0 && applied[changes-1] != want {
			t.Errorf("%+v, applied %+v; want %+v after %d changes", s.current(), applied, want, changes)
		}
	}
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, "..data", name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	step("", budget.Switches{}, 0)
	if err := os.MkdirAll(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	step("", budget.Switches{}, 0)
	write("stop-releasing", "true")
	keeps := budget.Switches{StopReleasing: true}
	step("", keeps, 1)
	write("stop-calling-ec2", "maybe")
	step(`stop-calling-ec2="maybe": want true or false`, keeps, 1)
	write("stop-calling-ec2", "false")
	step("", keeps, 1)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	step("", budget.Switches{}, 2)
}
