package kubeapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// watchLimit is how long a watch lasts that says nothing of it; bookmarkEvery
// is how often it is told the version if it asks for that.
const (
	watchLimit    = 30 * time.Minute
	bookmarkEvery = 30 * time.Second
)

// watcher is a running watch.
type watcher struct {
	match     selection
	version   uint64 // up to which it has been told
	bookmarks bool
	w         http.ResponseWriter
}

// watch streams changes: after the version that is asked for, or after the
// present objects if it is "" or "0", or if they are asked for.
func (s *Server) watch(w http.ResponseWriter, r request) error {
	match, err := selectionOf(r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	from, err := count(query.Get("resourceVersion"))
	if err != nil {
		return err
	}
	seconds, err := count(query.Get("timeoutSeconds"))
	if err != nil {
		return err
	}
	limit := watchLimit
	if seconds > 0 {
		limit = time.Duration(seconds) * time.Second
	}
	x := &watcher{match: match, version: from, bookmarks: r.flag("allowWatchBookmarks"), w: w}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	if initial := query.Get("sendInitialEvents"); initial == "true" || initial == "" && from == 0 {
		if err := x.present(s.store, initial != ""); err != nil {
			return nil // the client has gone
		}
	} else if from == 0 {
		_, _, x.version = s.store.list(match, "", 0)
	}
	s.follow(r, x, limit)
	return nil
}

// present tells of what there is, and where that ends if it was asked for.
func (x *watcher) present(s *store, marked bool) error {
	found, _, version := s.list(x.match, "", 0)
	for _, o := range found {
		if err := x.tell("ADDED", o); err != nil {
			return err
		}
	}
	x.version = version
	if marked && x.bookmarks {
		return x.bookmark(map[string]any{"k8s.io/initial-events-end": "true"})
	}
	return nil
}

// follow tells of changes until the client goes, time is up or the history is
// lost.
func (s *Server) follow(r request, x *watcher, limit time.Duration) {
	end, tick := time.NewTimer(limit), time.NewTicker(bookmarkEvery)
	defer end.Stop()
	defer tick.Stop()
	for {
		events, now, changed, err := s.store.since(x.version)
		if err != nil {
			_ = x.tell("ERROR", err) // the watch ends either way
			return
		}
		for _, e := range events {
			if x.event(e) != nil {
				return
			}
		}
		x.version = now
		if http.NewResponseController(x.w).Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-tick.C:
			if x.bookmarks && x.bookmark(nil) != nil {
				return
			}
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// event tells of a change as it looks through the selection: what begins to
// match comes, what ceases to goes.
func (x *watcher) event(e event) error {
	was, is := x.match.has(e.before), x.match.has(e.after) && !e.deleted
	switch {
	case was && is:
		return x.tell("MODIFIED", e.after)
	case is:
		return x.tell("ADDED", e.after)
	case was:
		return x.tell("DELETED", e.after)
	}
	return nil
}

func (x *watcher) bookmark(annotations map[string]any) error {
	meta := map[string]any{"resourceVersion": strconv.FormatUint(x.version, 10)}
	if annotations != nil {
		meta["annotations"] = annotations
	}
	r := x.match.resource
	return x.tell("BOOKMARK", map[string]any{"kind": r.Kind, "apiVersion": r.groupVersion(), "metadata": meta})
}

func (x *watcher) tell(kind string, what any) error {
	return json.NewEncoder(x.w).Encode(struct {
		Type   string `json:"type"`
		Object any    `json:"object"`
	}{kind, what})
}
