package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/causeway-cni/causeway/scripts/cluster"
)

// perService is how many endpoints each service has.
const perService = 10

// contest is one of our modes against kube-proxy's of the same name, on one
// variant of iptables. Targets are by number of services; 0 only prints.
type contest struct {
	mode, variant  string
	most           int // services; 0 for any number
	start, change  map[int]float64
	cpu, rss, last float64
}

// contests have the targets of services. kube-proxy on iptables-nft does not
// finish writing 5,000 services, so that this one is small.
var contests = []contest{
	{mode: "nftables", variant: "nft", start: map[int]float64{5000: 0.25, 10000: 0.1},
		change: map[int]float64{1000: 0.15, 5000: 0.03}, cpu: 0.02, rss: 0.45, last: 1.05},
	{mode: "iptables", variant: "legacy", start: map[int]float64{5000: 1, 10000: 1},
		change: map[int]float64{1000: 0.9, 5000: 0.9}, cpu: 0.9, rss: 0.6},
	{mode: "iptables", variant: "nft", most: 1000, change: map[int]float64{1000: 0.9}},
}

// run is what one contender did with so many services.
type run struct {
	start, change, cpu float64 // seconds; the last two for one change
	rss                float64 // MiB, the most
	direct, last       float64 // microseconds to connect, to an endpoint and through a service
}

// measureServices compares the service proxy with the real kube-proxy, on the
// same objects of the same API server, each on a node of its own.
func measureServices(ctx context.Context, bin string, sizes []int) (rows []Row, err error) {
	say := func(s string) { fmt.Fprintln(os.Stderr, s) }
	tools, err := cluster.Build(ctx, say)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "causeway-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f, err := cluster.NewField(ctx, tools, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	written := 0
	for _, n := range sizes {
		if err := f.API.WriteServices(ctx, written, n, perService); err != nil {
			return nil, err
		}
		written = n
		for _, c := range contests {
			if c.most > 0 && n > c.most {
				continue
			}
			say(fmt.Sprintf("%d services, %s ...", n, c))
			ours, peer, err := c.inTurns(ctx, f, n, filepath.Join(bin, "ipamd"))
			if err != nil {
				return nil, fmt.Errorf("%s, %d services: %w", c, n, err)
			}
			measured := c.rows(n, ours, peer)
			for _, r := range measured { // the whole run takes long
				say(fmt.Sprintf("  %s: %.2f %s against %.2f", r.Name, r.Ours, r.Unit, r.Peer))
			}
			rows = append(rows, measured...)
		}
	}
	return rows, nil
}

func (c contest) String() string {
	if c.mode == "iptables" {
		return c.mode + "-" + c.variant
	}
	return c.mode
}

func (c contest) rows(n int, ours, peer run) []Row {
	name := func(what string) string { return fmt.Sprintf("%s, %d services: %s", c, n, what) }
	rows := []Row{
		row(name("start to first connection"), "s", ours.start, peer.start, c.start[n]),
		row(name("slice written to new backend, p50"), "ms", ours.change*1e3, peer.change*1e3, c.change[n]),
	}
	cpu, rss, last := 0.0, 0.0, 0.0
	if n == 5000 {
		cpu, rss = c.cpu, c.rss
	}
	if n == 10000 {
		last = c.last
	}
	return append(rows,
		row(name("CPU for a change"), "ms", ours.cpu*1e3, peer.cpu*1e3, cpu),
		row(name("resident memory with churn"), "MiB", ours.rss, peer.rss, rss),
		row(name("connect, service against endpoint"), "us", ours.last, ours.direct, last))
}

// Samples of a contender.
const (
	starts   = 3
	changes  = 15
	connects = 3000
)

// inTurns starts both in turns, and measures all else at the last start.
func (c contest) inTurns(ctx context.Context, f *cluster.Field, n int, ipamd string) (ours, peer run, err error) {
	var took [2][]float64
	for turn := range starts {
		last := turn == starts-1
		ours, err = c.measure(ctx, f, n, last, func(node *cluster.FieldNode) (*cluster.Process, error) { return node.StartProxy(ipamd, c.mode) })
		if err != nil {
			return ours, peer, fmt.Errorf("ours: %w", err)
		}
		peer, err = c.measure(ctx, f, n, last, func(node *cluster.FieldNode) (*cluster.Process, error) { return node.StartKubeProxy(c.mode, c.variant) })
		if err != nil {
			return ours, peer, fmt.Errorf("kube-proxy: %w", err)
		}
		took[0], took[1] = append(took[0], ours.start), append(took[1], peer.start)
	}
	ours.start, peer.start = middle(took[0]), middle(took[1])
	return ours, peer, nil
}

// measure starts one on a new node, and if so told changes services and
// connects.
func (c contest) measure(ctx context.Context, f *cluster.Field, n int, whole bool, start func(*cluster.FieldNode) (*cluster.Process, error)) (r run, err error) {
	if err := f.NewNode(ctx); err != nil {
		return r, err
	}
	quiet(ctx)                 // the kernel takes its time to remove the rules of the node before
	if c.variant == "legacy" { // what kubelet leaves, by which the variant is found
		if _, err := f.Node.Exec("iptables-legacy", "-t", "mangle", "-N", "KUBE-KUBELET-CANARY"); err != nil {
			return r, err
		}
	}
	began := time.Now()
	p, err := start(f.Node)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := await(f, p, n-1, nil, 2*time.Minute); err != nil {
		return r, err
	}
	r.start = time.Since(began).Seconds()
	if !whole {
		return r, nil
	}
	rest(ctx, 3*time.Second) // what it still does after the last service answers
	before, err := cpu(p.PID())
	if err != nil {
		return r, err
	}
	var took []float64
	generation := f.Generation()
	for i := range changes {
		s := n - 1 - i*n/(2*changes)
		want := map[netip.Addr]bool{}
		for e := range perService {
			want[cluster.Backend(s, e, generation)] = true
		}
		if err := await(f, p, s, nil, 5*time.Second); err != nil {
			return r, err
		}
		if await(f, p, s, want, 0) == nil {
			return r, fmt.Errorf("%s is where it is to be moved to", cluster.Name(s))
		}
		began := time.Now()
		if err := f.API.Move(ctx, s, perService, generation); err != nil {
			return r, err
		}
		if err := await(f, p, s, want, 30*time.Second); err != nil {
			return r, err
		}
		took = append(took, time.Since(began).Seconds())
		rest(ctx, 200*time.Millisecond)
	}
	rest(ctx, 2*time.Second)
	after, err := cpu(p.PID())
	if err != nil {
		return r, err
	}
	r.change, r.cpu = middle(took), (after-before).Seconds()/changes
	if r.rss, err = peak(p.PID()); err != nil {
		return r, err
	}
	return r, c.connect(f, n, &r)
}

// connect measures connections through the last service and straight to an
// endpoint, in turns.
func (c contest) connect(f *cluster.Field, n int, r *run) error {
	service, direct := cluster.ClusterIP(n-1), cluster.Backend(n-1, 0, 0)
	took := map[netip.Addr][]float64{}
	err := cluster.Within(f.Path("client"), func() error {
		for i := range connects * 2 {
			to := []netip.Addr{service, direct}[i/100%2]
			t, err := connect(to)
			if err != nil {
				return err
			}
			took[to] = append(took[to], float64(t.Nanoseconds())/1e3)
		}
		return nil
	})
	r.last, r.direct = middle(took[service]), middle(took[direct])
	return err
}

// await asks a service until one of the wanted endpoints answers; nil for any.
func await(f *cluster.Field, p *cluster.Process, i int, want map[netip.Addr]bool, within time.Duration) error {
	deadline := time.Now().Add(within)
	return cluster.Within(f.Path("client"), func() error {
		for {
			at, err := cluster.Ask(netip.AddrPortFrom(cluster.ClusterIP(i), 80).String(), 20*time.Millisecond)
			if err == nil && (want == nil || want[at.Addr()]) {
				return nil
			}
			if p.Ended() || time.Now().After(deadline) {
				return fmt.Errorf("%s does not answer as it should within %s: %v, %v\n%s", cluster.Name(i), within, at, err, p.Tail())
			}
			time.Sleep(time.Millisecond)
		}
	})
}
