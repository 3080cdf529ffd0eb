package kubeapi

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// lookEvery is how often running requests look whether the API is away.
const lookEvery = 100 * time.Millisecond

// Network is the API as clients in the simulated world reach it: with the
// faults of the network and of the service, and a log of who asked for what.
type Network struct {
	API      *Server
	Faults   *fault.Engine
	Requests *reqlog.Log
	// Identify finds the node that has an address.
	Identify func(netip.Addr) (node string, ok bool)
}

// ServeHTTP answers one request, unless a fault comes before it.
func (n Network) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	names, action := []string{fault.ActionKubernetes}, r.Method+" "+r.URL.Path
	if req, ok := parse(r); ok {
		action = req.verb() + " " + req.resource.Plural
		names = append(names, strings.Join([]string{fault.ActionKubernetes, req.verb(), req.resource.Plural}, "/"))
	}
	node := n.caller(r)
	decision := n.Faults.Decide(node, names...)
	entry := reqlog.Entry{
		Time: time.Now(), Service: "kubernetes", Node: node, Caller: r.UserAgent(),
		Action: action, Params: reqlog.Redact(r.URL.Query()), Faults: decision.Rules,
	}
	logged := &loggedWriter{ResponseWriter: w, log: func(status int) {
		entry.Status, entry.Latency = status, time.Since(entry.Time)
		n.Requests.Add(entry)
	}}
	defer logged.end()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if !n.pass(ctx, logged, decision.Effect) {
		return
	}
	go n.guard(ctx, cancel, node, names)
	n.API.ServeHTTP(logged, r.WithContext(ctx))
	if decision.Lost || n.Faults.Away(node, names...) {
		panic(http.ErrAbortHandler)
	}
}

func (n Network) caller(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return ""
	}
	node, _ := n.Identify(addr.Unmap())
	return node
}

// pass carries out what comes before the request, and reports whether there is
// to be an answer by the API.
func (n Network) pass(ctx context.Context, w http.ResponseWriter, e fault.Effect) bool {
	if span.Sleep(ctx, time.Duration(e.Latency)) != nil {
		return false
	}
	switch {
	case e.Reset, e.Away:
		panic(http.ErrAbortHandler)
	case e.HTML502:
		w.WriteHeader(http.StatusBadGateway)
		return false
	case e.Throttle:
		w.Header().Set("Retry-After", "1")
		refused := failure(http.StatusTooManyRequests, "TooManyRequests", "Too many requests, please try again later.")
		n.API.send(w, refused.Code, refused)
		return false
	case e.Error != nil:
		n.API.send(w, e.Error.Status, failure(e.Error.Status, e.Error.Code, "%s", e.Error.Message))
		return false
	}
	return true
}

// guard ends a request when the API goes away meanwhile.
func (n Network) guard(ctx context.Context, end context.CancelFunc, node string, names []string) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if n.Faults.Away(node, names...) {
				end()
			}
		}
	}
}

// loggedWriter logs a request once, when its answer begins or when it is over
// without one.
type loggedWriter struct {
	http.ResponseWriter
	log  func(status int)
	done bool
}

// WriteHeader implements http.ResponseWriter.
func (w *loggedWriter) WriteHeader(status int) {
	w.once(status)
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *loggedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// end is for a request that nobody has answered, and for one whose answer
// began without a word about its status.
func (w *loggedWriter) end() { w.once(0) }

func (w *loggedWriter) once(status int) {
	if !w.done {
		w.done = true
		w.log(status)
	}
}
