package conntrack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	// rounds is how often a listing is begun anew that the kernel could not
	// finish in one piece.
	rounds = 3
	// narrowPorts is up to how many ports the kernel is asked for each port's
	// flows alone. Every listing walks its whole table, which of 100,000 flows
	// takes it 27 ms; to hand all of them over takes 130 ms more.
	narrowPorts = 2
	// atOnce is how many deletions go to the kernel together.
	atOnce = 128
)

// errInterrupted says that the table was resized while it was listed, so that
// some flows may not have been shown.
var errInterrupted = errors.New("the listing was interrupted")

// Delete deletes the stale flows of the calling thread's network namespace,
// and says how many those were. A listing takes its time, and rules change
// meanwhile: what leads where it should by now, as Ledger.Leads says, stays.
// After an error some may be left, for the same Sweep the next time.
func Delete(ctx context.Context, s Sweep, leads func(Flow) bool) (deleted int, err error) {
	if s.Empty() {
		return 0, nil
	}
	c := cleaner{sweep: s, leads: leads}
	if c.local, err = localAddrs(); err != nil {
		return 0, fmt.Errorf("finding the node's addresses: %w", err)
	}
	if c.dump, err = dial(); err != nil {
		return 0, fmt.Errorf("opening the table of connections: %w", err)
	}
	defer c.dump.close()
	if c.kill, err = dial(); err != nil {
		return 0, fmt.Errorf("opening the table of connections: %w", err)
	}
	defer c.kill.close()
	for _, w := range s.wanted() {
		if err := c.clean(ctx, w); err != nil {
			return c.deleted, fmt.Errorf("cleaning UDP flows: %w", err)
		}
	}
	return c.deleted, nil
}

// wanted are the listings that show all flows which may be stale.
func (s Sweep) wanted() []filter {
	ports := map[uint8]map[uint16]bool{unix.AF_INET: {}, unix.AF_INET6: {}}
	for at := range s.fronts {
		family := uint8(unix.AF_INET6)
		if at.Addr().Is4() {
			family = unix.AF_INET
		}
		ports[family][at.Port()] = true
	}
	var all []filter
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		switch of := ports[family]; {
		case len(of) > narrowPorts:
			all = append(all, filter{family: family})
		default:
			for _, p := range slices.Sorted(maps.Keys(of)) {
				all = append(all, filter{family, p})
			}
		}
	}
	return all
}

// localAddrs are the addresses of the namespace's links.
func localAddrs() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	local := map[netip.Addr]bool{}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			local[p.Addr()] = true
		}
	}
	return local, nil
}

// cleaner lists flows on one socket and deletes them on another, as they come,
// so that it never holds more than a few.
type cleaner struct {
	sweep      Sweep
	leads      func(Flow) bool
	local      map[netip.Addr]bool
	dump, kill *socket
	batch      []byte // deletions not yet sent
	batched    int
	deleted    int
}

// clean goes through one listing, again if the kernel interrupts it.
func (c *cleaner) clean(ctx context.Context, w filter) error {
	for round := 1; ; round++ {
		err := c.pass(ctx, w)
		if !errors.Is(err, errInterrupted) || round == rounds {
			return err
		}
	}
}

func (c *cleaner) pass(ctx context.Context, w filter) error {
	err := c.dump.list(ctx, appendList(nil, w, true), c.judge)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = c.dump.list(ctx, appendList(nil, w, false), c.judge)
	}
	// What was found stale is stale, however the listing ended.
	return errors.Join(err, c.flush())
}

// judge takes one message of a listing.
func (c *cleaner) judge(family uint8, attrs []byte) error {
	e, ok := parseEntry(attrs)
	if !ok || e.protocol != unix.IPPROTO_UDP {
		return nil
	}
	e.flow.Local = e.flow.To.Addr().IsLoopback() || c.local[e.flow.To.Addr()]
	if !c.sweep.Stale(e.flow) || c.leads(e.flow) {
		return nil
	}
	c.batch = appendDelete(c.batch, family, e)
	if c.batched++; c.batched < atOnce {
		return nil
	}
	return c.flush()
}

// flush sends the deletions. Entries that are gone already are not counted.
func (c *cleaner) flush() error {
	if c.batched == 0 {
		return nil
	}
	refused, err := c.kill.send(c.batch, c.batched)
	c.deleted += c.batched - refused
	c.batch, c.batched = c.batch[:0], 0
	return err
}
