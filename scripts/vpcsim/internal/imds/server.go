// Package imds serves the instance metadata service: version 2 with session
// tokens, and version 1 where a node's options allow it. Each request is its
// own snapshot of the model's delayed view. The package keeps the session
// tokens and nothing else.
//
// Refused as the real service refuses it: 400 for a bad token request, 401
// without a valid token, 403 when the service is disabled or the request was
// forwarded, 404 for what the instance has not got, 405 for other methods.
package imds

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/fault"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/reqlog"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/vpc"
)

const (
	tokenHeader = "X-Aws-Ec2-Metadata-Token"
	ttlHeader   = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	tokenPath   = "/latest/api/token"
	// hangLimit ends requests that a fault leaves without an answer.
	hangLimit = time.Minute
)

// Server is the metadata service of all nodes.
type Server struct {
	model    *vpc.Model
	faults   *fault.Engine
	requests *reqlog.Log
	log      *slog.Logger
	tokens   *tokens
}

// New returns the metadata service of a model's nodes.
func New(m *vpc.Model, faults *fault.Engine, requests *reqlog.Log, log *slog.Logger) *Server {
	return &Server{m, faults, requests, log, &tokens{life: map[string]session{}}}
}

// ServeHTTP answers the node that owns the client's address.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	client, err := netip.ParseAddr(host)
	node, ok := s.model.Identify(client)
	if err != nil || !ok {
		s.log.Warn("A metadata request came from an address that no attached ENI owns", "address", r.RemoteAddr)
		panic(http.ErrAbortHandler) // nobody answers such a packet on EC2
	}
	s.serve(w, r, node)
}

// ForNode returns a handler that takes every request for one of this node.
func (s *Server) ForNode(node string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, node) })
}

// DropTokens ends all sessions: requests get 401 until a new token is fetched.
func (s *Server) DropTokens() { s.tokens.clear() }

// answer is what goes back to the client.
type answer struct {
	status int
	text   string
	ttl    int    // life of the token in text, 0 for other answers
	abort  bool   // reset the connection in place of answering
	kind   string // content type, text/plain if empty
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, node string) {
	entry := reqlog.Entry{
		Time: time.Now(), Service: "imds", Node: node, Action: r.Method + " " + r.URL.Path,
		Attempt: r.Header.Get("Amz-Sdk-Request"), Invocation: r.Header.Get("Amz-Sdk-Invocation-Id"),
	}
	clean := path.Clean("/" + r.URL.Path)
	d := s.faults.Decide(node, fault.ActionIMDS, clean)
	entry.Faults = d.Rules
	out := s.faulty(r, node, clean, d.Effect)
	entry.Status, entry.Latency = out.status, time.Since(entry.Time)
	if out.abort {
		entry.Status = 0
	}
	s.requests.Add(entry)
	s.send(w, r, node, out, d.Truncate)
}

// faulty answers a request with the effects of its faults.
func (s *Server) faulty(r *http.Request, node, clean string, e fault.Effect) answer {
	if err := span.Sleep(r.Context(), time.Duration(e.Latency)); err != nil {
		return answer{abort: true}
	}
	switch {
	case e.Hang:
		_ = span.Sleep(r.Context(), hangLimit) // either way there is no answer
		return answer{abort: true}
	case e.Reset:
		return answer{abort: true}
	case e.HTML502:
		return refused(http.StatusBadGateway)
	case e.Throttle:
		return refused(http.StatusServiceUnavailable)
	case e.Error != nil && e.Error.Status != 0:
		return refused(e.Error.Status)
	case e.Error != nil:
		return refused(e.Error.AWS().Status)
	}
	out := s.answer(r, node, clean, time.Duration(e.IMDSLag))
	if e.Empty && out.status == http.StatusOK && out.ttl == 0 {
		out.text = ""
	}
	out.abort = e.Lost
	return out
}

func (s *Server) answer(r *http.Request, node, clean string, lag time.Duration) answer {
	m, err := s.model.Metadata(node, lag)
	if err != nil {
		s.log.Error("A metadata request is for an unknown node", "err", err)
		return refused(http.StatusInternalServerError)
	}
	options, now := m.Instance.Metadata, time.Now()
	switch {
	case options.Disabled:
		return refused(http.StatusForbidden)
	case clean == tokenPath:
		return s.issue(r, node, now)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return refused(http.StatusMethodNotAllowed)
	}
	token := r.Header.Get(tokenHeader)
	if (token != "" || !options.TokensOption) && !s.tokens.valid(token, node, now) {
		return refused(http.StatusUnauthorized)
	}
	text, ok := build(m, now).look(clean)
	if !ok {
		return refused(http.StatusNotFound)
	}
	return answer{status: http.StatusOK, text: text}
}

// issue answers the request for a session token.
func (s *Server) issue(r *http.Request, node string, now time.Time) answer {
	if r.Method != http.MethodPut {
		return refused(http.StatusMethodNotAllowed)
	}
	if r.Header.Get("X-Forwarded-For") != "" {
		return refused(http.StatusForbidden)
	}
	ttl, err := strconv.Atoi(r.Header.Get(ttlHeader))
	if err != nil || ttl < 1 || ttl > maxTTL {
		return refused(http.StatusBadRequest)
	}
	return answer{status: http.StatusOK, text: s.tokens.issue(node, time.Duration(ttl)*time.Second, now), ttl: ttl}
}

// refused is an error page as the service sends it.
func refused(status int) answer {
	text := strings.ReplaceAll(errorPage, "TITLE", fmt.Sprintf("%d - %s", status, http.StatusText(status)))
	return answer{status: status, text: text, kind: "text/html"}
}

const errorPage = `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>TITLE</title>
 </head>
 <body>
  <h1>TITLE</h1>
 </body>
</html>
`

// send writes the answer. It panics with http.ErrAbortHandler to reset the
// connection, as net/http has it.
func (s *Server) send(w http.ResponseWriter, r *http.Request, node string, a answer, truncate bool) {
	if a.abort {
		panic(http.ErrAbortHandler)
	}
	hops := plainTTL
	if i, err := s.model.Node(node); err == nil && a.ttl > 0 {
		hops = i.Metadata.HopLimit
		w.Header().Set(ttlHeader, strconv.Itoa(a.ttl))
	}
	if err := setTTL(r, hops); err != nil {
		s.log.Error("A metadata answer goes out with the wrong hop limit", "err", err)
	}
	if a.kind == "" {
		a.kind = "text/plain"
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Length", strconv.Itoa(len(a.text)))
	w.WriteHeader(a.status)
	body := a.text
	if truncate {
		body = body[:len(body)/2]
	}
	if _, err := w.Write([]byte(body)); err != nil {
		s.log.Debug("The client went away before the answer", "path", r.URL.Path, "err", err)
	}
	if truncate {
		_ = http.NewResponseController(w).Flush() // the connection ends either way
		panic(http.ErrAbortHandler)
	}
}
