package kubeapi

import (
	"encoding/json"
	"fmt"
	"strings"
)

// short are the abbreviations that people know.
var short = map[string]string{"svc": "services", "no": "nodes", "ns": "namespaces", "po": "pods", "ev": "events", "slices": "endpointslices"}

// kindNamed finds a resource by what people call it: its kind, its plural, or
// an abbreviation.
func kindNamed(word string) (resource, error) {
	plural := strings.ToLower(word)
	if long := short[plural]; long != "" {
		plural = long
	}
	var known []string
	for _, r := range resources {
		if plural == r.Plural || plural == strings.ToLower(r.Kind) || plural == r.String() {
			return r, nil
		}
		known = append(known, r.String())
	}
	return resource{}, fmt.Errorf("kind %q is unknown: name one of %s", word, strings.Join(known, ", "))
}

// Apply makes an object what is given, or makes it; a namespace that is not
// given is "default". The status stays as it is if none is given, as do the
// address and the node ports of a service.
func (s *Server) Apply(content map[string]any) (json.RawMessage, error) {
	r, err := kindNamed(text(content, "kind"))
	if err != nil {
		return nil, fmt.Errorf("applying an object: %w", err)
	}
	meta := metadata(content)
	name, namespace := text(meta, "name"), ""
	if r.Namespaced {
		preset(meta, "namespace", "default")
		namespace = text(meta, "namespace")
	}
	if name == "" {
		return nil, fmt.Errorf("applying a %s: metadata.name is empty: give it a name", r.Kind)
	}
	o, err := s.store.change(r, namespace, name, func(old map[string]any) (map[string]any, error) {
		if old != nil && old["status"] != nil {
			preset(content, "status", old["status"])
		}
		return content, nil
	})
	if err != nil {
		return nil, fmt.Errorf("applying %s %s/%s: %w", r.Kind, namespace, name, err)
	}
	return o.json, nil
}

// Objects lists all objects of a kind.
func (s *Server) Objects(kind string) ([]json.RawMessage, error) {
	r, err := kindNamed(kind)
	if err != nil {
		return nil, err
	}
	found, _, _ := s.store.list(selection{resource: r}, "", 0)
	out := []json.RawMessage{}
	for _, o := range found {
		out = append(out, o.json)
	}
	return out, nil
}

// Delete removes an object.
func (s *Server) Delete(kind, namespace, name string) error {
	r, err := kindNamed(kind)
	if err != nil {
		return err
	}
	if !r.Namespaced {
		namespace = ""
	}
	_, err = s.remove(r, namespace, name)
	return err
}
