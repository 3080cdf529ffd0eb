// Package kubeapi is a small Kubernetes API server: enough of list, watch,
// create, update, patch and delete for client-go's reflectors and for people
// with kubectl, over JSON. It keeps objects in memory as the JSON that it was
// given, with the defaults and allocations of Services that clients count on.
//
// It does what a real one does where clients rely on it: one resource version
// for everything, watches that resume from any remembered version and end with
// 410 Gone otherwise, bookmarks, streamed lists, label selectors, optimistic
// concurrency. It runs no controller and checks next to nothing: whoever writes
// an EndpointSlice is its controller.
//
// Simplifications: no authentication, admission, finalizers, ownership or
// field management; a server-side apply and a strategic merge are JSON merges;
// status can be written together with the rest; the pages of a list are of the
// state when they are asked for.
package kubeapi

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
)

// Server is a Kubernetes API, an http.Handler.
type Server struct {
	log   *slog.Logger
	store *store
}

// New returns an API with nothing in it but what every cluster has: namespaces,
// and the range that addresses of services come from.
func New(log *slog.Logger) *Server {
	s := &Server{log: log, store: newStore()}
	for _, name := range []string{"default", "kube-system"} {
		s.store.put(resourceNamed("", "namespaces"), "", name, map[string]any{})
	}
	s.store.put(resourceNamed("networking.k8s.io", "servicecidrs"), "", "kubernetes",
		map[string]any{"spec": map[string]any{"cidrs": []any{services4.String()}}})
	return s
}

// request is what a request is about.
type request struct {
	*http.Request
	resource        resource
	namespace, name string
	status          bool // the subresource
}

// verb is the request's in the words of the API's audit log.
func (r request) verb() string {
	switch {
	case r.Method == http.MethodGet && r.flag("watch"):
		return "watch"
	case r.Method == http.MethodGet && r.name == "":
		return "list"
	case r.Method == http.MethodDelete && r.name == "":
		return "deletecollection"
	}
	return map[string]string{"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[r.Method]
}

func (r request) flag(name string) bool {
	v := r.URL.Query().Get(name)
	return v == "true" || v == "1"
}

// parse finds the resource of a path:
// /api/v1/... or /apis/GROUP/VERSION/..., then [namespaces/NS/]RESOURCE[/NAME[/status]].
func parse(r *http.Request) (request, bool) {
	out := request{Request: r}
	words := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	var group, version string
	switch {
	case len(words) > 2 && words[0] == "api":
		version, words = words[1], words[2:]
	case len(words) > 3 && words[0] == "apis":
		group, version, words = words[1], words[2], words[3:]
	default:
		return out, false
	}
	if len(words) > 2 && words[0] == "namespaces" && words[2] != "status" {
		out.namespace, words = words[1], words[2:]
	}
	out.resource = resourceNamed(group, words[0])
	if len(words) > 1 {
		out.name = words[1]
	}
	out.status = len(words) == 3 && words[2] == "status"
	fits := out.resource.Version == version && (out.namespace == "" || out.resource.Namespaced)
	return out, fits && (len(words) < 3 || out.status)
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.describe(w, r) {
		return
	}
	req, ok := parse(r)
	if !ok {
		s.send(w, http.StatusNotFound, failure(http.StatusNotFound, "NotFound", "the server could not find the requested resource"))
		return
	}
	var out any
	var err error
	status := http.StatusOK
	switch req.verb() {
	case "watch":
		err = s.watch(w, req)
		if err == nil {
			return
		}
	case "list":
		out, err = s.list(req)
	case "get":
		out, err = s.get(req)
	case "create":
		status = http.StatusCreated
		out, err = s.create(req)
	case "update":
		out, err = s.update(req)
	case "patch":
		out, err = s.patch(req)
	case "delete":
		out, err = s.delete(req)
	case "deletecollection":
		out, err = s.deleteAll(req)
	default:
		err = failure(http.StatusMethodNotAllowed, "MethodNotAllowed", "the server does not allow this method on the requested resource")
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.send(w, status, out)
}

func (s *Server) refuse(w http.ResponseWriter, err error) {
	var refused *Status
	if !errors.As(err, &refused) {
		refused = failure(http.StatusBadRequest, "BadRequest", "%v", err)
	}
	s.send(w, refused.Code, refused)
}

func (s *Server) send(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.log.Debug("The client went away before the answer", "err", err)
	}
}
