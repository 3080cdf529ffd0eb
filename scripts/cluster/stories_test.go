package cluster

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

var (
	services = flag.Int("services", 300, "services of the story of restarts")
	lasts    = flag.Duration("lasts", 5*time.Second, "time of load around each restart")
	perSec   = flag.Int("rate", 1000, "new connections a second")
)

const endpoints = 10

// mode is a way of running the proxy.
type mode struct{ mode, variant string }

var modes = []mode{{"iptables", "nft"}, {"iptables", "legacy"}, {"nftables", ""}}

func (m mode) String() string { return strings.TrimSuffix(m.mode+"-"+m.variant, "-") }

// field is a Field with ipamd.
type field struct {
	*Field
	t     *testing.T
	ipamd string
}

func newField(t *testing.T) *field {
	t.Helper()
	tools, err := Build(t.Context(), func(s string) { t.Log(s) })
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ipamd := filepath.Join(dir, "ipamd")
	if out, err := exec.Command("go", "build", "-o", ipamd, "github.com/causeway-cni/causeway/ipamd").CombinedOutput(); err != nil {
		t.Fatalf("building ipamd: %v\n%s", err, out)
	}
	f, err := NewField(t.Context(), tools, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return &field{f, t, ipamd}
}

// start starts the proxy on a new node.
func (f *field) start(m mode, more ...string) *Process {
	f.t.Helper()
	if err := f.NewNode(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	if m.variant == "legacy" { // the proxy takes the variant that the node uses
		if _, err := f.Node.Exec("iptables-legacy", "-t", "mangle", "-N", "KUBE-KUBELET-CANARY"); err != nil {
			f.t.Fatal(err)
		}
	}
	return f.again(m, more...)
}

// again starts the proxy on the node as it is.
func (f *field) again(m mode, more ...string) *Process {
	f.t.Helper()
	p, err := f.Node.StartProxy(f.ipamd, m.mode, more...)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			f.t.Error(err)
		}
		if f.t.Failed() {
			f.t.Logf("end of %s:\n%s", p.Log, p.Tail())
		}
	})
	return p
}

// reach waits until a service answers, and says how long that took.
func (f *field) reach(i int, within time.Duration) time.Duration {
	f.t.Helper()
	began := time.Now()
	err := Within(f.Path("client"), func() error {
		for {
			_, err := Ask(netip.AddrPortFrom(ClusterIP(i), 80).String(), 100*time.Millisecond)
			if err == nil || time.Since(began) > within {
				return err
			}
		}
	})
	if err != nil {
		f.t.Fatalf("%s does not answer within %s: %v", Name(i), within, err)
	}
	return time.Since(began)
}

func (f *field) write(to int) {
	f.t.Helper()
	if err := f.API.WriteServices(f.t.Context(), 0, to, endpoints); err != nil {
		f.t.Fatal(err)
	}
}

// TestDrift damages the rules in every way that operators and other programs
// do, and wants services back within two seconds.
func TestDrift(t *testing.T) {
	f := newField(t)
	f.write(5)
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			f := &field{f.Field, t, f.ipamd}
			f.start(m)
			f.reach(4, 20*time.Second)
			for _, damage := range f.damages(m) {
				if _, err := f.Node.Exec("sh", "-ec", damage); err != nil {
					t.Fatal(err)
				}
				if took := f.whole(2 * time.Second); took > 0 {
					t.Logf("%s: back after %s", damage, took.Round(time.Millisecond))
				}
			}
		})
	}
}

func (f *field) damages(m mode) []string {
	if m.mode == "nftables" {
		return []string{
			"nft delete table inet causeway", "nft flush ruleset", "nft flush chain inet causeway services",
			"nft flush map inet causeway service-ips", "nft flush map inet causeway endpoints",
			"nft delete rule inet causeway services handle $(nft -a list chain inet causeway services | sed -n 's/.*addresses of services.*# handle //p' | head -1)",
		}
	}
	p := "iptables-" + m.variant
	chain := fmt.Sprintf("$(%s -t nat -S | sed -n 's/^-N \\(KUBE-SVC-.*\\)/\\1/p' | head -1)", p)
	flushAll := fmt.Sprintf("for t in nat filter mangle; do %[1]s -t $t -F; done; for t in nat filter; do %[1]s -t $t -X || true; done", p)
	return []string{
		p + " -t nat -F", flushAll, p + " -t nat -F KUBE-SERVICES",
		p + " -t nat -F " + chain, fmt.Sprintf("%s -t nat -D KUBE-SERVICES 1", p), fmt.Sprintf("%s -t nat -D PREROUTING 1", p),
	}
}

// whole waits until all services answer, three times over, and fails if that
// takes longer than it may.
func (f *field) whole(within time.Duration) time.Duration {
	f.t.Helper()
	began := time.Now()
	deadline := began.Add(within)
	for i := 0; i < 15; {
		err := Within(f.Path("client"), func() error {
			_, err := Ask(netip.AddrPortFrom(ClusterIP(i%5), 80).String(), 50*time.Millisecond)
			return err
		})
		switch {
		case err == nil:
			i++
		case time.Now().After(deadline):
			f.t.Fatalf("%s does not answer %s after the damage: %v", Name(i%5), within, err)
		default:
			i = 0
		}
	}
	return time.Since(began)
}

// load opens connections to random services at a steady rate.
type load struct {
	opened, failed atomic.Int64
	first          atomic.Pointer[string] // the first failure
	stop           chan struct{}
	done           sync.WaitGroup
}

// workers share the rate; each has a thread in the clients' namespace.
const workers = 20

func (f *field) load(n, rate int) *load {
	l := &load{stop: make(chan struct{})}
	for w := range workers {
		l.done.Go(func() {
			Within(f.Path("client"), func() error {
				tick := time.NewTicker(time.Second * workers / time.Duration(rate))
				defer tick.Stop()
				random := rand.New(rand.NewPCG(1, uint64(w)))
				for {
					select {
					case <-l.stop:
						return nil
					case <-tick.C:
					}
					i := random.IntN(n)
					l.opened.Add(1)
					if at, err := Ask(netip.AddrPortFrom(ClusterIP(i), 80).String(), 3*time.Second); err != nil {
						l.failed.Add(1)
						said := fmt.Sprintf("%s at %s: %v %v", Name(i), time.Now().Format("15:04:05.000"), at, err)
						l.first.CompareAndSwap(nil, &said)
					}
				}
			})
		})
	}
	return l
}

// end ends the load, and fails the test if a connection failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	close(l.stop)
	l.done.Wait()
	t.Logf("%d connections, %d failed", l.opened.Load(), l.failed.Load())
	if said := l.first.Load(); said != nil {
		t.Errorf("%d of %d connections failed, the first: %s", l.failed.Load(), l.opened.Load(), *said)
	}
	if l.opened.Load() == 0 {
		t.Error("no connection was tried")
	}
}

// report ends a load that was to last, so that few connections are a failure,
// too.
func (l *load) report(t *testing.T) {
	t.Helper()
	l.end(t)
	if least := int64(*perSec) * int64(*lasts/time.Second) / 3; l.opened.Load() < least {
		t.Errorf("only %d connections were tried, want at least %d", l.opened.Load(), least)
	}
}

// TestRestartUnderLoad ends the proxy as an operator, an upgrade and a crash
// do, while endpoints change, and wants no connection to fail.
func TestRestartUnderLoad(t *testing.T) {
	f := newField(t)
	f.write(*services)
	f.echo()
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			f := &field{f.Field, t, f.ipamd}
			p := f.start(m)
			f.reach(*services-1, time.Minute)
			old, l := f.sessions(), f.load(*services, *perSec)
			ctx, cancel := context.WithCancel(t.Context())
			var churn sync.WaitGroup
			churn.Go(func() { f.churn(ctx) })
			ends := []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM, syscall.SIGKILL, syscall.SIGKILL}
			for _, end := range ends {
				pause(t, *lasts/6)
				if err := p.Signal(end); err != nil {
					t.Fatal(err)
				}
				<-p.done
				p = f.again(m)
			}
			pause(t, *lasts/6)
			cancel()
			churn.Wait()
			old.end()
			l.report(t)
		})
	}
}

// churn moves services to other endpoints, all of which answer: so often that
// the proxy always has something to write.
func (f *field) churn(ctx context.Context) {
	for round := 1; ctx.Err() == nil; round++ {
		if err := f.API.Move(ctx, round%*services, endpoints, 1 + round / *services % 5); err != nil && ctx.Err() == nil {
			f.t.Errorf("moving endpoints: %v", err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func pause(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(d):
	}
}

// TestShares wants every endpoint to get its part.
func TestShares(t *testing.T) {
	f := newField(t)
	f.write(1)
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			f := &field{f.Field, t, f.ipamd}
			f.start(m)
			f.reach(0, 20*time.Second)
			got := map[netip.Addr]int{}
			err := Within(f.Path("client"), func() error {
				for range 1000 {
					at, err := Ask(netip.AddrPortFrom(ClusterIP(0), 80).String(), time.Second)
					if err != nil {
						return err
					}
					got[at.Addr()]++
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for n := range endpoints {
				if hits := got[Backend(0, n, 0)]; hits < 50 || hits > 150 {
					t.Errorf("endpoint %d got %d of 1000 connections", n, hits)
				}
			}
			if len(got) != endpoints {
				t.Errorf("%d endpoints answered: %v", len(got), slices.Collect(keys(got)))
			}
		})
	}
}

func keys(m map[netip.Addr]int) func(func(netip.Addr) bool) {
	return func(yield func(netip.Addr) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}
