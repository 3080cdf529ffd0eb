package datapath

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a sandbox must have been without a link to be gone, second by second.
func TestSandboxIsGone(t *testing.T) {
	for _, c := range []struct {
		name     string
		assigned time.Duration // before the first look
		links    []bool        // at looks 5 s apart
		gone     bool
	}{
		{"there", time.Hour, []bool{true, true, true, true}, false},
		{"went a moment ago", time.Hour, []bool{true, true, false, false}, false},
		{"went", time.Hour, []bool{true, false, false, false}, true},
		{"went, long before its DEL could have come", 0, []bool{true, false, false, false}, true},
		{"came again", time.Hour, []bool{true, false, false, true, false, false}, false},
		{"being set up", 0, []bool{false, false, false, false, false}, false},
		{"being set up for long", 4 * time.Minute, []bool{false, false, false, false, false}, false},
		{"was never set up", 5 * time.Minute, []bool{false, false, false}, true},
		{"the first look", time.Hour, []bool{false}, false},
	} {
		first := time.Unix(1, 0)
		var s sandbox
		now := first
		for i, there := range c.links {
			now = first.Add(time.Duration(i) * 5 * time.Second)
			s = s.look(there, now)
		}
		if got := s.over(first.Add(-c.assigned), now); got != c.gone {
			t.Errorf("%s: gone %t, want %t", c.name, got, c.gone)
		}
	}
}

// A pod whose link vanished is released when no DEL came for a while, and its
// routes are gone by then; nobody else is.
func TestGonePodsAreReleased(t *testing.T) {
	inNode(t, func(t *testing.T, w *world) {
		told := 0
		w.path.settings.Gone = func() { told++ }
		twoENIs(t, w)
		for i := range w.book.held {
			w.book.held[i].Since = w.now // c is being set up
		}
		w.step()
		if err := w.kernel.DeleteLink("enib"); err != nil {
			t.Fatal(err)
		}
		var held [][]string
		for range 3 {
			w.step()
			var names []string
			for _, a := range w.book.held {
				names = append(names, a.Key.ContainerID)
			}
			held = append(held, names)
			w.now = w.now.Add(graceOfGone / 2)
		}
		all := []string{"a", "b", "c"}
		if diff := cmp.Diff([][]string{all, all, {"a", "c"}}, held); diff != "" || told != 1 {
			t.Errorf("%d were told of; held (-want +got):\n%s", told, diff)
		}
		if left := ip(t, "rule") + ip(t, "route"); strings.Contains(left, "10.0.0.30") {
			t.Errorf("what leads to the pod is left:\n%s", left)
		}
	})
}
