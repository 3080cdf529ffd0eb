package nft

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"
)

// SyncNAT writes external SNAT and the connection mark, and leaves what the
// table has of services: the daemon that was started anew writes its NAT before
// it knows of any. It may be called instead of the first Sync only.
func (t *Table) SyncNAT(ctx context.Context) (int, error) {
	b := newBatch()
	rewritten, err := t.frame(b)
	if err == nil && rewritten {
		err = t.socket.commit(b)
	}
	if err == nil && rewritten {
		err = t.remember()
	}
	t.failed = err != nil
	if err != nil {
		return 0, fmt.Errorf("writing nftables table %s: %w", tableName, err)
	}
	if !rewritten {
		return 0, ctx.Err()
	}
	return 1, ctx.Err()
}

// Commits is how many transactions this table carried out since it was opened;
// each of them, and none else of ours, moves the generation by one.
func (t *Table) Commits() uint32 { return t.socket.commits }

// foundStay notes for how long clients of some service stay, by the key of an
// element of affinitySeconds.
func (t *Table) foundStay(key []byte) {
	if len(key) == 8 {
		t.stays[time.Duration(binary.NativeEndian.Uint32(key[4:]))*time.Second] = true
	}
}
