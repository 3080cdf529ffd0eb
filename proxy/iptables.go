package proxy

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/nft"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// ipTables has all rules in iptables, of one variant, but for external SNAT and
// the connection mark while services are served elsewhere: see elsewhere.
type ipTables struct {
	mode     Mode
	variant  Variant
	backends []*iptables.Backend // IPv4, and IPv6 where the node has it
	watch    *iptables.Watch
	nat      NodeNAT  // as last asked for
	table    nftables // has it meanwhile
	serves   bool     // services are here, and nowhere else
}

func newIPTables(m Mode, v Variant) *ipTables { return &ipTables{mode: m, variant: v} }

// open finds the node's variant.
func (t *ipTables) open(ctx context.Context) ([]string, error) {
	if t.watch != nil {
		return nil, nil
	}
	v, why := iptables.Variant(t.variant), "as told"
	if t.variant == Auto {
		var err error
		if v, why, err = iptables.Detect(ctx); err != nil {
			return nil, err
		}
	}
	backends, err := openFamilies(ctx, v)
	if err != nil {
		return nil, err
	}
	if t.mode == Off {
		backends = backends[:1]
	}
	t.backends, t.watch = backends, iptables.NewWatch(backends...)
	return []string{fmt.Sprintf("use iptables-%s (%s) for %d families", v, why, len(backends))}, nil
}

// openFamilies opens IPv4, and IPv6 if both the program and the kernel have it.
func openFamilies(ctx context.Context, v iptables.Variant) ([]*iptables.Backend, error) {
	four, err := iptables.Open(v, service.IPv4)
	if err != nil {
		return nil, err
	}
	six, err := iptables.Open(v, service.IPv6)
	if err == nil {
		_, err = six.Observe(ctx)
	}
	if err != nil {
		return []*iptables.Backend{four}, nil
	}
	return []*iptables.Backend{four, six}, nil
}

func (t *ipTables) touched() (bool, error) {
	if t.watch == nil {
		return true, nil
	}
	touched, err := t.watch.Touched()
	if err != nil || t.serves || t.backends[0].Variant() == iptables.NFT {
		return touched, err
	}
	others, err := t.table.touched() // legacy tables do not tell
	return touched || others, err
}

func (t *ipTables) took() error { return t.watch.Took() }

func (t *ipTables) accept() error {
	if err := t.table.accept(); err != nil {
		return err
	}
	return t.watch.Accept()
}

// rounds is how often settle plans and applies before it says that somebody
// works against it.
const rounds = 3

func (t *ipTables) nodeNAT(ctx context.Context, nat NodeNAT) ([]string, error) {
	t.nat = nat
	elsewhere, err := t.elsewhere(ctx)
	if err != nil {
		return nil, err
	}
	var done []string
	var want ruleset.Ruleset
	if elsewhere {
		if done, err = t.table.nodeNAT(ctx, nat); err != nil {
			return done, err
		}
	} else {
		want = nat.Ruleset()
	}
	changes, err := settle(ctx, t.backends[0], want)
	done = append(done, changes...)
	if err == nil && !elsewhere {
		t.table.drop()
		changes, err = dropOurs(ctx)
		done = append(done, changes...)
	}
	if err != nil {
		return done, err
	}
	return done, t.took()
}

// elsewhere says whether services are served by other rules than those of this
// variant of iptables. The connection mark must then not be in iptables: a
// pod's connection to a service looks like one that leaves the VPC until it is
// translated, and which of two base chains of one priority comes first is a
// matter of their age. With the mark a pod on a secondary ENI would reach
// endpoints by the primary one, which EC2 drops. Our table of nf_tables comes
// after all that translate; it keeps what it has of services, from nftables
// mode, until they are served by another or here.
func (t *ipTables) elsewhere(ctx context.Context) (bool, error) {
	if t.serves {
		return false, nil
	}
	ours, _, err := nft.Holds()
	if err != nil {
		return false, err
	}
	theirs, err := nft.HasTable(service.IPv4, kubeProxyTable)
	if err == nil && !theirs {
		var other ruleset.Saved
		other, err = observe(ctx, t.backends[0].Variant().Other())
		theirs = other.HasServices()
	}
	if err != nil {
		return false, err
	}
	t.table.natAlone = !ours || theirs && t.mode == Off
	if theirs || !ours || t.mode != Off {
		return theirs || ours, nil
	}
	here, err := t.backends[0].Observe(ctx)
	return !here.Serves(), err
}

// settle plans and applies until a look at the kernel finds nothing left to do.
func settle(ctx context.Context, b *iptables.Backend, want ruleset.Ruleset) (done []string, err error) {
	for round := 0; ; round++ {
		have, err := b.Observe(ctx)
		if err != nil {
			return done, fmt.Errorf("reading rules: %w", err)
		}
		plan := ruleset.Diff(have, want)
		if len(plan) == 0 {
			return done, nil
		}
		if round == rounds {
			return done, fmt.Errorf("rules do not stay as written after %d rounds, the first being %q: does aws-node still run?", rounds, plan[0])
		}
		applied, err := b.Apply(ctx, plan)
		for _, c := range plan[:applied] {
			done = append(done, c.String())
		}
		if err != nil {
			return done, fmt.Errorf("writing rules: %w", err)
		}
	}
}

func (t *ipTables) observe(ctx context.Context, s ServiceSettings, terse bool) ([]writer, error) {
	var writers []writer
	for _, b := range t.backends {
		w, err := b.Services(ctx, s.family(b.Family(), terse))
		if err != nil {
			return nil, err
		}
		writers = append(writers, w)
	}
	return writers, nil
}

func (t *ipTables) takeOverNAT(ctx context.Context) ([]string, error) {
	done, err := dropAWSNode()
	if err != nil {
		return done, err
	}
	removed, err := removeAWS(ctx, t.backends[0].Variant().Other())
	return append(done, removed...), err
}

func (t *ipTables) takeOverServices(ctx context.Context) ([]string, error) {
	done, err := dropKubeProxy()
	if err != nil {
		return done, err
	}
	for _, b := range t.backends {
		did, err := b.RemoveKubeProxy(ctx)
		if what := counted(did, "jumps", "canaries"); what != "" {
			done = append(done, fmt.Sprintf("%s iptables-%s: kube-proxy's chains are ours now, without its %s", b.Family(), b.Variant(), what))
		}
		if err != nil {
			return done, err
		}
	}
	removed, err := removeKube(ctx, t.backends[0].Variant().Other())
	done = append(done, removed...)
	if err != nil {
		return done, err
	}
	t.serves = true
	if t.nat.Mark != 0 {
		changes, err := t.nodeNAT(ctx, t.nat)
		return append(done, changes...), err
	}
	if _, nat, err := nft.Holds(); nat || err != nil {
		return done, err // until it is known what external SNAT is to be
	}
	dropped, err := dropOurs(ctx)
	return append(done, dropped...), err
}

func (t *ipTables) removeServices(ctx context.Context) ([]string, error) {
	var done []string
	for _, b := range t.backends {
		did, err := b.RemoveServices(ctx)
		if did.Chains > 0 {
			done = append(done, fmt.Sprintf("%s iptables-%s: %d chains of services%s", b.Family(), b.Variant(), did.Chains,
				map[bool]string{true: ", kube-proxy's"}[did.KubeProxy]))
		}
		if err != nil {
			return done, err
		}
	}
	return done, t.took()
}

func (t *ipTables) counts() (sum Counts) {
	for _, b := range t.backends {
		c := b.Counts()
		sum.Contended, sum.Failed = sum.Contended+c.Contended, sum.Failed+c.Failed
	}
	return sum
}

// notInstalled is a variant that the node does not have.
func notInstalled(err error) bool { return errors.Is(err, exec.ErrNotFound) }
