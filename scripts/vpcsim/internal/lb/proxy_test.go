package lb

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fabric"
)

// TestProxy asks an application load balancer, with instances and with a pod
// behind it.
func TestProxy(t *testing.T) {
	l := newLab(t)
	l.attachPod()
	for _, node := range []string{"n1", "n2"} {
		l.serveHTTP(node, 8080, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/" {
				host, _, _ := net.SplitHostPort(r.RemoteAddr)
				fmt.Fprintf(w, "%s %s %s for=%s proto=%s port=%s", node, r.URL.RequestURI(), host,
					strings.Join(r.Header["X-Forwarded-For"], ";"), r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-Port"))
			}
		})
	}
	st := l.create(`
name: web
type: alb
scheme: internet-facing
listeners: [{port: 80}, {port: 81, targetGroup: pods}, {port: 82, targetGroup: none}]
targetGroups:
- {name: nodes, port: 8080, targets: [{node: n1}, {node: n2}], healthCheck: {` + quick + `}}
- {name: pods, targetType: ip, port: 8080, targets: [{address: ` + pod + `}], healthCheck: {` + quick + `}}
- {name: none, port: 8080}
`)
	l.await("web", "healthy", "healthy", "healthy")
	own := st.Zones[0].Address
	seen := map[string]bool{}
	for range 4 {
		body, status := l.fetch(fabric.Internet, at(st.Zones[0].Public, 80), "/x?y=1", "")
		who, rest, _ := strings.Cut(body, " ")
		seen[who] = true
		if want := fmt.Sprintf("/x?y=1 %s for=%s proto=http port=80", own, internet); rest != want || status != http.StatusOK {
			t.Errorf("status %d, the target saw %q, want %q", status, rest, want)
		}
	}
	if len(seen) != 2 {
		t.Errorf("targets took turns: %v, want both nodes", seen)
	}
	body, _ := l.fetch(fabric.Peer, at(own, 81), "/pod", "198.18.0.1")
	if want := fmt.Sprintf("n1 /pod %s for=198.18.0.1, %s proto=http port=81", own, peer); body != want {
		t.Errorf("the pod saw %q, want %q", body, want)
	}
	if _, status := l.fetch(fabric.Peer, at(own, 82), "/", ""); status != http.StatusServiceUnavailable {
		t.Errorf("without a target: status %d, want 503", status)
	}
	// A node behind the balancer may be its client, too.
	if body, _ := l.fetch("n1", at(own, 81), "/pod", ""); !strings.Contains(body, "for="+n1) {
		t.Errorf("the pod saw %q from its own node", body)
	}
	l.clean()
	if err := l.Delete("web"); err != nil {
		t.Fatal(err)
	}
	l.sync()
	if _, status := l.fetch(fabric.Peer, at(own, 80), "/", ""); status != 0 {
		t.Errorf("a deleted balancer answers %d", status)
	}
}

// fetch asks for a path from a place and returns body and status; 0 is no
// answer.
func (l *lab) fetch(place string, to netip.AddrPort, path, forwarded string) (string, int) {
	l.Helper()
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			return l.dial(place, "tcp", "", to, time.Second)
		},
	}}
	req, err := http.NewRequestWithContext(l.Context(), http.MethodGet, "http://"+to.String()+path, nil)
	if err != nil {
		l.Fatal(err)
	}
	if forwarded != "" {
		req.Header.Set("X-Forwarded-For", forwarded)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", 0
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		l.Error(err)
	}
	return string(body), resp.StatusCode
}
