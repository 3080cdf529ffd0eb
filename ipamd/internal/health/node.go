package health

import (
	"encoding/json"
	"net/http"
)

// Handler serves /healthz, which also asks whether the node may get traffic,
// and /livez, which does not. counted is told of every answer, by path and
// status; nil for nobody.
func (s *State) Handler(counted func(path string, status int)) http.Handler {
	mux := http.NewServeMux()
	serve := func(path string, judge func(*report) bool) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			r := s.report()
			status := http.StatusOK
			if !judge(&r) {
				status = http.StatusServiceUnavailable
			}
			if counted != nil {
				counted(path, status)
			}
			body, err := json.Marshal(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			answer(w, status, body)
		})
	}
	serve("/livez", func(r *report) bool { return r.Healthy })
	serve("/healthz", func(r *report) bool {
		eligible := s.eligible()
		r.NodeEligible = &eligible
		if !eligible && r.Healthy { // the time says when all was well
			r.LastUpdated = r.Status["IPv4"].LastUpdated
		}
		return r.Healthy && eligible
	})
	return mux
}

// answer writes JSON. A client that goes away is no failure of ours.
func answer(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
