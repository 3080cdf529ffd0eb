package kubeapi

import (
	"net/http"
	"slices"
)

// resource is a kind of objects and its place in the API.
type resource struct {
	Group, Version string // the group of core resources is empty
	Plural, Kind   string
	Namespaced     bool
}

var resources = []resource{
	{"", "v1", "namespaces", "Namespace", false},
	{"", "v1", "nodes", "Node", false},
	{"", "v1", "pods", "Pod", true},
	{"", "v1", "services", "Service", true},
	{"", "v1", "events", "Event", true},
	{"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true},
	{"events.k8s.io", "v1", "events", "Event", true},
	{"networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR", false},
	{"networking.k8s.io", "v1", "ingresses", "Ingress", true},
	{"crd.k8s.amazonaws.com", "v1alpha1", "eniconfigs", "ENIConfig", false}, // defined by CNIs for EKS
}

// String is the name as in "endpointslices.discovery.k8s.io".
func (r resource) String() string {
	if r.Group == "" {
		return r.Plural
	}
	return r.Plural + "." + r.Group
}

func (r resource) groupVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

// resourceNamed finds a resource by group and plural; its zero value has no
// version, which no path has.
func resourceNamed(group, plural string) resource {
	i := slices.IndexFunc(resources, func(r resource) bool { return r.Group == group && r.Plural == plural })
	if i < 0 {
		return resource{}
	}
	return resources[i]
}

// version is what /version says: the API of this release is spoken.
var version = map[string]string{
	"major": "1", "minor": "36", "gitVersion": "v1.36.0-vpcsim", "gitCommit": "", "gitTreeState": "clean",
	"buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
}

// describe answers requests about the API itself, and reports whether this was
// one.
func (s *Server) describe(w http.ResponseWriter, r *http.Request) bool {
	switch r.URL.Path {
	case "/version":
		s.send(w, http.StatusOK, version)
	case "/readyz", "/livez", "/healthz":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write([]byte("ok")) // the client may be gone; nothing is left to do
	case "/api":
		s.send(w, http.StatusOK, map[string]any{"kind": "APIVersions", "versions": []string{"v1"}})
	case "/apis":
		s.send(w, http.StatusOK, map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": groups()})
	default:
		list := resourceList(r.URL.Path)
		if list == nil {
			return false
		}
		s.send(w, http.StatusOK, list)
	}
	return true
}

func groups() []any {
	var out []any
	listed := map[string]bool{"": true} // the core group is elsewhere
	for _, r := range resources {
		if !listed[r.Group] {
			listed[r.Group] = true
			gv := map[string]string{"groupVersion": r.groupVersion(), "version": r.Version}
			out = append(out, map[string]any{"name": r.Group, "versions": []any{gv}, "preferredVersion": gv})
		}
	}
	return out
}

// resourceList lists the resources of the group version that has this path.
func resourceList(path string) map[string]any {
	var list []any
	var gv string
	for _, r := range resources {
		at := "/apis/" + r.groupVersion()
		if r.Group == "" {
			at = "/api/" + r.Version
		}
		if at != path {
			continue
		}
		gv = r.groupVersion()
		list = append(list, map[string]any{
			"name": r.Plural, "singularName": "", "kind": r.Kind, "namespaced": r.Namespaced,
			"verbs": []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"},
		})
	}
	if list == nil {
		return nil
	}
	return map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv, "resources": list}
}
