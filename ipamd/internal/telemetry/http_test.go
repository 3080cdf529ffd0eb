package telemetry

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHandler(t *testing.T) {
	type answer struct {
		Status int
		Type   string
		Body   string
	}
	const text = "text/plain; charset=utf-8"
	var (
		isReady  = func() error { return nil }
		notReady = func() error { return errors.New("ENI eni-a has no routes yet") }
		state    = func() any { return map[string]int{"assigned": 3} }
		noState  = func() any { return func() {} }
	)
	for _, test := range []struct {
		name, method, path string
		ready              func() error
		state              func() any
		want               answer
	}{
		{"alive", "GET", "/healthz", isReady, state, answer{200, text, "ok\n"}},
		{"alive before ready", "GET", "/healthz", notReady, state, answer{200, text, "ok\n"}},
		{"ready", "GET", "/readyz", isReady, state, answer{200, text, "ok\n"}},
		{"not ready", "GET", "/readyz", notReady, state, answer{503, text, "ENI eni-a has no routes yet\n"}},
		{"state", "GET", "/state", isReady, state, answer{200, "application/json", "{\n  \"assigned\": 3\n}\n"}},
		{"state that has no JSON", "GET", "/state", isReady, noState,
			answer{500, text, "encoding state: json: unsupported type: func()\n"}},
		{"write", "POST", "/state", isReady, state, answer{405, text, "Method Not Allowed\n"}},
		{"elsewhere", "GET", "/", isReady, state, answer{404, text, "404 page not found\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			Handler(New("v1", empty), test.ready, test.state).ServeHTTP(w, httptest.NewRequest(test.method, test.path, nil))
			got := answer{w.Code, w.Header().Get("Content-Type"), w.Body.String()}
			if d := cmp.Diff(test.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestMetricsPage wants the runtime's own metrics beside ours.
func TestMetricsPage(t *testing.T) {
	w := httptest.NewRecorder()
	Handler(New("v1", empty), nil, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for _, want := range []string{"\ngo_goroutines ", "\nprocess_open_fds ", "\nawscni_build_info{"} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %q in the page", strings.TrimSpace(want))
		}
	}
}
