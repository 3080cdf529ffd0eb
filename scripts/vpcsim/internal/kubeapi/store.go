package kubeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// remembered is how many changes a watch can be behind before it has to list
// anew.
const remembered = 20000

// object is one state of an object; it never changes.
type object struct {
	resource        resource
	namespace, name string
	labels, fields  map[string]string
	version         uint64
	json            json.RawMessage
}

// MarshalJSON is the object as clients see it.
func (o *object) MarshalJSON() ([]byte, error) { return o.json, nil }

// id orders objects in lists.
func (o *object) id() string { return o.namespace + "/" + o.name }

// event is a change. before is nil for one that came, after has the last state
// of one that went.
type event struct {
	before, after *object
	deleted       bool
}

// store holds the objects and the changes that led to them. It is safe for
// concurrent use.
type store struct {
	mu      sync.Mutex
	version uint64
	objects map[resource]map[string]*object // by id
	history []event                         // the youngest last; versions grow by one
	limit   int                             // of the history
	changed chan struct{}                   // closed by the next change
	claims  *claims
}

func newStore() *store {
	s := &store{objects: map[resource]map[string]*object{}, limit: remembered, changed: make(chan struct{}), claims: newClaims()}
	for _, r := range resources {
		s.objects[r] = map[string]*object{}
	}
	return s
}

// put sets an object without asking, and returns it.
func (s *store) put(r resource, namespace, name string, content map[string]any) *object {
	o, err := s.change(r, namespace, name, func(map[string]any) (map[string]any, error) { return content, nil })
	if err != nil {
		panic(fmt.Sprintf("putting %s %s: %v", r, name, err)) // content is not from outside
	}
	return o
}

func (s *store) get(r resource, namespace, name string) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[r][namespace+"/"+name]
	if o == nil {
		return nil, notFound(r, name)
	}
	return o, nil
}

// change lets do make the next state of an object from the present one, which
// is nil if there is none; nil ends the object. What do changes nothing about
// is not a change.
func (s *store) change(r resource, namespace, name string, do func(map[string]any) (map[string]any, error)) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := namespace + "/" + name
	before := s.objects[r][id]
	var old map[string]any
	if before != nil {
		if err := json.Unmarshal(before.json, &old); err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", r, id, err)
		}
	}
	content, err := do(old)
	if err != nil {
		return nil, err
	}
	after := &object{resource: r, namespace: namespace, name: name}
	if content == nil {
		return s.end(before)
	}
	if err := complete(content, old, after); err != nil {
		return nil, err
	}
	if err := s.claims.complete(after, content, old); err != nil {
		return nil, err
	}
	after.fields = fieldsOf(after, content)
	if after.json, err = json.Marshal(content); err != nil {
		return nil, fmt.Errorf("writing %s %s: %w", r, id, err)
	}
	if before != nil && bytes.Equal(before.json, after.json) {
		return before, nil
	}
	if err := s.stamp(after); err != nil {
		return nil, err
	}
	if r.Kind == "Service" {
		s.claims.move(after, content)
	}
	s.objects[r][id] = after
	s.commit(event{before: before, after: after})
	return after, nil
}

// end removes an object.
func (s *store) end(before *object) (*object, error) {
	after := *before
	if err := s.stamp(&after); err != nil {
		return nil, err
	}
	if before.resource.Kind == "Service" {
		s.claims.release(before)
	}
	delete(s.objects[before.resource], before.id())
	s.commit(event{before: before, after: &after, deleted: true})
	return &after, nil
}

// stamp gives a state the next version.
func (s *store) stamp(o *object) error {
	o.version = s.version + 1
	var content map[string]any
	if err := json.Unmarshal(o.json, &content); err != nil {
		return fmt.Errorf("reading %s %s: %w", o.resource, o.id(), err)
	}
	metadata(content)["resourceVersion"] = strconv.FormatUint(o.version, 10)
	text, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("writing %s %s: %w", o.resource, o.id(), err)
	}
	o.json = text
	return nil
}

func (s *store) commit(e event) {
	s.version = e.after.version
	s.history = append(s.history, e)
	if len(s.history) >= 2*s.limit {
		s.history = slices.Clone(s.history[len(s.history)-s.limit:])
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// list returns the objects that match, in the order of their ids from the one
// behind after, at most limit of them (0 for all), and the version.
func (s *store) list(match selection, after string, limit int) (found []*object, more bool, version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, o := range s.objects[match.resource] {
		if id > after && match.has(o) {
			found = append(found, o)
		}
	}
	slices.SortFunc(found, func(a, b *object) int { return strings.Compare(a.id(), b.id()) })
	if more = limit > 0 && len(found) > limit; more {
		found = found[:limit]
	}
	return found, more, s.version
}

// since returns the changes after a version, the version that they lead to,
// and what is closed when there are further ones.
func (s *store) since(version uint64) (events []event, now uint64, changed <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.version - uint64(len(s.history)) // before the oldest change that is remembered
	if version < first {
		return nil, 0, nil, expired(version, first)
	}
	if version < s.version {
		events = s.history[version-first:]
	}
	return events, s.version, s.changed, nil
}

// complete sets what the API sets of an object's head.
func complete(content, old map[string]any, after *object) error {
	content["apiVersion"], content["kind"] = after.resource.groupVersion(), after.resource.Kind
	meta := metadata(content)
	meta["name"] = after.name
	if after.namespace != "" {
		meta["namespace"] = after.namespace
	}
	if old == nil {
		meta["uid"] = uid()
		meta["creationTimestamp"] = time.Now().UTC().Format(time.RFC3339)
		delete(meta, "resourceVersion")
	} else {
		for _, k := range []string{"uid", "creationTimestamp", "resourceVersion"} {
			meta[k] = metadata(old)[k]
		}
	}
	labels, err := stringMap(meta["labels"])
	if err != nil {
		return invalid(after.resource, after.name, "metadata.labels: %v", err)
	}
	after.labels = labels
	return nil
}
