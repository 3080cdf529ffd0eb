package iptables

import (
	"context"
	"fmt"
	"io"
	"slices"

	goiptables "github.com/coreos/go-iptables/iptables"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// Backend is iptables of one variant and one family. It is not safe for
// concurrent use.
type Backend struct {
	variant Variant
	family  service.Family
	program string // "iptables-nft" and the like
	rules   *goiptables.IPTables
	tables  []string // that have rules of ours

	listTotal string // file
	counters  counters
	own       own
}

// Open finds the programs of a variant, for IPv4 or IPv6. It changes nothing.
func Open(v Variant, f service.Family) (*Backend, error) {
	program, protocol := program(v, f), goiptables.ProtocolIPv4
	if f == service.IPv6 {
		protocol = goiptables.ProtocolIPv6
	}
	rules, err := goiptables.New(goiptables.IPFamily(protocol), goiptables.Path(program), goiptables.Timeout(lockSeconds))
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", program, err)
	}
	if !rules.HasRandomFully() {
		major, minor, patch := rules.GetIptablesVersion()
		return nil, fmt.Errorf("%s has version %d.%d.%d: at least 1.6.2 is needed", program, major, minor, patch)
	}
	return &Backend{variant: v, family: f, program: program, rules: rules, tables: ruleset.Tables(), listTotal: listTotal}, nil
}

// Variant is the variant of this backend.
func (b *Backend) Variant() Variant { return b.variant }

// Family is the family whose rules this backend writes.
func (b *Backend) Family() service.Family { return b.family }

// Observe reads all tables that exist; it makes none. Of chains of services it
// has the names only.
func (b *Backend) Observe(ctx context.Context) (saved ruleset.Saved, err error) {
	err = save(ctx, b.program, func(r io.Reader) error {
		saved, err = ruleset.Read(r)
		return err
	})
	return saved, err
}

// Apply carries changes out in their order and stops at the first that fails;
// it returns how many were done. Neighbouring changes of our chains in one
// table are one transaction.
func (b *Backend) Apply(ctx context.Context, changes []ruleset.Change) (int, error) {
	done := 0
	b.own.unsure = b.own.unsure || len(changes) > 0
	for done < len(changes) {
		c, n := changes[done], 1
		var err error
		switch c.Op {
		case ruleset.Insert:
			err = b.counters.write(ctx, func() error { return b.rules.Insert(c.Table, c.Chain, c.Pos, c.Rules[0]...) })
		case ruleset.Delete: // that it went by itself is fine
			err = b.counters.write(ctx, func() error { return b.rules.DeleteIfExists(c.Table, c.Chain, c.Rules[0]...) })
		default:
			n = sameTransaction(changes[done:])
			err = b.restore(ctx, changes[done:done+n])
		}
		if err != nil {
			return done, fmt.Errorf("%s: %w", c, err)
		}
		done += n
	}
	return done, nil
}

// sameTransaction counts the first changes that go into one table in one step.
func sameTransaction(changes []ruleset.Change) int {
	n := slices.IndexFunc(changes, func(c ruleset.Change) bool {
		return c.Op != changes[0].Op || c.Table != changes[0].Table
	})
	if n < 0 {
		return len(changes)
	}
	return n
}
