package proxy

import (
	"context"
	"fmt"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// NodeNAT is all that decides external SNAT and the connection mark.
type NodeNAT = ruleset.NodeNAT

// Randomize is how SNAT picks source ports; ParseRandomize makes it.
type Randomize = ruleset.Randomize

// ParseRandomize reads prng, hashrandom or none.
func ParseRandomize(s string) (Randomize, error) { return ruleset.ParseRandomize(s) }

// Variant says which iptables to use.
type Variant string

// The variants. Auto is the one that the node uses already.
const (
	Auto   Variant = ""
	NFT            = Variant(iptables.NFT)
	Legacy         = Variant(iptables.Legacy)
)

// rounds is how often Sync plans and applies before it says that somebody
// works against it.
const rounds = 3

// Proxy writes the rules of the network namespace that it is called in. It is
// not safe for concurrent use.
type Proxy struct {
	variant Variant
	backend *iptables.Backend    // nil before the first Sync
	taken   bool                 // what aws-node left elsewhere is gone
	seen    iptables.Fingerprint // of the rules after the last Sync
	synced  bool                 // the last Sync succeeded

	services *iptables.Services // nil before the first SyncServices
	settings ServiceSettings    // of services
}

// New returns a Proxy for a variant of iptables. It touches nothing.
func New(v Variant) *Proxy { return &Proxy{variant: v} }

// Sync makes the rules what the settings ask for, and returns what it did, in
// order, also when it fails halfway. Calling it again repairs.
func (p *Proxy) Sync(ctx context.Context, nat NodeNAT) ([]string, error) {
	if err := nat.Validate(); err != nil {
		return nil, fmt.Errorf("external SNAT: %w", err)
	}
	return p.converge(ctx, nat.Ruleset())
}

// Cleanup removes all that Sync made, and what aws-node left of its kind.
func (p *Proxy) Cleanup(ctx context.Context) ([]string, error) {
	return p.converge(ctx, nil)
}

// Check says whether the rules are untouched since the last successful Sync,
// without starting a process: on nft it asks for one number, which any change
// to any table moves; on legacy it copies two tables.
func (p *Proxy) Check() (bool, error) {
	if !p.synced {
		return false, nil
	}
	now, err := p.backend.Fingerprint()
	if err != nil {
		return false, fmt.Errorf("checking rules: %w", err)
	}
	return now == p.seen, nil
}

// converge brings ours in before it takes out what aws-node left elsewhere, so
// that there is no gap.
func (p *Proxy) converge(ctx context.Context, want ruleset.Ruleset) ([]string, error) {
	p.synced = false
	done, err := p.open(ctx)
	if err != nil {
		return done, err
	}
	changes, seen, err := settle(ctx, p.backend, want)
	done = append(done, changes...)
	if err != nil {
		return done, err
	}
	if !p.taken {
		changes, err = takeOver(ctx, p.backend.Variant().Other())
		done = append(done, changes...)
		if err != nil {
			return done, fmt.Errorf("taking over from aws-node: %w", err)
		}
		p.taken = true
	}
	if len(changes) > 0 {
		changes, seen, err = settle(ctx, p.backend, want)
		done = append(done, changes...)
		if err != nil {
			return done, err
		}
	}
	p.seen, p.synced = seen, true
	return done, nil
}

// open finds the node's variant, at the first call.
func (p *Proxy) open(ctx context.Context) ([]string, error) {
	if p.backend != nil {
		return nil, nil
	}
	v, why := iptables.Variant(p.variant), "as told"
	if p.variant == Auto {
		var err error
		if v, why, err = iptables.Detect(ctx); err != nil {
			return nil, err
		}
	}
	backend, err := iptables.Open(v)
	if err != nil {
		return nil, err
	}
	p.backend = backend
	return []string{fmt.Sprintf("use iptables-%s (%s)", v, why)}, nil
}

// settle plans and applies until a look at the kernel finds nothing left to do.
// The fingerprint is taken before that look: a change since then is noticed.
func settle(ctx context.Context, b *iptables.Backend, want ruleset.Ruleset) (done []string, seen iptables.Fingerprint, err error) {
	for round := 0; ; round++ {
		if seen, err = b.Fingerprint(); err != nil {
			return done, seen, fmt.Errorf("reading rules: %w", err)
		}
		have, err := b.Observe(ctx)
		if err != nil {
			return done, seen, fmt.Errorf("reading rules: %w", err)
		}
		plan := ruleset.Diff(have, want)
		if len(plan) == 0 {
			return done, seen, nil
		}
		if round == rounds {
			return done, seen, fmt.Errorf("rules do not stay as written after %d rounds, the first being %q: does aws-node still run?", rounds, plan[0])
		}
		applied, err := b.Apply(ctx, plan)
		for _, c := range plan[:applied] {
			done = append(done, c.String())
		}
		if err != nil {
			return done, seen, fmt.Errorf("writing rules: %w", err)
		}
	}
}
