package fault

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/glob"
)

// Engine holds the rules in force and counts the calls that they match. It is
// safe for concurrent use.
type Engine struct {
	mu    sync.Mutex
	rng   *rand.Rand
	next  int
	rules []*counted
}

type counted struct {
	rule  Rule
	added time.Time
	seen  int // calls that matched within the window
	fired int
}

// State is a rule in force and how often it met calls.
type State struct {
	Rule  Rule `json:"rule"`
	Seen  int  `json:"seen"`  // calls that Node, Action and Window matched
	Fired int  `json:"fired"` // calls that it spoiled
}

// Decision is what happens to one call, and the rules that made it so.
type Decision struct {
	Effect
	Rules []string
}

// NewEngine returns an engine without rules; seed drives Probability.
func NewEngine(seed uint64) *Engine {
	return &Engine{rng: rand.New(rand.NewPCG(seed, 0xfa017))}
}

// Add puts rules in force and returns their ids; windows begin now. Either all
// are added or none.
func (e *Engine) Add(rules ...Rule) ([]string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next, fresh, ids := e.next, []*counted{}, []string{}
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			return nil, fmt.Errorf("adding fault rule %q: %w", r.ID, err)
		}
		if r.ID == "" {
			next++
			r.ID = fmt.Sprintf("f%d", next)
		}
		if e.find(r.ID) >= 0 || slices.Contains(ids, r.ID) {
			return nil, fmt.Errorf("adding fault rule %q: the id is taken: choose another or leave it empty", r.ID)
		}
		fresh = append(fresh, &counted{rule: r, added: time.Now()})
		ids = append(ids, r.ID)
	}
	e.next, e.rules = next, append(e.rules, fresh...)
	return ids, nil
}

// List returns the rules in force in the order of their adding.
func (e *Engine) List() []State {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]State, 0, len(e.rules))
	for _, c := range e.rules {
		out = append(out, State{c.rule, c.seen, c.fired})
	}
	return out
}

// Clear removes the named rules, or all of them if none is named.
func (e *Engine) Clear(ids ...string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(ids) == 0 {
		e.rules = nil
		return nil
	}
	for _, id := range ids {
		if e.find(id) < 0 {
			return fmt.Errorf("clearing fault rule %q: there is no rule with this id", id)
		}
	}
	e.rules = slices.DeleteFunc(e.rules, func(c *counted) bool { return slices.Contains(ids, c.rule.ID) })
	return nil
}

// Decide counts one call by the node under any of its names (action, path) and
// returns the merged effects of the rules that fire. The caller is "" when it
// is not a node.
func (e *Engine) Decide(node string, names ...string) Decision {
	e.mu.Lock()
	defer e.mu.Unlock()
	var d Decision
	now := time.Now()
	for _, c := range e.rules {
		if c.matches(node, names, now) && c.fires(e.rng) {
			d.Effect = d.Merge(c.rule.Effect)
			d.Rules = append(d.Rules, c.rule.ID)
		}
	}
	return d
}

// Away says whether a rule in force takes away what has these names, for the
// node. It counts nothing: what is away stays so between calls.
func (e *Engine) Away(node string, names ...string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	return slices.ContainsFunc(e.rules, func(c *counted) bool {
		return c.rule.Effect.Away && c.matches(node, names, now)
	})
}

func (e *Engine) find(id string) int {
	return slices.IndexFunc(e.rules, func(c *counted) bool { return c.rule.ID == id })
}

func (c *counted) matches(node string, names []string, now time.Time) bool {
	r := &c.rule
	if r.Node != "" && !glob.Match(r.Node, node) {
		return false
	}
	if !r.Window.has(now.Sub(c.added)) {
		return false
	}
	return slices.ContainsFunc(names, func(n string) bool { return serviceOf(n) == serviceOf(r.Action) && glob.Match(r.Action, n) })
}

// fires counts a matching call and says whether this one goes wrong.
func (c *counted) fires(rng *rand.Rand) bool {
	r := &c.rule
	c.seen++
	switch {
	case r.Times > 0 && c.fired >= r.Times,
		r.Nth > 0 && c.seen != r.Nth,
		r.Every > 0 && c.seen%r.Every != 0,
		r.Probability > 0 && rng.Float64() >= r.Probability:
		return false
	}
	c.fired++
	return true
}
