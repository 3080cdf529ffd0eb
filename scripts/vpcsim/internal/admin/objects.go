package admin

import (
	"encoding/json"
	"net/http"

	"github.com/causeway-cni/causeway/scripts/vpcsim/control"
)

func (s *server) handleObjects(mux *http.ServeMux) {
	mux.Handle("GET /v1/objects", handler(func(r *http.Request) (any, error) { return s.cluster.Objects(r.URL.Query().Get("kind")) }))
	mux.Handle("POST /v1/objects", change(s.applyObjects))
	mux.Handle("DELETE /v1/objects", handler(func(r *http.Request) (any, error) {
		q := r.URL.Query()
		return nil, s.cluster.Delete(q.Get("kind"), q.Get("namespace"), q.Get("name"))
	}))
}

// applyObjects applies them in order, up to the first that is refused.
func (s *server) applyObjects(objects []control.Object) (any, error) {
	out := []json.RawMessage{}
	for _, o := range objects {
		applied, err := s.cluster.Apply(o)
		if err != nil {
			return nil, err
		}
		out = append(out, applied)
	}
	return out, nil
}
