package notes

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNotes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "released")
	if got, err := Pending(dir); err != nil || len(got) != 0 {
		t.Fatalf("no directory: %v, %v", got, err)
	}
	a := Note{Network: "aws-cni", ContainerID: "a1", Interface: "eth0", Namespace: "default", Pod: "web", Reason: "DEL"}
	b := Note{Network: "aws-cni", ContainerID: "../b2", Interface: "eth0", Reason: "DEL"}
	for _, n := range []Note{a, b, a} {
		if err := Leave(dir, n); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "note.torn.json"), []byte(`{"contai`), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Pending(dir)
	if err == nil || !strings.Contains(err.Error(), "note.torn.json") {
		t.Errorf("a torn note must be named, got %v", err)
	}
	less := func(x, y Note) int { return strings.Compare(x.ContainerID, y.ContainerID) }
	if diff := cmp.Diff([]Note{b, a}, slices.SortedFunc(maps.Values(got), less)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for range 2 {
		if err := Withdraw(dir, b); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := Pending(dir); len(left) != 1 {
		t.Errorf("left after one was withdrawn: %v", left)
	}
}
