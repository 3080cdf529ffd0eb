package nft

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
	"github.com/causeway-cni/causeway/proxy/service"
)

// tableName is our table, of family inet.
const tableName = "causeway"

// layoutSet holds one element, whose comment says what the table was written
// from: a sum of the sets, one of the chains, and one of the rules as the
// kernel shows them. Who changes a rule by hand cannot keep the last.
const layoutSet = "layout"

// chunk is about how much is written in one transaction, in bytes. All of one
// service is in one.
const chunk = 16 << 20

// Table is our table in the network namespace that it was opened in. It is not
// safe for use by several goroutines at a time.
type Table struct {
	socket   *socket
	families []*family
	nat      ruleset.NodeNAT
	pending  map[service.Key][]service.ServicePort
	stays    map[time.Duration]bool // timeouts of affinity that were ever set
	settled  bool                   // the chains fit nat and stays
	exists   bool                   // the kernel has the table
	whole    bool                   // it has all its sets, of this layout
	chunk    int                    // about how many bytes a transaction takes
	fresh    bool                   // nothing was written since it was read
	failed   bool                   // what the kernel has is not known
	chains   string                 // the sum of the chains as written; "" if others changed them
	present  []string               // names of chains that have rules
	layout   string                 // what layoutSet says; "" for nothing
}

// SetNAT says what external SNAT and the connection mark are to be. The zero
// value wants none.
func (t *Table) SetNAT(n ruleset.NodeNAT) { t.nat, t.settled = n, false }

// Set says which ports a service is to have; nil deletes it.
func (t *Table) Set(k service.Key, ports []service.ServicePort) {
	t.pending[k] = ports
	for _, p := range ports {
		if stay := time.Duration(seconds(p.Affinity)) * time.Second; p.Affinity > 0 && !t.stays[stay] {
			t.stays[stay], t.settled = true, false
		}
	}
}

// Close releases the table; the kernel keeps it.
func (t *Table) Close() error { return t.socket.close() }

// Sync writes what was set, and returns how many elements, and chains as a
// whole, that changed. The first Sync also removes what it found and nobody
// set. After an error the table must be opened anew.
func (t *Table) Sync(ctx context.Context) (int, error) {
	if t.failed {
		return 0, errors.New("the table must be opened anew after an error")
	}
	changes, err := t.sync(ctx)
	t.failed = err != nil
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOENT) {
		err = fmt.Errorf("%w (nftables mode needs nf_tables with nft_chain_nat, nft_ct, nft_fib_inet, nft_masq, nft_nat, nft_numgen, nft_reject_inet)", err)
	}
	if err != nil {
		return changes, fmt.Errorf("writing nftables table %s: %w", tableName, err)
	}
	return changes, nil
}

func (t *Table) sync(ctx context.Context) (int, error) {
	if len(t.families) == 0 && t.nat.Mark == 0 {
		return t.drop()
	}
	changes := 0
	plans := t.plan()
	b := newBatch()
	rewritten, err := t.frame(b)
	if err != nil {
		return 0, err
	}
	keys := slices.Collect(maps.Keys(t.pending))
	for _, k := range keys {
		size := len(b.buf)
		for _, p := range plans {
			p.set(k, t.pending[k])
			size += p.size()
		}
		delete(t.pending, k)
		if size < t.chunk {
			continue
		}
		if err := ctx.Err(); err != nil {
			return changes, err
		}
		n, err := t.commit(b, plans)
		if changes += n; err != nil {
			return changes, err
		}
		b, plans = newBatch(), t.plan()
	}
	if t.fresh {
		for _, p := range plans {
			p.found()
		}
	}
	n, err := t.commit(b, plans)
	if changes += n; err != nil {
		return changes, err
	}
	t.fresh = false
	if rewritten {
		return changes + 1, t.remember()
	}
	return changes, nil
}

func (t *Table) plan() []*plan {
	plans := make([]*plan, len(t.families))
	for i, f := range t.families {
		plans[i] = newPlan(f)
	}
	return plans
}

// commit sends a transaction with the plans' changes.
func (t *Table) commit(b *batch, plans []*plan) (int, error) {
	changes := 0
	for _, p := range plans {
		p.write(b)
		changes += p.changes
	}
	if b.empty() {
		return 0, nil
	}
	return changes, t.socket.commit(b)
}

// drop deletes the table where nothing is wanted of it.
func (t *Table) drop() (int, error) {
	if !t.exists {
		return 0, nil
	}
	b := newBatch()
	b.deleteTable()
	t.exists, t.whole, t.chains, t.layout = false, false, "", ""
	return 1, t.socket.commit(b)
}

func (b *batch) deleteTable() {
	at := b.message(unix.NFT_MSG_DELTABLE, 0, "deleting the table")
	b.text(unix.NFTA_TABLE_NAME, tableName)
	b.end(at)
}

// frame writes table, sets and chains, as far as these are not there. A table
// of another layout is replaced.
func (t *Table) frame(b *batch) (bool, error) {
	if t.whole && t.settled {
		return false, nil
	}
	t.settled = true
	want := t.wantedChains()
	sum, err := chainsSum(want)
	if err != nil {
		return false, err
	}
	if t.whole && t.chains == sum {
		return false, nil
	}
	ids := uint32(0)
	if !t.whole {
		if t.exists {
			b.deleteTable()
		}
		at := b.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, "adding the table")
		b.text(unix.NFTA_TABLE_NAME, tableName)
		b.end(at)
		for _, s := range t.wantedSets() {
			ids++
			b.addSet(tableName, s, ids)
		}
		t.present, t.layout = nil, ""
	} else {
		at := b.message(unix.NFT_MSG_DELRULE, 0, "emptying chains")
		b.text(unix.NFTA_RULE_TABLE, tableName)
		b.end(at)
	}
	for _, name := range t.present {
		if !slices.ContainsFunc(want, func(c chain) bool { return c.name == name }) {
			at := b.message(unix.NFT_MSG_DELCHAIN, 0, "deleting chain "+name)
			b.text(unix.NFTA_CHAIN_TABLE, tableName)
			b.text(unix.NFTA_CHAIN_NAME, name)
			b.end(at)
		}
	}
	t.present = nil
	for _, c := range want {
		b.addChain(tableName, c)
		t.present = append(t.present, c.name)
	}
	for _, c := range want {
		if err := b.fill(tableName, c, &ids); err != nil {
			return false, err
		}
	}
	t.exists, t.whole, t.chains = true, true, sum
	t.note(b, "unread")
	return true, nil
}

// wantedSets are all sets of the table.
func (t *Table) wantedSets() []set {
	all := []set{layoutOfSet()}
	for _, f := range t.families {
		of := sets(f.settings.Family)
		all = append(all, of[:]...)
	}
	return all
}

// wantedChains are all chains of the table.
func (t *Table) wantedChains() []chain {
	var settings []ruleset.Settings
	for _, f := range t.families {
		settings = append(settings, f.settings)
	}
	return chains(settings, slices.Sorted(maps.Keys(t.stays)), t.nat)
}

// remember notes what the rules look like.
func (t *Table) remember() error {
	rules, _, err := t.readRules()
	if err != nil {
		return fmt.Errorf("reading the rules back: %w", err)
	}
	b := newBatch()
	t.note(b, rules)
	return t.socket.commit(b)
}

// note writes what the table is written from.
func (t *Table) note(b *batch, rules string) {
	key := number32(1)
	if t.layout != "" {
		b.take(tableName, layoutSet, key, nil)
	}
	t.layout = fmt.Sprintf("%s %s %s", setsSum(t.wantedSets()), t.chains, rules)
	b.element(layoutSet, key, nil, content{"", t.layout})
}

func setsSum(all []set) string {
	var b batch
	for _, s := range all {
		b.addSet(tableName, s, 0)
	}
	return sumOf(b.buf)
}

func chainsSum(all []chain) (string, error) {
	var b batch
	ids := uint32(0)
	for _, c := range all {
		b.addChain(tableName, c)
		if err := b.fill(tableName, c, &ids); err != nil {
			return "", err
		}
	}
	return sumOf(b.buf), nil
}

func sumOf(data ...[]byte) string {
	sum := sha256.Sum256(bytes.Join(data, nil))
	return hex.EncodeToString(sum[:8])
}
