// Package budget says when a node may make its next EC2 call. EC2 has a token
// bucket for each action, which all callers of an account and region share, and
// tells nobody how full it is. So each node keeps a smaller bucket for each
// action, and learns: a throttled answer means that more nodes call than the
// account can serve, and cuts the node's rate; answers without one let it
// recover. A node that is told how many others start with it takes its place
// among them before anything is throttled.
//
// It makes no call, waits for nothing and has no clock. It is not safe for
// concurrent use.
//
// Invariants: a rate is never over the ceiling of its class, and not cut below
// its floor; a wait that was answered is enough, unless a throttled answer came since; no
// node makes more calls than its burst and its ceiling allow.
package budget

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Settings of a Budget. The zero value is that of one node among a fleet.
type Settings struct {
	// Account is what EC2 grants the account for one action; nil is Documented.
	Account func(Class) Limit
	// Burst and Rate are the parts of it that one node takes at most: of the
	// bucket at once, and of its refill. 0 is a tenth, and a fifth.
	Burst, Rate float64
	// Cut is by how much a throttled answer reduces the rate; 0 is to a half.
	Cut float64
	// Recovery is how long it takes from no rate at all to the ceiling; 0 is
	// five minutes.
	Recovery time.Duration
	// Smallest is the part of the account's refill below which a rate is not
	// cut; 0 is one in 500.
	Smallest float64
}

func (s Settings) withDefaults() Settings {
	if s.Account == nil {
		s.Account = Documented
	}
	for _, d := range []struct {
		of    *float64
		value float64
	}{{&s.Burst, 0.1}, {&s.Rate, 0.2}, {&s.Cut, 0.5}, {&s.Smallest, 1.0 / 500}} {
		if *d.of == 0 {
			*d.of = d.value
		}
	}
	if s.Recovery == 0 {
		s.Recovery = 5 * time.Minute
	}
	return s
}

// Budget is that of one node. See New.
type Budget struct {
	settings Settings
	random   *rand.Rand
	place    float64 // of this node among those that start with it, 0 to 1
	crowd    int     // how many start with it, as it was told
	joined   time.Time
	buckets  map[string]*bucket
}

// bucket is what is known of one action.
type bucket struct {
	rate      float64   // tokens per second
	tokens    float64   // as of at
	at        time.Time // none are given before it
	heard     time.Time // when the rate was last reckoned
	turns     bool      // it is shared with those that started together
	refused   int       // throttled answers in a row, but for those that came together
	throttled int       // and all there were
}

// New returns a budget that knows of no others. random spreads nodes: it must
// not be the same for two of them.
func New(s Settings, random *rand.Rand) *Budget {
	return &Budget{settings: s.withDefaults(), random: random, place: random.Float64(), buckets: map[string]*bucket{}}
}

// ceiling and floor bound the rate of a class, in calls per second.
func (b *Budget) ceiling(c Class) float64 { return b.settings.Account(c).Refill * b.settings.Rate }
func (b *Budget) floor(c Class) float64   { return b.settings.Account(c).Refill * b.settings.Smallest }

// burst is how many calls a rested node makes at once.
func (b *Budget) burst(c Class) float64 {
	return max(1, math.Floor(b.settings.Account(c).Size*b.settings.Burst))
}

func (b *Budget) of(action string, now time.Time) *bucket {
	if known := b.buckets[action]; known != nil {
		return known
	}
	c := ClassOf(action)
	made := &bucket{rate: b.ceiling(c), tokens: b.burst(c), at: now, heard: now}
	if spread := b.spread(c); spread > 0 {
		// Its turn is when the nodes before it have been served. If it needs
		// more than the others, that comes when all were.
		made.turns, made.rate = true, min(made.rate, share*b.settings.Account(c).Refill/(calls(c)*float64(b.crowd)))
		made.tokens, made.at, made.heard = min(made.tokens, calls(c)), b.joined.Add(time.Duration(b.place*float64(spread))), b.joined.Add(spread)
	}
	b.buckets[action] = made
	return made
}

// Join tells of so many nodes, this one among them, that start at this moment:
// their calls of one action are spread over the time that EC2 takes to serve
// all, in the same order for all actions. It counts for actions that were not
// called for yet. Where EC2's buckets hold enough for all, nothing waits.
func (b *Budget) Join(nodes int, now time.Time) { b.crowd, b.joined = nodes, now }

// calls is how often a node that starts calls for each action: it looks for what
// it has and for what a predecessor left, and at an ENI on its way; and what it
// needs, it asks for at once.
func calls(c Class) float64 {
	if c == Describe {
		return 4
	}
	return 1
}

// spread is how long EC2 takes to serve the nodes that start together, with a
// quarter of its bucket in reserve for those that come in a bunch.
func (b *Budget) spread(c Class) time.Duration {
	account := b.settings.Account(c)
	if short := float64(b.crowd)*calls(c) - account.Size*3/4; short > 0 {
		return time.Duration(short / (account.Refill * share) * float64(time.Second))
	}
	return 0
}

// share is how much of the account's refill those that start together plan to
// use. An empty bucket refuses what comes in a bunch, and there may be a few
// more of them than they know.
const share = 0.95

// Take takes a token for a call of an action, such as "CreateNetworkInterface",
// that is made now. If there is none, it takes nothing and returns how long it
// is until there is one.
func (b *Budget) Take(action string, now time.Time) (wait time.Duration) {
	k := b.of(action, now)
	if k.at.After(now) {
		return k.at.Sub(now)
	}
	k.tokens = min(b.burst(ClassOf(action)), k.tokens+k.rate*now.Sub(k.at).Seconds())
	k.at = now
	if short := 1 - k.tokens; short > rounding {
		return time.Duration(math.Ceil(short / k.rate * float64(time.Second)))
	}
	k.tokens = max(0, k.tokens-1)
	return 0
}

// rounding is the part of a token that may be lost to it.
const rounding = 1e-6

// Throttled books an answer that said so. Of answers to calls that were on
// their way together, one counts.
func (b *Budget) Throttled(action string, now time.Time) {
	k, c := b.of(action, now), ClassOf(action)
	k.throttled++
	if k.at.After(now) {
		return
	}
	// The account's bucket is empty, so others call as much as it holds: the
	// first pause is as long as it takes to fill a quarter of it, on average.
	account := b.settings.Account(c)
	crowded := 4 * account.Refill / account.Size
	k.rate = max(min(k.rate, b.floor(c)), min(k.rate*b.settings.Cut, crowded))
	pace := k.rate
	if k.turns { // so do the others: it was one of a few calls too many
		pace = crowded * math.Pow(b.settings.Cut, float64(k.refused))
	}
	k.refused++
	// Those that were refused together come again spread over twice that time.
	pause := 2 * b.random.Float64() / max(pace, b.floor(c))
	k.tokens, k.at, k.heard = 1, now.Add(time.Duration(pause*float64(time.Second))), now
}

// Succeeded books an answer that came from behind the account's bucket,
// whatever it was: the rate grows with the time since it was last reckoned.
func (b *Budget) Succeeded(action string, now time.Time) {
	k, ceiling := b.of(action, now), b.ceiling(ClassOf(action))
	k.refused = 0
	if now.After(k.heard) {
		k.rate = min(ceiling, k.rate+ceiling*now.Sub(k.heard).Seconds()/b.settings.Recovery.Seconds())
		k.heard = now
		k.turns = k.turns && k.rate < ceiling
	}
}

// State is the budget of one action, for metrics.
type State struct {
	Action    string
	Rate      float64   // calls per second that the node may make now
	Ceiling   float64   // and when nothing is throttled
	Next      time.Time // when the next call may be made: past, if that is at once
	Throttled int       // answers so far
}

// State is that of all actions that were called for, by name.
func (b *Budget) State() []State {
	var out []State
	for action, k := range b.buckets {
		next := k.at
		if k.tokens < 1 {
			next = next.Add(time.Duration((1 - k.tokens) / k.rate * float64(time.Second)))
		}
		out = append(out, State{action, k.rate, b.ceiling(ClassOf(action)), next, k.throttled})
	}
	slices.SortFunc(out, func(x, y State) int { return strings.Compare(x.Action, y.Action) })
	return out
}
