package proxy

import (
	"context"
	"errors"
	"fmt"

	"github.com/causeway-cni/causeway/proxy/internal/iptables"
	"github.com/causeway-cni/causeway/proxy/internal/nft"
	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// nftables has all rules in one table of nf_tables.
type nftables struct {
	expected ServiceSettings // until services are observed
	natAlone bool            // until then it has no services, and those found go
	table    *nft.Table      // nil: to be opened
	services bool            // the table knows of services
	nat      NodeNAT
	// The generation of the ruleset, and the table's commits, at the last look.
	generation, commits uint32
}

func (t *nftables) open(context.Context) ([]string, error) { return nil, nil }

// reopen reads the table, which the caller has changed not at all since.
func (t *nftables) reopen(ctx context.Context, s ServiceSettings) error {
	t.drop()
	var families []ruleset.Settings
	if !t.natAlone {
		families = []ruleset.Settings{s.family(service.IPv4, false), s.family(service.IPv6, false)}
	}
	table, err := nft.Open(ctx, families)
	if err != nil {
		return err
	}
	table.SetNAT(t.nat)
	t.table, t.commits = table, table.Commits()
	return nil
}

func (t *nftables) drop() {
	if t.table != nil {
		t.table.Close()
	}
	t.table, t.services = nil, false
}

// touched counts: every transaction of anyone moves the generation by one.
func (t *nftables) touched() (bool, error) {
	var now, commits uint32
	var err error
	if t.table == nil {
		now, err = nft.Generation()
	} else {
		commits = t.table.Commits()
		now, err = t.table.Generation()
	}
	if err != nil {
		return false, err
	}
	touched := t.generation == 0 || now-t.generation != commits-t.commits
	t.generation, t.commits = now, commits
	return touched, nil
}

func (t *nftables) took() error { return nil }

func (t *nftables) accept() error {
	_, err := t.touched()
	return err
}

// nodeNAT writes the table's chains. Before services are known it leaves their
// part as the daemon before this one wrote it.
func (t *nftables) nodeNAT(ctx context.Context, nat NodeNAT) ([]string, error) {
	t.nat = nat
	if !t.services {
		if err := t.expectNone(); err != nil {
			return nil, err
		}
		if err := t.reopen(ctx, t.expected); err != nil {
			return nil, err
		}
	}
	t.table.SetNAT(nat)
	write := t.table.Sync
	if !t.services {
		write = t.table.SyncNAT
	}
	n, err := write(ctx)
	if err != nil {
		t.drop()
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	return []string{"nft: write external SNAT and the connection mark into table inet causeway"}, nil
}

// expectNone is for the first start on a node, which knows of no settings.
func (t *nftables) expectNone() error {
	if t.natAlone || t.expected.MasqueradeMark != 0 {
		return nil
	}
	ours, _, err := nft.Holds()
	t.natAlone = !ours
	return err
}

func (t *nftables) observe(ctx context.Context, s ServiceSettings, _ bool) ([]writer, error) {
	t.natAlone = false
	if err := t.reopen(ctx, s); err != nil {
		return nil, err
	}
	t.services, t.expected = true, s
	return []writer{dropping{t}}, nil
}

// dropping is the table, which must be opened anew after a failure.
type dropping struct{ *nftables }

// Set says which ports a service is to have.
func (d dropping) Set(k service.Key, ports []service.ServicePort) { d.table.Set(k, ports) }

// Sync writes what was set.
func (d dropping) Sync(ctx context.Context) (int, error) {
	n, err := d.table.Sync(ctx)
	if err != nil {
		d.drop()
	}
	return n, err
}

func (t *nftables) takeOverNAT(ctx context.Context) ([]string, error) {
	done, err := dropAWSNode()
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		if err != nil {
			return done, err
		}
		var removed []string
		removed, err = removeAWS(ctx, v)
		done = append(done, removed...)
	}
	return done, err
}

func (t *nftables) takeOverServices(ctx context.Context) ([]string, error) {
	done, err := dropKubeProxy()
	for _, v := range []iptables.Variant{iptables.NFT, iptables.Legacy} {
		if err != nil {
			return done, err
		}
		var removed []string
		removed, err = removeKube(ctx, v)
		done = append(done, removed...)
	}
	return done, err
}

// removeServices removes the table where it has services alone; beside
// external SNAT it is written anew without any.
func (t *nftables) removeServices(ctx context.Context) ([]string, error) {
	t.drop()
	done, err := dropKubeProxy()
	if err != nil {
		return done, err
	}
	if t.nat.Mark == 0 {
		dropped, err := dropOurs(ctx)
		return append(done, dropped...), err
	}
	if err := t.reopen(ctx, t.expected); err != nil {
		return done, err
	}
	if _, err := t.table.Sync(ctx); err != nil {
		return done, errors.Join(fmt.Errorf("removing services: %w", err))
	}
	return append(done, "nft: empty the services of table inet causeway"), nil
}
