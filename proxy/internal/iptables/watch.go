package iptables

import (
	"encoding/binary"

	"github.com/causeway-cni/causeway/proxy/internal/ruleset"
)

// Watch tells what others change from what we write, without a process. It is
// not safe for concurrent use.
//
// While we write, others may too, and their change must not pass for ours: that
// a flush in the middle of a busy minute went unseen would leave the node
// without services. So Took counts. Every transaction moves nft's generation by
// one; a table of legacy has as many entries more as we put in.
type Watch struct {
	backends []*Backend
	last     []Fingerprint // nil before the first look
	others   bool          // changed something meanwhile
}

// NewWatch watches the rules of backends of one variant.
func NewWatch(backends ...*Backend) *Watch { return &Watch{backends: backends} }

// Touched says whether others changed a rule since the last call, and is true
// the first time.
func (w *Watch) Touched() (bool, error) {
	now, err := w.look()
	if err != nil {
		return false, err
	}
	touched := w.others || w.last == nil
	for i := range w.last {
		touched = touched || now[i] != w.last[i]
	}
	w.others = false
	w.note(now)
	return touched, nil
}

// Took notes that the last changes were those that our backends wrote. If there
// were others, the next Touched says so.
func (w *Watch) Took() error {
	now, err := w.look()
	if err != nil {
		return err
	}
	w.others = w.others || w.last == nil || !w.alone(now)
	w.note(now)
	return nil
}

// Accept notes that all changes were ours, also those that no backend wrote.
func (w *Watch) Accept() error {
	now, err := w.look()
	if err == nil {
		w.note(now)
	}
	return err
}

func (w *Watch) look() ([]Fingerprint, error) {
	now := make([]Fingerprint, len(w.backends))
	for i, b := range w.backends {
		var err error
		if now[i], err = b.Fingerprint(); err != nil {
			return nil, err
		}
	}
	return now, nil
}

func (w *Watch) note(now []Fingerprint) {
	w.last = now
	for _, b := range w.backends {
		b.own = own{}
	}
}

// alone says whether what we wrote explains all that changed. What cannot be
// known does.
func (w *Watch) alone(now []Fingerprint) bool {
	transactions := uint32(0)
	for _, b := range w.backends {
		if b.own.unsure {
			return true
		}
		transactions += b.own.transactions
	}
	for i, b := range w.backends {
		if b.variant == NFT && now[i].generation != w.last[i].generation+transactions {
			return false
		}
		if b.variant == Legacy && !b.aloneLegacy(w.last[i], now[i]) {
			return false
		}
	}
	return true
}

func (b *Backend) aloneLegacy(last, now Fingerprint) bool {
	for i, table := range b.tables {
		was, is := last.tables[i], now.tables[i]
		more, wrote := b.own.entries[table]
		switch {
		case was == (tablePrint{}): // not one of our tables then
		case !wrote && is != was, is.entries() != was.entries()+more:
			return false
		}
	}
	return true
}

// entries is the kernel's word before the last of struct ipt_getinfo.
func (p tablePrint) entries() int {
	return int(binary.NativeEndian.Uint32(p.info[infoSize-8:]))
}

// own is what a backend wrote since the last look.
type own struct {
	transactions uint32
	entries      map[string]int // more in each table that was written
	unsure       bool
}

// add counts what was written.
func (o *own) add(b ruleset.Batch) {
	o.transactions += uint32(b.Transactions())
	entries, sure := b.Entries()
	o.unsure = o.unsure || !sure
	if o.entries == nil {
		o.entries = map[string]int{}
	}
	for table, n := range entries {
		o.entries[table] += n
	}
}
