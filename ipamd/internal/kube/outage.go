package kube

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// outage says once that the API cannot be reached, and once that it can be
// again, however many watches find out and however often they try.
type outage struct {
	server string
	log    *slog.Logger

	mu      sync.Mutex
	failing map[string]bool // resources whose last request failed
	said    map[string]bool // causes that were said in this outage
	since   time.Time
}

func newOutage(server string, log *slog.Logger) *outage {
	return &outage{server: server, log: log, failing: map[string]bool{}, said: map[string]bool{}}
}

// report notes how a request for a resource ended.
func (o *outage) report(resource string, err error) {
	if errors.Is(err, context.Canceled) || isAnswer(err) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.recovered(resource)
		return
	}
	if len(o.failing) == 0 {
		o.since = time.Now()
	}
	o.failing[resource] = true
	if c := cause(resource, err); !o.said[c] {
		o.said[c] = true
		o.log.Error("the Kubernetes API cannot be read, all stays as it is", "server", o.server, "resource", resource, "error", err)
	}
}

func (o *outage) recovered(resource string) {
	if !o.failing[resource] {
		return
	}
	delete(o.failing, resource)
	if len(o.failing) == 0 {
		clear(o.said)
		o.log.Info("the Kubernetes API can be read again", "server", o.server, "after", time.Since(o.since).Round(time.Millisecond))
	}
}

// isAnswer says whether the error is the server's way to say that it wants
// another request: a new list after an old version, or a list instead of a
// stream.
func isAnswer(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) ||
		apierrors.HasStatusCause(err, "ResourceVersionTooLarge")
}

// cause is the same for all that has one cause: a server that is away is away
// for all resources, what it refuses it refuses for each.
func cause(resource string, err error) string {
	if reason := apierrors.ReasonForError(err); reason != "" {
		return resource + " " + string(reason)
	}
	return ""
}
