package kubeapi

import (
	"fmt"
	"net/http"
)

// Status is how the API says that something failed.
type Status struct {
	Kind       string         `json:"kind"`
	APIVersion string         `json:"apiVersion"`
	Metadata   map[string]any `json:"metadata"`
	Status     string         `json:"status"`
	Message    string         `json:"message,omitempty"`
	Reason     string         `json:"reason,omitempty"`
	Details    *Details       `json:"details,omitempty"`
	Code       int            `json:"code,omitempty"`
}

// Details say which object a Status is about.
type Details struct {
	Name              string `json:"name,omitempty"`
	Group             string `json:"group,omitempty"`
	Kind              string `json:"kind,omitempty"`
	RetryAfterSeconds int    `json:"retryAfterSeconds,omitempty"`
}

// Error is the message.
func (s *Status) Error() string { return s.Message }

func failure(code int, reason, format string, args ...any) *Status {
	return &Status{
		Kind: "Status", APIVersion: "v1", Metadata: map[string]any{}, Status: "Failure",
		Message: fmt.Sprintf(format, args...), Reason: reason, Code: code,
	}
}

func (s *Status) about(r resource, name string) *Status {
	s.Details = &Details{Name: name, Group: r.Group, Kind: r.Plural}
	return s
}

func notFound(r resource, name string) *Status {
	return failure(http.StatusNotFound, "NotFound", "%s %q not found", r, name).about(r, name)
}

func alreadyExists(r resource, name string) *Status {
	return failure(http.StatusConflict, "AlreadyExists", "%s %q already exists", r, name).about(r, name)
}

func conflict(r resource, name string) *Status {
	return failure(http.StatusConflict, "Conflict",
		"Operation cannot be fulfilled on %s %q: the object has been modified; please apply your changes to the latest version and try again", r, name).about(r, name)
}

func invalid(r resource, name, format string, args ...any) *Status {
	return failure(http.StatusUnprocessableEntity, "Invalid", "%s %q is invalid: %s", r, name, fmt.Sprintf(format, args...)).about(r, name)
}

// expired is the answer to a version of which the history is gone.
func expired(asked, oldest uint64) *Status {
	return failure(http.StatusGone, "Expired", "too old resource version: %d (%d)", asked, oldest)
}
