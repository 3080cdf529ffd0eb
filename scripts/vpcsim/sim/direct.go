package sim

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"syscall"
)

// direct is a RoundTripper that calls a handler. What a handler aborts reaches
// the client as a connection that was reset.
type direct struct{ handler http.Handler }

// RoundTrip serves one request, in a goroutine of its own as net/http does, so
// that the request's context ends the wait.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	served := r.Clone(r.Context())
	if served.Body == nil {
		served.Body = http.NoBody
	}
	defer served.Body.Close() //nolint:errcheck // a RoundTripper closes the body, whatever it says
	w, aborted := httptest.NewRecorder(), make(chan bool, 1)
	go func() {
		defer func() {
			switch p := recover(); p {
			case nil, http.ErrAbortHandler:
				aborted <- p != nil
			default:
				panic(p)
			}
		}()
		d.handler.ServeHTTP(w, served)
	}()
	select {
	case <-r.Context().Done():
		return nil, r.Context().Err()
	case reset := <-aborted:
		return d.response(r, w, reset)
	}
}

func (d direct) response(r *http.Request, w *httptest.ResponseRecorder, reset bool) (*http.Response, error) {
	if reset && !w.Flushed {
		return nil, fmt.Errorf("reading the answer: %w", syscall.ECONNRESET)
	}
	resp := w.Result()
	resp.Request = r
	if reset {
		resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(w.Body.Bytes()), broken{}))
	}
	return resp, nil
}

// broken is the end of a body that was cut off.
type broken struct{}

// Read reports the cut.
func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
