package telemetry

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves, for GET only:
//
//	/metrics  the metrics, in the format that the scraper asks for
//	/healthz  200 while the process answers
//	/readyz   200, or 503 with the error of ready as text
//	/state    what state returns, as indented JSON
//
// Both functions are called for each request, from any goroutine. The state
// names pods and addresses: serve it on loopback.
func Handler(metrics *Metrics, ready func() error, state func() any) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { ok(w) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		ok(w)
	})
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { dump(w, state()) })
	return mux
}

// A client that goes away is no failure of ours: errors of writing to it are
// dropped, here and in dump.
func ok(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok\n")
}

// dump writes only after all has been encoded, so that a failure has a status.
func dump(w http.ResponseWriter, state any) {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		http.Error(w, fmt.Sprintf("encoding state: %v", err), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}
