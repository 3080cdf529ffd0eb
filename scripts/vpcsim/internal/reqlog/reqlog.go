// Package reqlog remembers every EC2, IMDS and Kubernetes request: as JSON lines for
// people and tools, as the last entries and as counts for tests and status.
package reqlog

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// keep is how many entries Entries can return.
const keep = 10000

// Entry is one request.
type Entry struct {
	Time       time.Time         `json:"time"`
	Service    string            `json:"service"` // ec2, imds or kubernetes
	Node       string            `json:"node,omitempty"`
	Caller     string            `json:"caller,omitempty"` // access key, or user agent
	Action     string            `json:"action"`           // EC2 action, verb and resource, or method and path
	Params     map[string]string `json:"params,omitempty"`
	Attempt    string            `json:"attempt,omitempty"`    // the SDK's "attempt=1; max=3"
	Invocation string            `json:"invocation,omitempty"` // same over the attempts of one call
	Status     int               `json:"status"`               // 0 if the connection was reset
	Code       string            `json:"code,omitempty"`       // EC2 error code
	Faults     []string          `json:"faults,omitempty"`     // ids of the rules that fired
	Latency    time.Duration     `json:"-"`
}

// MarshalJSON adds the latency in milliseconds.
func (e Entry) MarshalJSON() ([]byte, error) {
	type plain Entry
	return json.Marshal(struct {
		plain
		LatencyMS float64 `json:"latencyMs"`
	}{plain(e), float64(e.Latency.Microseconds()) / 1000})
}

// Count is how often an action was called, by whom and with what outcome.
type Count struct {
	Service string `json:"service"`
	Node    string `json:"node,omitempty"`
	Action  string `json:"action"`
	Code    string `json:"code,omitempty"` // EC2 error code, "" for success
	Calls   int    `json:"calls"`
}

// Log collects requests. It is safe for concurrent use.
type Log struct {
	mu      sync.Mutex
	out     io.Writer
	log     *slog.Logger
	entries []Entry // a ring once it is full
	next    int
	counts  map[Count]int // by a Count without Calls
}

// New returns a log that also writes JSON lines to out, if it is not nil.
func New(out io.Writer, log *slog.Logger) *Log {
	return &Log{out: out, log: log, counts: map[Count]int{}}
}

// Add records a request.
func (l *Log) Add(e Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[Count{Service: e.Service, Node: e.Node, Action: e.Action, Code: e.Code}]++
	if len(l.entries) < keep {
		l.entries = append(l.entries, e)
	} else {
		l.entries[l.next] = e
		l.next = (l.next + 1) % keep
	}
	if l.out == nil {
		return
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	if err != nil {
		l.log.Error("Writing the request log failed", "err", err)
	}
}

// Entries returns the last requests, oldest first.
func (l *Log) Entries() []Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(l.entries[l.next:], l.entries[:l.next])
}

// Counts returns how often each action was called, sorted.
func (l *Log) Counts() []Count {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]Count, 0, len(l.counts))
	for c, n := range l.counts {
		c.Calls = n
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Count) int {
		return strings.Compare(a.Service+"|"+a.Action+"|"+a.Node+"|"+a.Code, b.Service+"|"+b.Action+"|"+b.Node+"|"+b.Code)
	})
	return out
}

// Redact flattens parameters for the log, without what authenticates.
func Redact(values url.Values) map[string]string {
	out := map[string]string{}
	for k, v := range values {
		if k == "Action" || k == "Version" {
			continue
		}
		if strings.HasPrefix(k, "X-Amz-") {
			out[k] = "redacted"
			continue
		}
		out[k] = strings.Join(v, ",")
	}
	return out
}
