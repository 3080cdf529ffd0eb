// Package nstest gives kernel tests network namespaces of their own, which go
// when the test ends, however it ends.
package nstest

import (
	"testing"

	"github.com/containernetworking/plugins/pkg/ns"
	"github.com/containernetworking/plugins/pkg/testutils"
)

// New makes a namespace. It fails the test where that is not possible.
func New(t testing.TB) ns.NetNS {
	t.Helper()
	space, err := testutils.NewNS()
	if err != nil {
		t.Fatalf("making a network namespace (kernel tests need root): %v", err)
	}
	t.Cleanup(func() {
		space.Close()
		if err := testutils.UnmountNS(space); err != nil {
			t.Error(err)
		}
	})
	return space
}
