package kubeapi

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"slices"

	"sigs.k8s.io/yaml"
)

// maxBody bounds a request's body in bytes; the real one takes 3 MB.
const maxBody = 3 << 20

// kinds of bodies, by media type.
var (
	bodies  = []string{"application/json", "application/yaml"}
	patches = []string{
		"application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
	}
)

// body reads the object, or the part of one, that a request carries.
func body(r request, allowed []string) (map[string]any, error) {
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if !slices.Contains(allowed, media) {
		return nil, failure(http.StatusUnsupportedMediaType, "UnsupportedMediaType",
			"the body of the request was in an unknown format - accepted media types include: %v", allowed)
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("reading the body: %w", err)
	}
	if len(data) > maxBody {
		return nil, failure(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "Request entity too large: limit is %d", maxBody)
	}
	var out map[string]any
	if data, err = yaml.YAMLToJSON(data); err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("the body is not an object in JSON or YAML: %w", err)
	}
	if kind := text(out, "kind"); kind != "" && kind != r.resource.Kind {
		return nil, fmt.Errorf("%s in version %q cannot be handled as a %s", kind, text(out, "apiVersion"), r.resource.Kind)
	}
	if ns := text(metadata(out), "namespace"); ns != "" && ns != r.namespace && r.resource.Namespaced {
		return nil, fmt.Errorf("the namespace of the provided object does not match the namespace sent on the request")
	}
	return out, nil
}

// protobuf is how typed clients send what they write.
const protobuf = "application/vnd.kubernetes.protobuf"

// create makes an object. Events in protobuf are taken and not kept: nobody
// reads them here, and clients complain if they are refused.
func (s *Server) create(r request) (any, error) {
	if r.resource.Kind == "Event" && r.Header.Get("Content-Type") == protobuf {
		return map[string]any{"kind": r.resource.Kind, "apiVersion": r.resource.groupVersion(), "metadata": map[string]any{}}, nil
	}
	content, err := body(r, bodies)
	if err != nil {
		return nil, err
	}
	meta := metadata(content)
	name := text(meta, "name")
	if prefix := text(meta, "generateName"); name == "" && prefix != "" {
		name = fmt.Sprintf("%s%05x", prefix, rand.N(1<<20))
	}
	switch {
	case name == "":
		return nil, invalid(r.resource, name, "metadata.name: Required value: name or generateName is required")
	case r.resource.Namespaced && r.namespace == "":
		return nil, failure(http.StatusBadRequest, "BadRequest", "an empty namespace may not be set during creation")
	}
	return s.store.change(r.resource, r.namespace, name, func(old map[string]any) (map[string]any, error) {
		if old != nil {
			return nil, alreadyExists(r.resource, name)
		}
		return content, nil
	})
}

func (s *Server) update(r request) (any, error) {
	content, err := body(r, bodies)
	if err != nil {
		return nil, err
	}
	if name := text(metadata(content), "name"); name != "" && name != r.name {
		return nil, fmt.Errorf("the name of the object (%s) does not match the name on the URL (%s)", name, r.name)
	}
	return s.store.change(r.resource, r.namespace, r.name, func(old map[string]any) (map[string]any, error) {
		if old == nil {
			return nil, notFound(r.resource, r.name)
		}
		if err := sameVersion(r, old, content); err != nil {
			return nil, err
		}
		if r.status {
			old["status"] = content["status"]
			return old, nil
		}
		return content, nil
	})
}

// sameVersion refuses a change of another version than the one that it names.
func sameVersion(r request, old, content map[string]any) error {
	if v := text(metadata(content), "resourceVersion"); v != "" && v != text(metadata(old), "resourceVersion") {
		return conflict(r.resource, r.name)
	}
	return nil
}

// patch merges. A server-side apply makes what is not there.
func (s *Server) patch(r request) (any, error) {
	content, err := body(r, patches)
	if err != nil {
		return nil, err
	}
	apply := r.Header.Get("Content-Type") == patches[2]
	return s.store.change(r.resource, r.namespace, r.name, func(old map[string]any) (map[string]any, error) {
		if old == nil && !apply {
			return nil, notFound(r.resource, r.name)
		}
		if err := sameVersion(r, old, content); old != nil && err != nil {
			return nil, err
		}
		if r.status {
			content = map[string]any{"status": content["status"]}
		}
		return merge(old, content), nil
	})
}

func (s *Server) delete(r request) (any, error) {
	gone, err := s.remove(r.resource, r.namespace, r.name)
	if err != nil {
		return nil, err
	}
	return gone, nil
}

func (s *Server) remove(of resource, namespace, name string) (*object, error) {
	return s.store.change(of, namespace, name, func(old map[string]any) (map[string]any, error) {
		if old == nil {
			return nil, notFound(of, name)
		}
		return nil, nil
	})
}

func (s *Server) deleteAll(r request) (any, error) {
	match, err := selectionOf(r)
	if err != nil {
		return nil, err
	}
	found, _, version := s.store.list(match, "", 0)
	for _, o := range found {
		if _, err := s.remove(o.resource, o.namespace, o.name); err != nil {
			return nil, err
		}
	}
	out := list{Kind: r.resource.Kind + "List", APIVersion: r.resource.groupVersion(), Items: found}
	out.Metadata.ResourceVersion = fmt.Sprint(version)
	return out, nil
}
