package health

import (
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/proxy/service"
)

// State is what is known of the health of the node. All methods are safe for
// concurrent use.
type State struct {
	late time.Duration
	now  func() time.Time

	mu   sync.Mutex
	node *service.Node
	// When the oldest change came that waits, and the oldest that is being
	// written; zero: none.
	queued, writing time.Time
	synced          time.Time
}

// NewState returns the state of a node that has nothing to write. It is
// unhealthy when a change waits for longer than late; kube-proxy's is a minute.
func NewState(late time.Duration, now func() time.Time) *State {
	return &State{late: late, now: now, synced: now()}
}

// Queued tells that a change waits to be written.
func (s *State) Queued() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queued.IsZero() {
		s.queued = s.now()
	}
}

// Begun tells that what waits is being written from now on.
func (s *State) Begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writing.IsZero() {
		s.writing = s.queued
	}
	s.queued = time.Time{}
}

// Synced tells that what was being written is.
func (s *State) Synced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing, s.synced = time.Time{}, s.now()
}

// Idle tells that there was nothing to write.
func (s *State) Idle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writing = time.Time{}
}

// Failed tells that what was being written waits again.
func (s *State) Failed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writing.IsZero() {
		s.queued, s.writing = s.writing, time.Time{}
	}
}

// SetNode tells of this node's Node; nil: there is none.
func (s *State) SetNode(n *service.Node) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.node = n
}

// leaving are the taints of nodes that are about to go: cluster-autoscaler's,
// and Karpenter's by its present and its former name.
var leaving = []string{"ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption"}

// eligible says whether balancers may send new connections here.
func (s *State) eligible() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.node != nil && !s.node.Deleting &&
		!slices.ContainsFunc(s.node.Taints, func(t string) bool { return slices.Contains(leaving, t) })
}

// Healthy says whether changes are written in time.
func (s *State) Healthy() bool { return s.report().Healthy }

// report is the body of an answer, in kube-proxy's words.
type report struct {
	LastUpdated  time.Time         `json:"lastUpdated"`
	CurrentTime  time.Time         `json:"currentTime"`
	NodeEligible *bool             `json:"nodeEligible,omitempty"`
	Healthy      bool              `json:"healthy"`
	Status       map[string]family `json:"status,omitempty"`
}

type family struct {
	LastUpdated time.Time `json:"lastUpdated"`
	Healthy     bool      `json:"healthy"`
}

// report is of both families, which are written together. While all is well
// the last update is now, as it always was with kube-proxy.
func (s *State) report() report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	inTime := func(since time.Time) bool { return since.IsZero() || now.Sub(since) < s.late }
	healthy := inTime(s.queued) && inTime(s.writing)
	each := family{s.synced, healthy}
	r := report{LastUpdated: s.synced, CurrentTime: now, Healthy: healthy, Status: map[string]family{"IPv4": each, "IPv6": each}}
	if healthy {
		r.LastUpdated = now
	}
	return r
}
