package namespace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"
)

func create(t *testing.T, suffix string) string {
	t.Helper()
	name := fmt.Sprintf("vn%d-%s", os.Getpid(), suffix)
	if err := Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	})
	return name
}

// TestDo runs inside, and nowhere else afterwards.
func TestDo(t *testing.T) {
	name := create(t, "do")
	outside, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	var inside []net.Interface
	if err := Do(name, func() (err error) { inside, err = net.Interfaces(); return err }); err != nil {
		t.Fatal(err)
	}
	if len(inside) != 1 || inside[0].Name != "lo" {
		t.Errorf("inside: %v, want lo only", inside)
	}
	for range 50 { // on whichever thread
		if again, err := net.Interfaces(); err != nil || len(again) != len(outside) {
			t.Fatalf("outside afterwards: %v, %v", again, err)
		}
	}
	mine := errors.New("mine")
	if err := Do(name, func() error { return mine }); !errors.Is(err, mine) {
		t.Errorf("error of the function: got %v", err)
	}
	if err := Do(name+"x", func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a namespace that is not there: got %v", err)
	}
}

// TestCreateTwice refuses a name that is taken; removing it twice is fine.
func TestCreateTwice(t *testing.T) {
	name := create(t, "twice")
	if err := Create(name); !errors.Is(err, os.ErrExist) {
		t.Errorf("second Create: got %v, want %v", err, os.ErrExist)
	}
	if names, err := Names(name); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("Names: %v, %v", names, err)
	}
	for range 2 {
		if err := Remove(name); err != nil {
			t.Error(err)
		}
	}
}

// TestKill ends the processes of one namespace only.
func TestKill(t *testing.T) {
	name, other := create(t, "kill"), create(t, "spare")
	start := func(name string) *exec.Cmd {
		cmd := exec.Command("sleep", "1000")
		if err := Do(name, cmd.Start); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd
	}
	victim, spared := start(name), start(other)
	if pids, err := Processes(name); err != nil || !slices.Equal(pids, []int{victim.Process.Pid}) {
		t.Errorf("Processes: %v, %v, want %d", pids, err, victim.Process.Pid)
	}
	if err := Kill(context.Background(), name); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // killed
	if pids, err := Processes(other); err != nil || !slices.Equal(pids, []int{spared.Process.Pid}) {
		t.Errorf("Processes of the other: %v, %v, want %d", pids, err, spared.Process.Pid)
	}
}
