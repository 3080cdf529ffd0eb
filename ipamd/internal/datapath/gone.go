package datapath

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
	"github.com/causeway-cni/causeway/ipamd/linux"
)

const (
	// graceOfGone is how long a pod's link must not be there, at every look: it
	// goes with the pod's network namespace, and a DEL comes about then.
	graceOfGone = 10 * time.Second
	// graceOfNew is how long an assignment may have no link at all: longer than
	// kubelet lets a runtime take for a sandbox.
	graceOfNew = 5 * time.Minute
)

// sandbox is what was seen of the link of an assignment.
type sandbox struct {
	seen bool      // it was there since we look
	gone time.Time // since when it is not there; zero while it is
}

func (s sandbox) look(there bool, now time.Time) sandbox {
	switch {
	case there:
		return sandbox{seen: true}
	case s.gone.IsZero():
		s.gone = now
	}
	return s
}

// over says whether the sandbox of an assignment is gone, and not merely being
// set up.
func (s sandbox) over(assigned, now time.Time) bool {
	return !s.gone.IsZero() && now.Sub(s.gone) >= graceOfGone && (s.seen || now.Sub(assigned) >= graceOfNew)
}

// releaseGone takes back the addresses of pods whose network namespaces went
// while no DEL came. A sandbox whose pod has a newer one with a link of the same
// name is left to the runtime's DEL or GC.
func (d *Datapath) releaseGone(ctx context.Context, links []linux.Link) error {
	exists := make(map[string]bool, len(links))
	for _, l := range links {
		exists[l.Name] = true
	}
	now, looked := d.now(), map[pool.Key]sandbox{}
	var failed []error
	for _, a := range d.book.Assignments() {
		if a.Adopted || a.Link == "" {
			continue
		}
		s := d.sandboxes[a.Key].look(exists[a.Link], now)
		looked[a.Key] = s
		if !s.over(a.Since, now) {
			continue
		}
		if _, _, err := d.book.Release(ctx, a.Key, "", nil, "its network namespace is gone, and no DEL came"); err != nil {
			failed = append(failed, fmt.Errorf("releasing %s, whose pod is gone: %w", a.Address, err))
		} else if d.settings.Gone != nil {
			d.settings.Gone()
		}
	}
	d.sandboxes = looked
	return errors.Join(failed...)
}
