package lb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// round is one check of one target, from all addresses of its balancer.
type round struct {
	group  *group
	target *target
	spec   topology.HealthCheck
	to     netip.AddrPort
	from   []netip.Addr
}

// step moves the targets to the present. It returns the checks that are due
// and how long until there is something to do again.
func (b *Balancers) step(now time.Time) (due []round, next time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	next = quiet
	for _, lb := range b.sorted() {
		if !lb.ready {
			continue
		}
		for _, g := range lb.groups {
			g.targets = slices.DeleteFunc(g.targets, func(t *target) bool {
				return t.health.State == Draining && !now.Before(t.gone)
			})
			for _, t := range g.targets {
				if t.begin(now, time.Duration(g.HealthCheck.Interval)) {
					due = append(due, g.round(t))
				}
				next = min(next, t.wait(now))
			}
		}
	}
	return due, next
}

// wait is how long until the target has something to do.
func (t *target) wait(now time.Time) time.Duration {
	switch {
	case t.health.State == Draining:
		return max(0, t.gone.Sub(now))
	case t.checked() && !t.checking:
		return max(0, t.next.Sub(now))
	}
	return quiet
}

func (g *group) round(t *target) round {
	to := t.endpoint()
	if g.HealthCheck.Port != 0 {
		to = netip.AddrPortFrom(t.addr, g.HealthCheck.Port)
	}
	return round{g, t, g.HealthCheck, to, g.balancer.addresses()}
}

// check makes a round and tells its target the outcome.
func (b *Balancers) check(ctx context.Context, r round) {
	outcomes := make([]Health, len(r.from))
	var group sync.WaitGroup
	for i, from := range r.from {
		group.Go(func() { outcomes[i] = b.probe(ctx, r, from) })
	}
	group.Wait()
	if ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	before := r.target.health
	r.target.end(majority(outcomes), r.spec)
	if after := r.target.health; after.State != before.State {
		b.log.Info("target is "+string(after.State), "balancer", r.group.balancer.spec.Name, "target", Text(r.target.Target), "reason", after.Reason)
	}
	b.stir()
}

// majority is healthy if more than half are, else the first that is not.
func majority(outcomes []Health) Health {
	passed, failed := 0, Health{}
	for _, o := range outcomes {
		if o.State == Healthy {
			passed++
		} else if failed.State == "" {
			failed = o
		}
	}
	if 2*passed > len(outcomes) {
		return healthy
	}
	return failed
}

// probe checks a target from one address.
func (b *Balancers) probe(ctx context.Context, r round, from netip.Addr) Health {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.spec.Timeout))
	defer cancel()
	conn, err := b.dial(ctx, from, r.to)
	if err != nil {
		return failure(err)
	}
	defer conn.Close()
	if r.spec.Protocol == "TCP" {
		return healthy
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	status, err := get(ctx, conn, r.to, r.spec.Path)
	switch {
	case ctx.Err() != nil:
		return timedOut
	case err != nil:
		return failure(err)
	}
	if ok, err := r.spec.Accepts(status); !ok || err != nil {
		return wrongStatus(status)
	}
	return healthy
}

func failure(err error) Health {
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return timedOut
	}
	return refused
}

// get asks for a path as a load balancer does and returns the status.
func get(ctx context.Context, conn net.Conn, to netip.AddrPort, path string) (int, error) {
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+to.String()+path, nil)
	if err != nil {
		return 0, fmt.Errorf("preparing a health check of %s: %w", to, err)
	}
	req.Header.Set("User-Agent", "ELB-HealthChecker/2.0")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, fmt.Errorf("checking %s: %w", to, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0, fmt.Errorf("checking %s: %w", to, err)
	}
	return resp.StatusCode, nil
}

// dial connects from one of the balancers' addresses.
func (b *Balancers) dial(ctx context.Context, from netip.Addr, to netip.AddrPort) (conn net.Conn, err error) {
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	err = b.fabric.In(fabric.LB, func() (err error) {
		conn, err = d.DialContext(ctx, "tcp4", to.String())
		return err
	})
	return conn, err
}
