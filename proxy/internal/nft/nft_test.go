package nft

import (
	"strings"
	"testing"

	"github.com/causeway-cni/causeway/proxy/internal/nstest"
	"github.com/causeway-cni/causeway/proxy/service"
)

func TestGenerationMovesWithEveryTransaction(t *testing.T) {
	n := nstest.New(t)
	generation := func() (id uint32) {
		n.Do(func() {
			var err error
			if id, err = Generation(); err != nil {
				t.Error(err)
			}
		})
		return id
	}
	before := generation()
	n.Run("nft", "list", "ruleset")
	if after := generation(); after != before {
		t.Errorf("a look moved the generation from %d to %d", before, after)
	}
	n.Run("nft", "add", "table", "ip", "other")
	if after := generation(); after == before {
		t.Errorf("a new table left the generation at %d", before)
	}
}

func TestDeleteTable(t *testing.T) {
	n := nstest.New(t)
	n.Run("nft", "add", "table", "ip", "mine")
	n.Run("nft", "add", "chain", "ip", "mine", "c")
	n.Run("nft", "add", "table", "ip", "other")
	n.Run("nft", "add", "table", "ip6", "mine")
	for _, want := range []bool{true, false} {
		n.Do(func() {
			if deleted, err := DeleteTable(service.IPv4, "mine"); err != nil || deleted != want {
				t.Errorf("DeleteTable = %v, %v; want %v", deleted, err, want)
			}
		})
	}
	if got := strings.TrimSpace(n.Run("nft", "list", "tables")); got != "table ip other\ntable ip6 mine" {
		t.Errorf("tables left: %q", got)
	}
}
