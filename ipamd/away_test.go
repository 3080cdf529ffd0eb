package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/cni-plugin/notes"
	"github.com/causeway-cni/causeway/ipamd/internal/allocator"
	"github.com/causeway-cni/causeway/ipamd/internal/checkpoint"
	"github.com/causeway-cni/causeway/ipamd/internal/ec2"
	"github.com/causeway-cni/causeway/ipamd/internal/loop"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/internal/server"
	"github.com/causeway-cni/causeway/rpc"
	"github.com/causeway-cni/causeway/scripts/vpcsim/sim"
)

var cycles = flag.Int("cycles", 2000, "ADDs and DELs of TestAway")

const (
	pods     = 20  // at once; each comes and goes, time after time
	lifetime = 150 // cycles, then the daemon is away for a moment
)

// TestAway adds and deletes pods while the daemon comes and goes: one DEL in
// twenty finds it away, and leaves a note. No address has two pods at once, and
// none is left over.
func TestAway(t *testing.T) {
	n := newAwayNode(t)
	n.begin()
	var all sync.WaitGroup
	for pod := range pods {
		all.Go(func() {
			for number := n.done.Add(1); number <= int64(*cycles) && !t.Failed(); number = n.done.Add(1) {
				n.cycle(fmt.Sprint("pod", pod, "-", number), number%lifetime == 0)
			}
		})
	}
	all.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	within(t, time.Minute, func() error {
		left, err := os.ReadDir(n.notes)
		state := n.book.Snapshot()
		if len(left)+len(state.Assignments) > 0 || state.Count.Free != state.Count.Total {
			return fmt.Errorf("%d notes and %d assignments are left, %d of %d addresses are free", len(left), len(state.Assignments), state.Count.Free, state.Count.Total)
		}
		return err
	})
	n.end()
	noted := 100 * float64(n.noted.Load()) / float64(*cycles)
	if noted < 1 {
		t.Errorf("%.1f%% of DELs found the daemon away: too few to tell", noted)
	}
	t.Logf("%d ADDs and DELs, %.1f%% of DELs while the daemon was away, %d starts", *cycles, noted, n.starts)
}

// within tries until something holds.
func within(t *testing.T, limit time.Duration, holds func() error) {
	t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if err := holds(); err == nil {
			return
		} else if time.Now().After(end) {
			t.Fatalf("after %s: %v", limit, err)
		}
	}
}

// awayNode is a runtime, and a daemon that is there or not.
type awayNode struct {
	t           *testing.T
	dir, notes  string
	sim         *sim.Sim
	id          ec2.Identity
	done, noted atomic.Int64
	has         sync.Map // address -> pod

	mu     sync.RWMutex // held while a call is under way
	book   *allocator.Allocator
	server *server.Server
	end    func()
	starts int
}

func newAwayNode(t *testing.T) *awayNode {
	n := &awayNode{t: t, dir: t.TempDir()}
	n.notes = filepath.Join(n.dir, "notes")
	for _, setting := range os.Environ() {
		if name, _, _ := strings.Cut(setting, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	t.Setenv("AWS_CONFIG_FILE", "/nonexistent")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
	var err error
	if n.sim, err = sim.Start(sim.Options{Topology: "throttle: {enabled: false}\nnodes: [{name: n1, subnet: a, type: m5.large}]"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.sim.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", n.sim.IMDSURL("n1"))
	if n.id, err = ec2.Discover(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return n
}

// begin starts a daemon.
func (n *awayNode) begin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.starts++
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(n.t.Context())
	cloud, err := ec2.New(ctx, ec2.Settings{Endpoint: n.sim.EC2URL(), ClusterName: "away", Log: log}, n.id)
	if err != nil {
		n.t.Error(err)
	}
	store, err := checkpoint.Open(filepath.Join(n.dir, "book"))
	if err != nil {
		n.t.Error(err)
	}
	var round *loop.Loop
	n.book, err = allocator.New(allocator.Settings{Wait: 10 * time.Second, Pool: pool.Settings{
		Limits: pool.Limits{ENIs: 3, AddressesPerENI: 10, Prefixes: true}, Prefixes: true,
		CoolDown: 10 * time.Millisecond, Headroom: headroom, ManageUntagged: true, InstanceID: n.id.InstanceID,
	}}, cloud, store, time.Now(), log, func() { round.Trigger() }, func() {})
	if err != nil {
		n.t.Error(err)
	}
	n.server = server.New(server.Settings{PodMTU: 9001, VethPrefix: "eni", Log: log}, quiet{})
	n.server.Open(n.book)
	round = loop.New(loop.Settings{Name: "pool", Coalesce: time.Millisecond, Resync: time.Minute,
		Pause: 100 * time.Millisecond, LongestPause: time.Second}, n.book.Step, log, func(string) {})
	var tasks sync.WaitGroup
	tasks.Go(func() { _ = round.Run(ctx) })
	every := func(pause time.Duration, do func()) {
		tasks.Go(func() {
			for ctx.Err() == nil {
				do()
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	book, face := n.book, n.server
	every(20*time.Millisecond, func() {
		ready := map[pool.ENIID]bool{}
		for _, e := range book.ENIs() {
			ready[e.ID] = e.Status == pool.Attached
		}
		book.SetReady(ready)
	})
	every(100*time.Millisecond, func() {
		if err := readNotes(ctx, n.notes, face); err != nil && ctx.Err() == nil {
			n.t.Error(err)
		}
	})
	n.end = func() { cancel(); tasks.Wait() }
}

// quiet observes nothing.
type quiet struct{}

func (quiet) Request(string, time.Duration, error) {}
func (quiet) Release(string)                       {}

// cycle is the life of a pod. With away it takes the daemon away before its
// end, and brings it back.
func (n *awayNode) cycle(name string, away bool) {
	attachment := &rpc.Attachment{Network: "causeway", ContainerId: name, Interface: "eth0"}
	pod := &rpc.Pod{Namespace: "default", Name: name}
	address, err := n.add(attachment, pod)
	if err != nil {
		n.t.Errorf("ADD of %s: %v", name, err)
		return
	}
	if other, taken := n.has.LoadOrStore(address, name); taken {
		n.t.Errorf("%s was given to %s while %v has it", address, name, other)
	}
	if away && n.leave() {
		defer n.begin()
		<-time.After(10 * time.Millisecond) // in which others end their pods
	}
	n.has.Delete(address)
	if err := n.del(attachment, pod); err != nil {
		n.t.Errorf("DEL of %s: %v", name, err)
	}
}

// leave ends the daemon, after the calls that are under way; false if another
// pod did.
func (n *awayNode) leave() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.server == nil {
		return false
	}
	n.end()
	n.server = nil
	return true
}

// add asks until the daemon is there, as the runtime does.
func (n *awayNode) add(attachment *rpc.Attachment, pod *rpc.Pod) (string, error) {
	for ; ; time.Sleep(time.Millisecond) {
		n.mu.RLock()
		if n.server == nil {
			n.mu.RUnlock()
			continue
		}
		reply, err := n.server.Assign(n.t.Context(), &rpc.AssignRequest{Attachment: attachment, Pod: pod})
		n.mu.RUnlock()
		if err != nil {
			return "", err
		}
		return reply.GetAssignment().GetAddresses()[0].GetIp(), nil
	}
}

func (n *awayNode) del(attachment *rpc.Attachment, pod *rpc.Pod) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.server == nil {
		n.noted.Add(1)
		return notes.Leave(n.notes, notes.Note{Network: attachment.GetNetwork(), ContainerID: attachment.GetContainerId(),
			Interface: attachment.GetInterface(), Namespace: pod.GetNamespace(), Pod: pod.GetName(), Reason: "DEL"})
	}
	reply, err := n.server.Release(n.t.Context(), &rpc.ReleaseRequest{Attachment: attachment, Pod: pod, Reason: "DEL"})
	if err == nil && reply.GetAssignment() == nil {
		err = errors.New("the daemon held no address for it")
	}
	return err
}
