// Package nstest gives tests network namespaces of their own, which go when
// the test ends, however it ends. Only tests import it.
package nstest

import (
	"crypto/rand"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// Namespace is a network namespace with its loopback up.
type Namespace struct {
	t    testing.TB
	Name string // as ip netns knows it
}

// New makes a namespace. It fails the test where that is not possible.
func New(t testing.TB) *Namespace {
	t.Helper()
	n := &Namespace{t: t, Name: "cwproxy-" + strings.ToLower(rand.Text()[:10])}
	host(t, "ip", "netns", "add", n.Name)
	t.Cleanup(func() { host(t, "ip", "netns", "delete", n.Name) })
	n.Run("ip", "link", "set", "lo", "up")
	return n
}

// Run runs a program inside and returns what it printed.
func (n *Namespace) Run(args ...string) string {
	n.t.Helper()
	return host(n.t, append([]string{"ip", "netns", "exec", n.Name}, args...)...)
}

// Feed runs a program inside with input.
func (n *Namespace) Feed(input string, args ...string) {
	n.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", n.Name}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Do calls f inside: sockets that it opens, and programs that it starts, are
// of the namespace.
func (n *Namespace) Do(f func()) {
	n.t.Helper()
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		n.t.Fatalf("finding the test's own namespace: %v", err)
	}
	defer home.Close()
	inside, err := netns.GetFromName(n.Name)
	if err != nil {
		n.t.Fatalf("opening namespace %s: %v", n.Name, err)
	}
	defer inside.Close()
	if err := netns.Set(inside); err != nil {
		n.t.Fatalf("entering namespace %s: %v", n.Name, err)
	}
	defer func() {
		// A thread that cannot come home stays locked and ends with its goroutine.
		if err := netns.Set(home); err == nil {
			runtime.UnlockOSThread()
		}
	}()
	f()
}

// Join makes a veth pair between two namespaces.
func Join(a *Namespace, nameA string, b *Namespace, nameB string) {
	a.t.Helper()
	host(a.t, "ip", "link", "add", nameA, "netns", a.Name, "type", "veth", "peer", "name", nameB, "netns", b.Name)
	a.Run("ip", "link", "set", nameA, "up")
	b.Run("ip", "link", "set", nameB, "up")
}

func host(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
