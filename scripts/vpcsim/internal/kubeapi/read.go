package kubeapi

import (
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
)

// list is the answer to a list, and so is a page of it.
type list struct {
	Kind       string    `json:"kind"`
	APIVersion string    `json:"apiVersion"`
	Metadata   listMeta  `json:"metadata"`
	Items      []*object `json:"items"`
}

type listMeta struct {
	ResourceVersion string `json:"resourceVersion"`
	Continue        string `json:"continue,omitempty"`
}

func (s *Server) get(r request) (any, error) { return s.store.get(r.resource, r.namespace, r.name) }

// list answers with what there is now, whatever version is asked for. The
// version of a list in pages is that of its first: a watch from there sees
// again what came into later pages meanwhile.
func (s *Server) list(r request) (any, error) {
	match, err := selectionOf(r)
	if err != nil {
		return nil, err
	}
	limit, err := count(r.URL.Query().Get("limit"))
	if err != nil {
		return nil, err
	}
	first, after, err := decodePage(r.URL.Query().Get("continue"))
	if err != nil {
		return nil, err
	}
	found, more, version := s.store.list(match, after, int(limit))
	if first != 0 {
		version = first
	}
	out := list{Kind: r.resource.Kind + "List", APIVersion: r.resource.groupVersion(), Items: found}
	out.Metadata.ResourceVersion = strconv.FormatUint(version, 10)
	if more {
		out.Metadata.Continue = encodePage(version, found[len(found)-1].id())
	}
	if out.Items == nil {
		out.Items = []*object{}
	}
	return out, nil
}

func encodePage(version uint64, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatUint(version, 10) + " " + after))
}

func decodePage(token string) (version uint64, after string, err error) {
	if token == "" {
		return 0, "", nil
	}
	plain, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, "", failure(http.StatusBadRequest, "BadRequest", "continue key is not valid: %v", err)
	}
	head, after, _ := strings.Cut(string(plain), " ")
	version, err = count(head)
	return version, after, err
}

// count reads a number of a query; "" is 0.
func count(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, failure(http.StatusBadRequest, "BadRequest", "Invalid value: %q: must be a number of 0 or more", text)
	}
	return n, nil
}
