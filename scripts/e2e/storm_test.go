package e2e

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

var stormSeed = flag.Uint64("storm-seed", 0, "seed of the storm; 0 chooses one")

// The storm: how often the daemon is ended, and who adds and deletes pods
// meanwhile.
const (
	stormCycles  = 200
	stormWorkers = 6
	stormPods    = 3 // at most, of one worker
)

// calm is a node with room for the storm's pods, and an EC2 that does not
// throttle: there the daemon describes what it finds 200 times.
const calm = `
throttle: {enabled: false}
nodes: [{name: n1, subnet: a, type: m5.large}]
`

var stormEnv = []string{"IP_COOLDOWN_PERIOD=1"}

// TestStorm kills and stops the daemon at random points while pods come and
// go. Nothing may be lost, held twice or left behind.
func TestStorm(t *testing.T) {
	t.Parallel()
	s := raise(t, calm)
	node := s.lab.Node("n1")
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -storm-seed=%d", seed)
	workers := make([]*worker, stormWorkers)
	var running sync.WaitGroup
	var over atomic.Bool
	for i := range workers {
		w := &worker{story: s, node: node, id: i, rng: rand.New(rand.NewPCG(seed, uint64(i)+1))}
		workers[i] = w
		running.Go(func() {
			for !over.Load() && !t.Failed() {
				w.step()
			}
		})
	}
	began := time.Now()
	s.endlessly(node, rand.New(rand.NewPCG(seed, 0)))
	s.start("n1", stormEnv...)
	over.Store(true)
	running.Wait()
	t.Logf("%d cycles in %s", stormCycles, time.Since(began).Round(time.Second))
	if t.Failed() {
		return
	}
	var pods []*harness.Pod
	for _, w := range workers {
		t.Logf("worker %d: %d ADDs (%d refused), %d DELs, %d pods left", w.id, w.adds, w.refused, w.dels, len(w.pods))
		pods = append(pods, w.pods...)
	}
	s.holdsAll(node, pods)
	s.leaveAll(node, pods)
}

// endlessly starts the daemon and ends it: at a random moment of its start,
// or of its work; mostly as a crash, sometimes as an operator.
func (s *story) endlessly(node *harness.Node, rng *rand.Rand) {
	for cycle := range stormCycles {
		d, err := node.StartIpamd(stormEnv...)
		if err == nil && cycle%2 == 0 {
			err = node.AwaitReady(s.ctx)
		}
		if err != nil {
			s.Errorf("cycle %d: %v", cycle, err)
			return
		}
		<-time.After(time.Duration(5+rng.IntN(145)) * time.Millisecond)
		if rng.IntN(4) > 0 {
			err = d.Kill()
		} else {
			err = d.Terminate()
		}
		if err != nil {
			s.Errorf("cycle %d: %v", cycle, err)
			return
		}
	}
}

// worker adds and deletes pods as a runtime does.
type worker struct {
	*story
	node                *harness.Node
	id                  int
	rng                 *rand.Rand
	pods                []*harness.Pod
	adds, refused, dels int
}

func (w *worker) step() {
	if n := len(w.pods); n > 0 && (n == stormPods || w.rng.IntN(2) == 0) {
		i := w.rng.IntN(n)
		w.delete(w.pods[i])
		w.pods = append(w.pods[:i], w.pods[i+1:]...)
		return
	}
	pod, err := w.node.NewSandbox(w.ctx, fmt.Sprintf("w%d-%d", w.id, w.adds))
	w.adds++
	if err != nil {
		w.Error(err)
		return
	}
	for w.ctx.Err() == nil {
		err := pod.Add(w.ctx)
		if err == nil {
			w.pods = append(w.pods, pod)
			return
		}
		var refusal *types.Error
		if !errors.As(err, &refusal) || refusal.Code != types.ErrTryAgainLater {
			w.Errorf("ADD of %s: %v", pod.Name, err)
			return
		}
		w.refused++
		if err := pod.Del(w.ctx); err != nil {
			w.Errorf("DEL of %s after a failed ADD: %v", pod.Name, err)
			return
		}
	}
}

func (w *worker) delete(p *harness.Pod) {
	w.dels++
	if err := errors.Join(p.Del(w.ctx), p.Remove(w.ctx)); err != nil {
		w.Errorf("DEL of %s: %v", p.Name, err)
	}
}

// holdsAll demands that every pod has its network, and the book holds an
// address for each, and no more.
func (s *story) holdsAll(node *harness.Node, pods []*harness.Pod) {
	s.Helper()
	s.within(10*time.Second, func() error { // notes are read
		assigned := map[string]bool{}
		book := s.book(node)
		for address, e := range book {
			if e.State == "assigned" {
				assigned[address] = true
			}
		}
		for _, p := range pods {
			address := p.IP.String()
			if !assigned[address] || book[address].Container != p.Name {
				return fmt.Errorf("pod %s has %s, which the book says is %+v", p.Name, address, book[address])
			}
			delete(assigned, address)
		}
		if len(assigned) > 0 {
			return fmt.Errorf("the book holds addresses of no pod: %v", assigned)
		}
		return nil
	})
	s.must(node.GC(s.ctx, pods...))
	for _, p := range pods {
		s.must(p.Check(s.ctx))
		s.must(p.Serve(s.ctx))
	}
	s.reach(pods...)
}

// leaveAll deletes all pods and demands that nothing of them is left.
func (s *story) leaveAll(node *harness.Node, pods []*harness.Pod) {
	s.Helper()
	for _, p := range pods {
		s.must(p.Del(s.ctx))
		s.must(p.Remove(s.ctx))
	}
	s.within(10*time.Second, func() error { return s.noLeaks(node) })
}
