package kubeapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
)

// api is a served API under test.
type api struct {
	*testing.T
	inner    *Server
	url      string
	faults   *fault.Engine
	requests *reqlog.Log
}

func serve(t *testing.T) *api {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	a := &api{T: t, inner: New(log), faults: fault.NewEngine(1), requests: reqlog.New(nil, log)}
	server := httptest.NewServer(Network{API: a.inner, Faults: a.faults, Requests: a.requests,
		Identify: func(netip.Addr) (string, bool) { return "n1", true }})
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // watches first, or Close waits for them
	a.url = server.URL
	return a
}

// do sends a request and returns status and decoded answer.
func (a *api) do(method, path, media, body string) (int, map[string]any) {
	a.Helper()
	req, err := http.NewRequestWithContext(a.Context(), method, a.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		a.Fatal(err)
	}
	req.Header.Set("Content-Type", media)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		a.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(data, &out); err != nil && path != "/readyz" {
		a.Fatalf("%s %s: %s: %v", method, path, data, err)
	}
	return resp.StatusCode, out
}

func (a *api) must(method, path, body string) map[string]any {
	a.Helper()
	status, out := a.do(method, path, "application/json", body)
	if status >= 400 {
		a.Fatalf("%s %s: %d %v", method, path, status, out)
	}
	return out
}

const services, endpointSlices = "/api/v1/namespaces/default/services", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

func TestLife(t *testing.T) {
	a := serve(t)
	made := a.must("POST", services, `{"metadata": {"name": "web", "labels": {"a": "b"}}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}`)
	spec := child(made, "spec")
	want := map[string]any{
		"type": "NodePort", "clusterIP": "10.100.0.1", "clusterIPs": []any{"10.100.0.1"}, "ipFamilies": []any{"IPv4"}, "ipFamilyPolicy": "SingleStack",
		"sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster",
		"ports": []any{map[string]any{"port": 80.0, "targetPort": 80.0, "protocol": "TCP", "nodePort": 30000.0}},
	}
	if diff := cmp.Diff(want, spec); diff != "" {
		t.Errorf("spec (-want +got)\n%s", diff)
	}
	// An update without them keeps address and port; one of an old version fails.
	body := `{"metadata": {"name": "web"%s}, "spec": {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]}}`
	updated := child(a.must("PUT", services+"/web", fmt.Sprintf(body, "")), "spec")
	if updated["clusterIP"] != "10.100.0.1" || number(maps(updated, "ports")[0], "nodePort") != 30000 || number(updated, "healthCheckNodePort") != 30001 {
		t.Errorf("updated %v", updated)
	}
	if status, out := a.do("PUT", services+"/web", "application/json", fmt.Sprintf(body, `, "resourceVersion": "1"`)); status != 409 || out["reason"] != "Conflict" {
		t.Errorf("an update of an old version: %d %v", status, out)
	}
	if out := a.must("GET", services+"/web", ""); text(metadata(out), "uid") != text(metadata(made), "uid") || text(metadata(out), "namespace") != "default" {
		t.Errorf("got %v", out)
	}
	a.must("PUT", services+"/web/status", `{"metadata": {"name": "web"}, "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.7"}]}}}`)
	if status, out := a.do("PATCH", services+"/web", "application/merge-patch+json", `{"metadata": {"labels": {"a": null, "c": "d"}}}`); status != 200 ||
		!cmp.Equal(metadata(out)["labels"], map[string]any{"c": "d"}) || maps(child(child(out, "status"), "loadBalancer"), "ingress")[0]["ipMode"] != "VIP" {
		t.Errorf("patched %d %v", status, out)
	}
	if status, out := a.do("POST", "/apis/events.k8s.io/v1/namespaces/default/events", protobuf, "k8s"); status != 201 || out["kind"] != "Event" {
		t.Errorf("an event in protobuf: %d %v", status, out)
	}
	a.must("DELETE", services+"/web", "")
	again := child(a.must("POST", services, `{"metadata": {"generateName": "x-"}, "spec": {"ports": [{"port": 80}]}}`), "spec")
	if again["clusterIP"] != "10.100.0.2" {
		t.Errorf("the next service has %v", again)
	}
	a.must("POST", services, `{"metadata": {"name": "same"}, "spec": {"clusterIP": "10.100.0.1"}}`) // free again
}

func TestRefusals(t *testing.T) {
	a := serve(t)
	a.must("POST", services, `{"metadata": {"name": "web"}, "spec": {"clusterIP": "10.100.0.1"}}`)
	for _, c := range []struct {
		method, path, media, body string
		status                    int
		reason                    string
	}{
		{"GET", services + "/nobody", "", "", 404, "NotFound"},
		{"GET", "/api/v1/secrets", "", "", 404, "NotFound"},
		{"GET", "/api/v2/services", "", "", 404, "NotFound"},
		{"GET", "/api/v1/namespaces/default/nodes", "", "", 404, "NotFound"},
		{"POST", services, "application/json", `{"metadata": {"name": "web"}}`, 409, "AlreadyExists"},
		{"POST", services, "application/json", `{"metadata": {"name": "two"}, "spec": {"clusterIP": "10.100.0.1"}}`, 422, "Invalid"},
		{"POST", services, "application/json", `{}`, 422, "Invalid"},
		{"POST", services, "application/json", `{"kind": "Node"}`, 400, "BadRequest"},
		{"POST", services, "application/json", `{"metadata": {"name": "x", "labels": {"a": 1}}}`, 422, "Invalid"},
		{"POST", services, protobuf, ``, 415, "UnsupportedMediaType"},
		{"POST", "/api/v1/services", "application/json", `{"metadata": {"name": "x"}}`, 400, "BadRequest"},
		{"PUT", services + "/nobody", "application/json", `{}`, 404, "NotFound"},
		{"PUT", services + "/web", "application/json", `{"metadata": {"name": "x"}}`, 400, "BadRequest"},
		{"PATCH", services + "/web", "application/json-patch+json", `[]`, 415, "UnsupportedMediaType"},
		{"DELETE", services + "/nobody", "", "", 404, "NotFound"},
		{"GET", services + "?labelSelector=a+b", "", "", 400, "BadRequest"},
		{"GET", services + "?fieldSelector=spec.ports%3Dx", "", "", 400, "BadRequest"},
		{"GET", services + "?watch=1&resourceVersion=x", "", "", 400, "BadRequest"},
		{"GET", services + "?continue=%25", "", "", 400, "BadRequest"},
	} {
		status, out := a.do(c.method, c.path, c.media, c.body)
		if status != c.status || out["reason"] != c.reason || out["kind"] != "Status" {
			t.Errorf("%s %s: %d %v, want %d %s", c.method, c.path, status, out, c.status, c.reason)
		}
	}
}

func TestDiscovery(t *testing.T) {
	a := serve(t)
	if v := a.must("GET", "/version", ""); v["minor"] != "36" {
		t.Errorf("version %v", v)
	}
	if status, _ := a.do("GET", "/readyz", "", ""); status != 200 {
		t.Errorf("readyz: %d", status)
	}
	if g := a.must("GET", "/apis", ""); len(maps(g, "groups")) != 4 {
		t.Errorf("groups %v", g)
	}
	list := a.must("GET", "/apis/discovery.k8s.io/v1", "")
	if r := maps(list, "resources"); len(r) != 1 || r[0]["kind"] != "EndpointSlice" {
		t.Errorf("resources %v", list)
	}
}

func names(list map[string]any) (out []string) {
	for _, o := range maps(list, "items") {
		out = append(out, text(metadata(o), "name"))
	}
	return out
}

func TestListSelectsAndPages(t *testing.T) {
	a := serve(t)
	for name, labels := range map[string]string{"a": `{}`, "b": `{"x": "1"}`, "c": `{"x": "2"}`, "d": `{"x": "1", "y": "1"}`} {
		a.must("POST", endpointSlices, fmt.Sprintf(`{"metadata": {"name": %q, "labels": %s}, "addressType": "IPv4"}`, name, labels))
	}
	for query, want := range map[string][]string{
		"":                                    {"a", "b", "c", "d"},
		"labelSelector=x":                     {"b", "c", "d"},
		"labelSelector=!x":                    {"a"},
		"labelSelector=x%3D1":                 {"b", "d"},
		"labelSelector=x%3D%3D1,!y":           {"b"},
		"labelSelector=x!%3D1":                {"a", "c"},
		"labelSelector=x+in+(1,2),y+notin(1)": {"b", "c"},
		"fieldSelector=metadata.name%3Dc":     {"c"},
		"limit=2":                             {"a", "b"},
	} {
		if diff := cmp.Diff(want, names(a.must("GET", endpointSlices+"?"+query, ""))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	a.must("POST", services, `{"metadata": {"name": "web"}}`)
	a.must("POST", services, `{"metadata": {"name": "headless"}, "spec": {"clusterIP": "None"}}`)
	for query, want := range map[string][]string{
		"spec.clusterIP!%3DNone":                           {"web"},
		"spec.clusterIP!%3DNone,spec.type!%3DExternalName": {"web"},
		"spec.type%3DClusterIP":                            {"headless", "web"},
	} {
		if diff := cmp.Diff(want, names(a.must("GET", services+"?fieldSelector="+query, ""))); diff != "" {
			t.Errorf("%s (-want +got)\n%s", query, diff)
		}
	}
	page := a.must("GET", endpointSlices+"?limit=3", "")
	a.must("DELETE", endpointSlices+"/a", "")
	rest := a.must("GET", endpointSlices+"?limit=3&continue="+text(metadata(page), "continue"), "")
	if diff := cmp.Diff([]string{"d"}, names(rest)); diff != "" || metadata(rest)["resourceVersion"] != metadata(page)["resourceVersion"] || metadata(rest)["continue"] != nil {
		t.Errorf("second page %v\n%s", metadata(rest), diff)
	}
	if got := names(a.must("GET", "/apis/discovery.k8s.io/v1/endpointslices", "")); len(got) != 3 {
		t.Errorf("all namespaces have %v", got)
	}
}
