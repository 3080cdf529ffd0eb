package allocator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// Fifty runtimes add and delete pods for a second of real time.
func TestStorm(t *testing.T) {
	limits := pool.Limits{ENIs: 4, AddressesPerENI: 15}
	s := settingsFor(limits)
	s.Wait, s.Pool.CoolDown = 200*time.Millisecond, 20*time.Millisecond
	dir := t.TempDir()
	n := boot(t, s, newEC2(limits, 0), dir)
	var (
		inUse  sync.Map // address -> name of the pod that has it
		served atomic.Int64
		all    sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for worker := range 50 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				r := request(fmt.Sprint(worker, "-", i))
				got, err := n.Assign(t.Context(), r)
				if err != nil {
					if why := new(pool.Refusal); !errors.As(err, &why) {
						t.Error(err)
					}
					continue
				}
				served.Add(1)
				if other, taken := inUse.LoadOrStore(got.Address, r.Key.ContainerID); taken {
					t.Errorf("%s was handed to %s while %s has it", got.Address, r.Key.ContainerID, other)
				}
				if rand.IntN(4) == 0 {
					n.Assignments()
				}
				inUse.Delete(got.Address)
				if _, held, err := n.Release(t.Context(), r.Key, "", nil, "DEL"); err != nil || !held {
					t.Errorf("DEL of %s: held %v, %v", r.Key.ContainerID, held, err)
				}
			}
		})
	}
	all.Wait() // none is left blocked
	t.Logf("%d pods added and deleted in a second", served.Load())
	n.check()
	if state := n.Snapshot(); state.Waiting != 0 || len(state.Assignments) != 0 {
		t.Errorf("%d wait and %d hold an address at the end", state.Waiting, len(state.Assignments))
	}
	if served.Load() < 100 {
		t.Errorf("only %d were served", served.Load())
	}
	n.stop()
}

// An assignment and its release, both written to the book, on a node with 200
// pods.
func BenchmarkAssignRelease(b *testing.B) {
	limits := pool.Limits{ENIs: 8, AddressesPerENI: 30}
	s := settingsFor(limits)
	s.Pool.CoolDown = 0
	dir, err := os.MkdirTemp("/dev/shm", "book-*") // a tmpfs, like /run
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	store, err := checkpoint.Open(filepath.Join(dir, "book"))
	if err != nil {
		b.Fatal(err)
	}
	a, err := New(s, newEC2(limits, 0), store, time.Now(), slog.New(slog.DiscardHandler), func() {}, func() {})
	if err != nil {
		b.Fatal(err)
	}
	var enis []pool.ENI
	ready := map[pool.ENIID]bool{}
	for device := range limits.ENIs {
		e := pool.ENI{ID: pool.ENIID(fmt.Sprint("eni-", device)), Primary: device == 0, Device: device, Status: pool.Attached, Tags: map[string]string{pool.TagInstance: instance}}
		for i := range limits.AddressesPerENI - 1 {
			e.Addresses = append(e.Addresses, netip.AddrFrom4([4]byte{10, 0, byte(device), byte(i + 4)}))
		}
		enis, ready[e.ID] = append(enis, e), true
	}
	a.pool.Observe(enis, true, time.Now())
	a.SetReady(ready)
	for i := range 200 {
		if _, err := a.Assign(b.Context(), request(fmt.Sprint("held", i))); err != nil {
			b.Fatal(err)
		}
	}
	r := request("one-more")
	for b.Loop() {
		if _, err := a.Assign(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if _, _, err := a.Release(b.Context(), r.Key, "", nil, "DEL"); err != nil {
			b.Fatal(err)
		}
	}
}
