package proxy

import (
	"context"
	"fmt"
	"sync"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/nft"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// NodeNAT is all that decides external SNAT and the connection mark.
type NodeNAT = ruleset.NodeNAT

// Randomize is how SNAT picks source ports; ParseRandomize makes it.
type Randomize = ruleset.Randomize

// ParseRandomize reads prng, hashrandom or none.
func ParseRandomize(s string) (Randomize, error) { return ruleset.ParseRandomize(s) }

// Mode is the kernel interface that holds our rules.
type Mode string

// The modes. Off has no services: kube-proxy serves them. External SNAT is in
// iptables then, unless kube-proxy serves elsewhere.
const (
	IPTables Mode = "iptables"
	NFTables Mode = "nftables"
	Off      Mode = "off"
)

// Variant says which iptables to use.
type Variant string

// The variants. Auto is the one that the node uses already.
const (
	Auto   Variant = ""
	NFT            = Variant(iptables.NFT)
	Legacy         = Variant(iptables.Legacy)
)

// Proxy writes the rules of the network namespace that it is called in. Its
// methods may be called from several goroutines; they wait for each other.
type Proxy struct {
	mode Mode

	mu       sync.Mutex
	backend  backend
	nat      written
	services written
	writers  []writer // nil: the kernel must be read
	settings ServiceSettings
	tally    tally
	flows    flows
}

// written is what is known of a part of the rules.
type written struct {
	valid bool // they are as the last success left them
	taken bool // what other agents left elsewhere is gone
}

// backend is a kernel interface with our rules in it.
type backend interface {
	// open finds what is needed, at the first call, and says what it found.
	open(context.Context) ([]string, error)
	// touched says whether others changed anything since the last call or
	// the last write of ours. It is quick and starts no process.
	touched() (bool, error)
	// nodeNAT makes external SNAT and the connection mark what is wanted, and
	// says what it did.
	nodeNAT(context.Context, NodeNAT) ([]string, error)
	// observe reads what the kernel holds of services.
	observe(ctx context.Context, s ServiceSettings, terse bool) ([]writer, error)
	// took notes that a change was written; accept, that all changes were
	// ours, also those elsewhere.
	took() error
	accept() error
	// takeOverNAT and takeOverServices remove what other agents, or we in
	// another mode, left in other places than this.
	takeOverNAT(context.Context) ([]string, error)
	takeOverServices(context.Context) ([]string, error)
	// removeServices removes all that services have.
	removeServices(context.Context) ([]string, error)
}

// writer writes services, of one family or of both.
type writer interface {
	// Set says which ports a service is to have; nil deletes it.
	Set(service.Key, []service.ServicePort)
	// Sync writes what was set, and returns how many changes that was.
	Sync(context.Context) (int, error)
}

// New returns a Proxy. It touches nothing. The variant counts where iptables
// is written.
func New(m Mode, v Variant) *Proxy {
	p := &Proxy{mode: m}
	if m == NFTables {
		p.backend = &nftables{}
	} else {
		p.backend = newIPTables(m, v)
	}
	return p
}

// Expect says which settings services will have, from the run before: by them
// external SNAT may be written before services are known, and what is there of
// these stays as it is.
func (p *Proxy) Expect(s ServiceSettings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch b := p.backend.(type) {
	case *nftables:
		b.expected = s
	case *ipTables:
		b.table.expected = s
	}
}

// Sync makes external SNAT and the connection mark what the settings ask for,
// and returns what it did, in order, also when it fails halfway. Calling it
// again repairs.
func (p *Proxy) Sync(ctx context.Context, nat NodeNAT) ([]string, error) {
	if err := nat.Validate(); err != nil {
		return nil, fmt.Errorf("external SNAT: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.syncNAT(ctx, nat)
}

func (p *Proxy) syncNAT(ctx context.Context, nat NodeNAT) ([]string, error) {
	done, err := p.begin(ctx)
	if err != nil {
		return done, err
	}
	p.nat.valid = false
	changes, err := p.backend.nodeNAT(ctx, nat)
	done = append(done, changes...)
	if err != nil {
		return done, err
	}
	if !p.nat.taken {
		changes, err := p.backend.takeOverNAT(ctx)
		done = append(done, changes...)
		if err != nil {
			return done, fmt.Errorf("taking over from aws-node: %w", err)
		}
		p.nat.taken = true
		if len(changes) > 0 { // they may have been in front of ours
			if err := p.backend.accept(); err != nil {
				return done, err
			}
			p.services.valid = false // others may have changed it meanwhile
			changes, err = p.backend.nodeNAT(ctx, nat)
			done = append(done, changes...)
			if err != nil {
				return done, err
			}
		}
	}
	p.nat.valid = true
	return done, nil
}

// AwaitsNAT says whether services share a table with external SNAT of a run
// before, which SyncServices would remove, for the first Sync is yet to come.
func (p *Proxy) AwaitsNAT() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.backend.(*nftables)
	if !ok || t.nat.Mark != 0 {
		return false, nil
	}
	_, nat, err := nft.Holds()
	return nat, err
}

// CleanupServices removes all chains of services, kube-proxy's included, but
// not those that kubelet has.
func (p *Proxy) CleanupServices(ctx context.Context) ([]string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done, err := p.begin(ctx)
	if err != nil {
		return done, err
	}
	p.writers, p.services.valid = nil, false
	changes, err := p.backend.removeServices(ctx)
	return append(done, changes...), err
}

// Counts are what happened while iptables was written: how often another
// program was in the way, and how often a write failed in the end.
type Counts struct{ Contended, Failed uint64 }

// Counts may be called at any time.
func (p *Proxy) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t, ok := p.backend.(*ipTables); ok {
		return t.counts()
	}
	return Counts{}
}

// Tally is what the services came to at the last SyncServices.
func (p *Proxy) Tally() Tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tally.total
}

// Untouched says whether external SNAT, and the services, are as the last
// success left them, with nothing to take over. It starts no process: where
// nf_tables is written it asks for one number, which any change to any table
// moves; legacy tables are copied and compared.
func (p *Proxy) Untouched() (nat, services bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.look(); err != nil {
		return false, false, err
	}
	return p.nat.valid, p.services.valid && p.services.taken, nil
}

// begin opens the backend, and notices what others did.
func (p *Proxy) begin(ctx context.Context) ([]string, error) {
	done, err := p.backend.open(ctx)
	if err != nil {
		return done, err
	}
	return done, p.look()
}

func (p *Proxy) look() error {
	touched, err := p.backend.touched()
	if err != nil {
		return fmt.Errorf("checking rules: %w", err)
	}
	if touched {
		p.nat.valid, p.services.valid = false, false
	}
	return nil
}
