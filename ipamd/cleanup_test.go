package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/config"
)

// TestOtherProxy finds who has services by now.
func TestOtherProxy(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	const closed = "127.0.0.1:1" // tcpmux, which nobody has
	for addr, want := range map[string]bool{"": false, closed: false, "127.0.0.1:" + port: true, "0.0.0.0:" + port: true} {
		n := givenUp{config: config.Config{Proxy: config.Proxy{HealthAddr: addr}}}
		if got := n.otherProxy(); got != want {
			t.Errorf("%q: %t", addr, got)
		}
	}
}

// TestRunningDaemonIsNamed finds the process behind the socket: the test's own.
func TestRunningDaemonIsNamed(t *testing.T) {
	n := givenUp{state: t.TempDir()}
	if text := n.listener(); !strings.Contains(text, "does not answer") {
		t.Errorf("without a listener: %s", text)
	}
	listener, err := net.Listen("unix", filepath.Join(n.state, filepath.Base(config.Socket)))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	pid, err := os.Readlink("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	if text := n.listener(); !strings.Contains(text, "(PID "+pid+", it listens on "+n.state) {
		t.Errorf("with a listener: %s", text)
	}
}

// TestAWSNodeKeepsItsNode refuses to remove what aws-node has by now.
func TestAWSNodeKeepsItsNode(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, "ipamd.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	n := givenUp{state: t.TempDir(), pods: true, config: config.Config{Daemon: config.Daemon{BackingStore: filepath.Join(dir, "ipam.json")}}}
	if err := n.check(nil); err == nil || !strings.Contains(err.Error(), "aws-node runs") {
		t.Errorf("all of it: %v", err)
	}
	n.services = true
	if err := n.check(nil); err != nil {
		t.Errorf("services alone: %v", err)
	}
}

// TestServicesOfOneTable are not taken out of it by hand.
func TestServicesOfOneTable(t *testing.T) {
	n := givenUp{state: t.TempDir(), services: true, config: config.Config{Proxy: config.Proxy{Mode: config.ProxyNFTables}}}
	if err := n.check(nil); err != nil {
		t.Errorf("without a book, services have the table alone: %v", err)
	}
	write(t, filepath.Join(n.book(), "record"), "")
	if err := n.check(nil); err == nil || !strings.Contains(err.Error(), "PROXY_MODE=off") {
		t.Errorf("beside external SNAT: %v", err)
	}
}

// TestForget removes the state, and nothing if nothing was kept.
func TestForget(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	var out strings.Builder
	n := givenUp{state: dir, out: &out}
	write(t, filepath.Join(n.book(), "10.0.0.5"), "{}")
	write(t, filepath.Join(dir, "identity.json"), "{}")
	if err := n.forget(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory stays")
	}
}

// TestForgetInContainer empties a state directory that is a mount, below a root
// to write to and below one that is read-only, as in the chart's pods.
func TestForgetInContainer(t *testing.T) {
	for name, flags := range map[string]uintptr{"writable": 0, "read-only": unix.MS_RDONLY} {
		t.Run(name, func(t *testing.T) {
			root, failed := t.TempDir(), make(chan error)
			go func() {
				runtime.LockOSThread() // and never unlock: the mounts go with the thread
				failed <- forgetBelow(root, flags)
			}()
			if err := <-failed; err != nil {
				t.Error(err)
			}
		})
	}
}

func forgetBelow(root string, flags uintptr) error {
	state := filepath.Join(root, "causeway")
	n := givenUp{state: state}
	for _, step := range []func() error{
		func() error { return unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS) },
		func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") },
		func() error { return unix.Mount("tmpfs", root, "tmpfs", 0, "") },
		func() error { return os.Mkdir(state, 0o700) },
		func() error { return unix.Mount("tmpfs", state, "tmpfs", 0, "") },
		func() error { return os.MkdirAll(n.book(), 0o700) },
		func() error { return unix.Mount("", root, "", unix.MS_REMOUNT|flags, "") },
		n.forget,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	left, err := os.ReadDir(state)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left: %v", left)
	}
	return err
}
