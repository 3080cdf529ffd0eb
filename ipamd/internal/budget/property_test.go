package budget

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWalks takes random budgets through random calls, answers and times, and
// holds the invariants of the package.
func TestWalks(t *testing.T) {
	actions := []string{create, attach, read, "CreateTags", "UnassignPrivateIpAddresses"}
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 1))
		b, twin := New(Settings{}, seeded(seed)), New(Settings{}, seeded(seed))
		nodes := 1
		if seed%3 == 0 {
			nodes = 1 + random.IntN(5000)
			b.Join(nodes, start)
			twin.Join(nodes, start)
		}
		now := start
		taken := map[string][]time.Time{}
		for range 400 {
			action := actions[random.IntN(len(actions))]
			now = now.Add(time.Duration(random.ExpFloat64() * float64(time.Second)))
			switch random.IntN(8) {
			case 0:
				b.Throttled(action, now)
				twin.Throttled(action, now)
			case 1, 2:
				b.Succeeded(action, now)
				twin.Succeeded(action, now)
			default:
				wait := b.Take(action, now)
				if other := twin.Take(action, now); other != wait {
					t.Fatalf("seed %d: the same budget waits %s, then %s", seed, wait, other)
				}
				if wait > 0 && random.IntN(2) == 0 {
					now = now.Add(wait)
					if more := b.Take(action, now); more != 0 {
						t.Fatalf("seed %d: %s for %s was not enough: %s more", seed, wait, action, more)
					}
					twin.Take(action, now)
					wait = 0
				}
				if wait == 0 {
					taken[action] = append(taken[action], now)
				}
			}
			for _, s := range b.State() {
				c := ClassOf(s.Action)
				if low := min(b.floor(c), share*Documented(c).Refill/(calls(c)*float64(nodes))); s.Rate < low || s.Rate > s.Ceiling {
					t.Fatalf("seed %d: %s at %v/s, want %v to %v", seed, s.Action, s.Rate, low, s.Ceiling)
				}
			}
		}
		if diff := cmp.Diff(b.State(), twin.State()); diff != "" {
			t.Fatalf("seed %d: the same budget (-one +other)\n%s", seed, diff)
		}
		for action, times := range taken {
			holdsCeiling(t, b, action, times)
		}
	}
}

// holdsCeiling says that between any two calls there were no more than a
// rested node makes.
func holdsCeiling(t *testing.T, b *Budget, action string, times []time.Time) {
	t.Helper()
	c := ClassOf(action)
	for i := range times {
		for j := i; j < len(times); j++ {
			// One more for the token that a pause ends with.
			allowed := 1 + b.burst(c) + b.ceiling(c)*times[j].Sub(times[i]).Seconds()
			if float64(j-i+1) > allowed+1e-6 {
				t.Fatalf("%s: %d calls in %s, want at most %v", action, j-i+1, times[j].Sub(times[i]), allowed)
			}
		}
	}
}
