package ec2

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"

	"github.com/causeway-cni/causeway/ipamd/internal/budget"
	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// gate lets each attempt of a call through when the budget has a token for it.
type gate struct {
	mu       sync.Mutex
	budget   *budget.Budget
	switches budget.Switches
}

func newGate(b *budget.Budget) *gate {
	if b == nil {
		b = budget.New(budget.Settings{}, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	}
	return &gate{budget: b}
}

// Join tells of so many nodes, this one among them, that start now: they take
// turns, instead of being throttled. See budget.Budget.
func (c *Cloud) Join(nodes int) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.gate.budget.Join(nodes, time.Now())
}

// Switch puts switches in force, for attempts that are yet to be made.
func (c *Cloud) Switch(s budget.Switches) {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.gate.switches = s
}

// Budget is what this node may ask of EC2 now, by action.
func (c *Cloud) Budget() []budget.State {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	return c.gate.budget.State()
}

// attempts passes each attempt through the gate, also those that the SDK makes
// by itself. Waiting is no part of what a Recorder is told, if it is recorded
// behind the gate.
func (g *gate) attempts(s *middleware.Stack) error {
	attempt := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
		action := awsmiddleware.GetOperationName(ctx)
		if err := g.pass(ctx, action); err != nil {
			return middleware.FinalizeOutput{}, middleware.Metadata{}, err
		}
		out, metadata, err := next.HandleFinalize(ctx, in)
		g.answered(action, err)
		return out, metadata, err
	}
	return s.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Budget", attempt), "Retry", middleware.After)
}

// pass waits for a token. It does not wait where that would leave the call less
// than half of the time that its context gives: the pool knows better what to
// ask for by then.
func (g *gate) pass(ctx context.Context, action string) error {
	for {
		wait, err := g.take(action)
		if err != nil || wait == 0 {
			return err
		}
		if end, ok := ctx.Deadline(); ok && wait > time.Until(end)/2 {
			// The same text until it is over, for logs: metrics have the wait.
			return notSent(codeBudget, "EC2 throttles this account: this node waits for its turn of %s", action)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (g *gate) take(action string) (wait time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if off := g.switches.Off(action); off != "" {
		return 0, notSent(codeSwitch, "the switch %q is on: %s was not called", off, action)
	}
	return g.budget.Take(action, time.Now()), nil
}

// answered tells the budget what an attempt says of the account's bucket; one
// without an answer says nothing.
func (g *gate) answered(action string, err error) {
	var api smithy.APIError
	answer := errors.As(err, &api)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case answer && classes[api.ErrorCode()] == pool.Throttled, httpStatus(err) == http.StatusTooManyRequests:
		g.budget.Throttled(action, time.Now())
	case answer && httpStatus(err) < http.StatusInternalServerError, err == nil:
		g.budget.Succeeded(action, time.Now())
	}
}

// Codes of errors that are ours: the call was not sent.
const (
	codeBudget = "BudgetSpent"
	codeSwitch = "SwitchedOff"
)

func notSent(code, text string, args ...any) error {
	return &smithy.GenericAPIError{Code: code, Message: fmt.Sprintf(text, args...), Fault: smithy.FaultClient}
}
