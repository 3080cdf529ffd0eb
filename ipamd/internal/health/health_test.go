package health

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/proxy/service"
)

func TestNode(t *testing.T) {
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tainted := func(taint string) *service.Node { return &service.Node{Name: "n1", Taints: []string{"other", taint}} }
	for _, test := range []struct {
		name            string
		do              func(*State)
		healthz, livez  int
		updated, synced time.Duration // after the start
	}{
		{"quiet", func(s *State) { s.Synced() }, 200, 200, 90 * time.Second, 0},
		{"a change just now", func(s *State) { clock = clock.Add(31 * time.Second); s.Queued(); clock = clock.Add(-31 * time.Second) }, 200, 200, 90 * time.Second, 0},
		{"a change not written in time", func(s *State) { s.Queued() }, 503, 503, 0, 0},
		{"not the first of changes counts but the oldest", func(s *State) {
			s.Queued()
			clock = clock.Add(time.Minute)
			s.Queued()
			clock = clock.Add(-time.Minute)
		}, 503, 503, 0, 0},
		{"written at last", func(s *State) { s.Queued(); s.Begun(); s.Synced() }, 200, 200, 90 * time.Second, 0},
		{"nothing to write", func(s *State) { s.Queued(); s.Begun(); s.Idle() }, 200, 200, 90 * time.Second, 0},
		{"a write that hangs", func(s *State) { s.Queued(); s.Begun() }, 503, 503, 0, 0},
		{"a write that failed", func(s *State) { s.Queued(); s.Begun(); s.Failed() }, 503, 503, 0, 0},
		{"a change while another is written", func(s *State) { s.Queued(); s.Begun(); s.Queued(); s.Synced() }, 503, 503, 0, 0},
		{"node missing", func(s *State) { s.SetNode(nil) }, 503, 200, 0, 0},
		{"node deleted", func(s *State) { s.SetNode(&service.Node{Deleting: true}) }, 503, 200, 0, 0},
		{"autoscaler", func(s *State) { s.SetNode(tainted("ToBeDeletedByClusterAutoscaler")) }, 503, 200, 0, 0},
		{"karpenter", func(s *State) { s.SetNode(tainted("karpenter.sh/disrupted")) }, 503, 200, 0, 0},
		{"older karpenter", func(s *State) { s.SetNode(tainted("karpenter.sh/disruption")) }, 503, 200, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			began := clock
			defer func() { clock = began }()
			s := NewState(time.Minute, func() time.Time { return clock })
			s.SetNode(&service.Node{Name: "n1"})
			test.do(s)
			clock = clock.Add(90 * time.Second)
			counted := map[string]int{}
			h := s.Handler(func(path string, status int) { counted[path] = status })
			for path, want := range map[string]int{"/healthz": test.healthz, "/livez": test.livez} {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
				if w.Code != want || counted[path] != want {
					t.Errorf("%s: %d, counted %d, want %d: %s", path, w.Code, counted[path], want, w.Body)
				}
				if w.Header().Get("Content-Type") != "application/json" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%s: headers %v", path, w.Header())
				}
				var got map[string]any
				if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
					t.Fatal(err)
				}
				if _, has := got["nodeEligible"]; has != (path == "/healthz") {
					t.Errorf("%s: %s", path, w.Body)
				}
				if updated := began.Add(test.updated).Format(time.RFC3339); path == "/healthz" && got["lastUpdated"] != updated {
					t.Errorf("last updated %v, want %s", got["lastUpdated"], updated)
				}
			}
		})
	}
}

var web = service.Key{Namespace: "shop", Name: "web"}

func free(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func get(t *testing.T, port uint16) (int, http.Header, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/any/path", port))
	if err != nil {
		return 0, nil, err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, r.Header, string(body)
}

func TestChecks(t *testing.T) {
	healthy := true
	c := NewChecks(func() bool { return healthy }, slog.New(slog.DiscardHandler))
	defer c.Close()
	port := free(t)
	of := func(local int) []service.HealthCheck {
		return []service.HealthCheck{{Service: web, Family: service.IPv4, Port: port, Local: local}}
	}
	c.Set(web, of(2))
	status, header, body := get(t, port)
	want := "{\n\t\"service\": {\n\t\t\"namespace\": \"shop\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}"
	if diff := cmp.Diff(want, body); status != 200 || diff != "" {
		t.Errorf("%d (-want +got):\n%s", status, diff)
	}
	if header.Get("X-Load-Balancing-Endpoint-Weight") != "2" || header.Get("Content-Type") != "application/json" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", header)
	}
	c.Set(web, of(0))
	if status, _, _ := get(t, port); status != 503 {
		t.Errorf("without endpoints: %d", status)
	}
	c.Set(web, of(1))
	healthy = false
	if status, _, _ := get(t, port); status != 503 {
		t.Errorf("while rules are late: %d", status)
	}
	c.Set(web, nil)
	if status, _, said := get(t, port); status != 0 {
		t.Errorf("after the service is gone: %d %s", status, said)
	}
}

// TestBusyPort wants a port that another holds to be taken once it is free,
// and nothing else to suffer.
func TestBusyPort(t *testing.T) {
	c := NewChecks(func() bool { return true }, slog.New(slog.DiscardHandler))
	defer c.Close()
	other, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(other.Addr().(*net.TCPAddr).Port)
	c.Set(web, []service.HealthCheck{{Service: web, Family: service.IPv4, Port: port, Local: 1}})
	c.Retry()
	other.Close()
	c.Retry()
	if status, _, said := get(t, port); status != 200 {
		t.Errorf("%d %s", status, said)
	}
}

// TestRequestOfTheDead answers a request whose service has just gone.
func TestRequestOfTheDead(t *testing.T) {
	c := NewChecks(func() bool { return true }, slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	c.answer(w, web, service.IPv4)
	if w.Code != 503 {
		t.Errorf("%d", w.Code)
	}
}
