package allocator

import (
	"errors"
	"log/slog"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

func withPort(name string, port uint16) Request {
	r := request(name)
	r.Ports = []pool.HostPort{{Port: port, Container: 80, Protocol: "tcp"}}
	return r
}

func forwarded(n *node) []string {
	all := []string{}
	for _, a := range n.HostPorts() {
		all = append(all, a.Pod.Name+" "+a.Ports[0].String())
	}
	return all
}

// TestHostPortIsOnePods holds that a host port has one pod at a time, that the
// refused pod takes no address, and that the port is free after the release.
func TestHostPortIsOnePods(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 { return newEC2(large, 5) }, func(t *testing.T, n *node) {
		n.settle(time.Second)
		first, err := n.Assign(t.Context(), withPort("a", 8080))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := n.Assign(t.Context(), withPort("a", 8080)); err != nil || !reflect.DeepEqual(first, again) {
			t.Errorf("asked again: %v, %v; want %v", again, err, first)
		}
		var taken *pool.PortTaken
		if _, err := n.Assign(t.Context(), withPort("b", 8080)); !errors.As(err, &taken) || taken.Holder.Pod.Name != "a" {
			t.Errorf("the second pod got %v, want a refusal that names the first", err)
		}
		if held := n.Assignments(); len(held) != 1 {
			t.Errorf("held: %v", held)
		}
		if diff := cmp.Diff([]string{"a 8080/tcp"}, forwarded(n)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		n.release("a")
		if _, err := n.Assign(t.Context(), withPort("b", 8080)); err != nil {
			t.Errorf("after the release: %v", err)
		}
		if diff := cmp.Diff([]string{"b 8080/tcp"}, forwarded(n)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestHostPortOfTwoWhoWait holds that of two pods that wait for addresses and
// want one host port, one is served and the other refused.
func TestHostPortOfTwoWhoWait(t *testing.T) {
	inTime(t, settingsFor(large), func() *fakeEC2 { return newEC2(large, 0) }, func(t *testing.T, n *node) {
		errs := make([]error, 2)
		var all sync.WaitGroup
		for i, name := range []string{"a", "b"} {
			all.Go(func() { _, errs[i] = n.Assign(t.Context(), withPort(name, 8080)) })
		}
		all.Wait()
		var taken *pool.PortTaken
		if (errs[0] == nil) == (errs[1] == nil) || !errors.As(errors.Join(errs...), &taken) {
			t.Errorf("got %v; want one served and one told who has the port", errs)
		}
		if held := n.Assignments(); len(held) != 1 {
			t.Errorf("held: %v", held)
		}
	})
}

// TestHostPortsTellAndLast holds that every change of the host ports is told,
// and that they are there after a restart.
func TestHostPortsTellAndLast(t *testing.T) {
	store, err := checkpoint.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	start := func() *Allocator {
		a, err := New(settingsFor(large), newEC2(large, 5), store, time.Now(), slog.New(slog.DiscardHandler), func() {}, func() { told++ })
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	if err := store.Assign(pool.Assignment{
		Key: request("a").Key, Pod: request("a").Pod, Address: netip.MustParseAddr("10.0.0.5"), Since: time.Now(), Ports: withPort("a", 8080).Ports,
	}); err != nil {
		t.Fatal(err)
	}
	a := start()
	if held := a.HostPorts(); len(held) != 1 || held[0].Ports[0].Port != 8080 {
		t.Errorf("after a restart: %v", held)
	}
	if _, held, err := a.Release(t.Context(), request("a").Key, "", nil, "DEL"); !held || err != nil || told != 1 {
		t.Errorf("released %t, %v, told %d times", held, err, told)
	}
	a = start()
	if held := a.HostPorts(); len(held) != 0 {
		t.Errorf("after the release and a restart: %v", held)
	}
	if _, err := a.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	ready := map[pool.ENIID]bool{}
	for _, e := range a.ENIs() {
		ready[e.ID] = true
	}
	a.SetReady(ready)
	told = 0
	if _, err := a.Assign(t.Context(), request("b")); err != nil || told != 0 {
		t.Errorf("assigned without host ports: %v, told %d times", err, told)
	}
	if _, err := a.Assign(t.Context(), withPort("a", 8080)); err != nil || told != 1 {
		t.Errorf("assigned with host ports: %v, told %d times", err, told)
	}
}
