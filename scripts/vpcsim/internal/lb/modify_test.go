package lb

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/topology"
)

// modify gives a balancer another description.
func (l *lab) modify(text string) error {
	l.Helper()
	var spec topology.LoadBalancer
	if err := yaml.UnmarshalStrict([]byte(text), &spec); err != nil {
		l.Fatal(err)
	}
	_, err := l.Modify(l.Context(), spec)
	return err
}

// TestModify changes what an application load balancer has while it serves: a
// group that stays keeps its healthy targets.
func TestModify(t *testing.T) {
	l := newLab(t)
	for _, node := range []string{"n1", "n2"} {
		l.serveHTTP(node, 8080, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(node)) })
	}
	st := l.create(`
name: web
type: alb
listeners: [{port: 80}]
targetGroups: [{name: one, port: 8080, targets: [{node: n1}], healthCheck: {` + quick + `}}]
`)
	l.await("web", "healthy")
	own := st.Zones[0].Address
	const modified = `
name: web
type: alb
listeners:
- port: 81
  rules: [{host: two.example.com, targetGroup: two}, {paths: [/one, /one/*], targetGroup: one}]
targetGroups:
- {name: one, port: 8080, deregistrationDelay: 1s, healthCheck: {` + quick + `}}
- {name: two, port: 8080, targets: [{node: n2}], healthCheck: {` + quick + `}}
`
	if err := l.modify(modified); err != nil {
		t.Fatal(err)
	}
	targets, err := l.Health(t.Context(), "web")
	if err != nil || len(targets) != 2 || targets[0].State != "healthy" || targets[0].Target.Node != "n1" {
		t.Errorf("right after it: %+v, error %v", targets, err)
	}
	l.await("web", "healthy", "healthy")
	for path, want := range map[string]struct {
		body   string
		status int
	}{"/one": {"n1", 200}, "/one/more": {"n1", 200}, "/onemore": {"", 404}, "/": {"", 404}} {
		if body, status := l.fetch(fabric.Peer, at(own, 81), path, ""); body != want.body || status != want.status {
			t.Errorf("%s: %q, %d; want %+v", path, body, status, want)
		}
	}
	if got := *l.List()[0].TargetGroups[0].DeregistrationDelay; got.String() != "1s" {
		t.Errorf("the delay is %s", got)
	}
	if conn, err := l.dial(fabric.Peer, "tcp", "", at(own, 80), 300*time.Millisecond); err == nil {
		conn.Close()
		t.Error("port 80 still listens")
	}
	for name, text := range map[string]string{
		"for another type":      "name: web\nlisteners: [{port: 80}]\ntargetGroups: [{name: one, port: 8080}]",
		"for another scheme":    strings.Replace(modified, "type: alb", "type: alb\nscheme: internet-facing", 1),
		"a group's port":        strings.Replace(modified, "name: one, port: 8080", "name: one, port: 8081", 1),
		"to an unknown group":   strings.Replace(modified, "targetGroup: two", "targetGroup: three", 1),
		"of an unknown one":     strings.Replace(modified, "name: web", "name: other", 1),
		"to a path without one": strings.Replace(modified, "/one,", "one,", 1),
	} {
		if err := l.modify(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
