package main

import (
	"log/slog"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/compare"
)

// A difference stands, and is told of once, when it is there at two looks in a
// row; one that ends and comes again is told of again.
func TestDifferencesThatStand(t *testing.T) {
	a, b := compare.Difference{Kind: compare.AddressInUse, Of: "10.0.0.9"}, compare.Difference{Kind: compare.LinkUnknown, Of: "enic"}
	var found []string
	c := &comparer{log: slog.New(slog.DiscardHandler), found: func(kind string) { found = append(found, kind) }}
	for i, look := range []struct{ now, standing []compare.Difference }{
		{[]compare.Difference{a}, nil},
		{[]compare.Difference{b}, nil},
		{[]compare.Difference{a, b}, []compare.Difference{b}},
		{[]compare.Difference{a, b}, []compare.Difference{a, b}},
		{[]compare.Difference{b}, []compare.Difference{b}},
		{nil, nil},
		{[]compare.Difference{b}, nil},
		{[]compare.Difference{b}, []compare.Difference{b}},
	} {
		c.tell(look.now)
		if !slices.Equal(c.differences(), look.standing) {
			t.Errorf("look %d: %v stand, want %v", i, c.differences(), look.standing)
		}
	}
	if diff := cmp.Diff([]string{"link-unknown", "address-in-use", "link-unknown"}, found); diff != "" {
		t.Errorf("told of (-want +got):\n%s", diff)
	}
	if n := c.byKind(); n["link-unknown"] != 1 || n["address-in-use"] != 0 || len(n) != len(compare.Kinds()) {
		t.Errorf("by kind: %v", n)
	}
	if n := (*comparer)(nil).byKind(); n["link-unknown"] != 0 || len(n) != len(compare.Kinds()) {
		t.Errorf("before there is a comparer: %v", n)
	}
}
