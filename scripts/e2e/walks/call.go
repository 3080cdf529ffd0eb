package walks

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// client is who calls a service.
type client struct {
	harness.Prober
	name string
	addr netip.Addr // its own address
	site *Site      // nil outside the nodes
}

func pod(s *Site, p *harness.Pod) client {
	return client{p.Prober(), p.Name + " " + p.IP.String(), p.IP, s}
}

func process(s *Site) client {
	return client{s.Node.Prober(), s.Node.Name + " " + s.Primary.String(), s.Primary, s}
}

func abroadAt(w *World, place string, addr netip.Addr) client {
	return client{w.Lab.From(place), place + " " + addr.String(), addr, nil}
}

// call is a client that calls a front end, and what must come of it.
type call struct {
	from   client
	to     netip.AddrPort
	name   string   // of the front end
	protos []string // default: tcp and udp
	count  int      // of connections; default: 15 for each endpoint, so that none is missed by chance
	fate   harness.Fate
	pods   []*harness.Pod // that must all be reached, and no others
	source netip.Addr     // that they must see; the zero value is the client's own
	or     netip.Addr     // another source that they may see
	shares bool           // the endpoints must have equal ones
	one    bool           // all connections must reach the same one of the pods
	some   bool           // not all of the pods must be reached
	// by, if it is set, is whose ENI must carry all requests in and all
	// answers out.
	by  *Site
	eni string
}

// slow is what takes longer than a first packet that is answered: TCP sends
// the second after a second.
const slow = 900 * time.Millisecond

// patience is how long a call waits for an answer that must not come.
const patience = 400 * time.Millisecond

func (c call) walk(ctx context.Context, proto string) (Step, error) {
	if c.fate == "" {
		c.fate = harness.Answered
	}
	if c.count == 0 {
		c.count = max(15*len(c.pods), 1)
	}
	if !c.source.IsValid() {
		c.source = c.from.addr
	}
	step := Step{From: c.from.name, To: fmt.Sprintf("%s %s/%s", c.name, c.to, proto)}
	wait := 3 * time.Second
	if c.fate != harness.Answered {
		wait = patience
	}
	before, err := c.links(ctx)
	if err != nil {
		return step, err
	}
	answers, err := c.from.Try(ctx, proto, c.to, c.count, wait)
	if err != nil {
		return step, err
	}
	after, err := c.links(ctx)
	if err != nil {
		return step, err
	}
	saw, wrong := c.judge(answers)
	if c.by != nil {
		out, in := before.used(after, uint64(c.count))
		saw += by(", in by ", in) + by(", out by ", out)
		if in != c.eni || out != c.eni {
			wrong = append(wrong, fmt.Sprintf("in and out by %q", c.eni))
		}
	}
	step.Saw, step.Want = saw, strings.Join(wrong, "; ")
	return step, nil
}

func (c call) links(ctx context.Context) (links, error) {
	if c.by == nil {
		return nil, nil
	}
	return c.by.links(ctx)
}

// judge says what was seen, and what should have been instead.
func (c call) judge(answers []harness.Answer) (saw string, wrong []string) {
	fates, counts, sources := map[harness.Fate]int{}, map[netip.Addr]int{}, map[netip.Addr]bool{}
	for _, a := range answers {
		fates[a.Fate()]++
		switch {
		case a.Fate() == harness.Forbidden && c.fate != harness.Answered: // refused or dropped by the client's own node
		case a.Fate() != harness.Answered && a.Fate() != c.fate:
			wrong = append(wrong, fmt.Sprintf("%s, but: %s", c.fate, a.Error))
		case a.Fate() == harness.Refused && a.RTT > patience/2:
			wrong = append(wrong, fmt.Sprintf("refused at once, not after %s", a.RTT))
		case a.Fate() == harness.Answered && a.RTT > slow:
			wrong = append(wrong, fmt.Sprintf("answered on the first packet, not after %s", a.RTT))
		}
		if a.Fate() == harness.Answered {
			counts[a.Local.Addr()]++
			sources[a.Source.Addr()] = true
		}
	}
	if c.fate != harness.Answered {
		if len(counts) > 0 {
			wrong = append(wrong, string(c.fate))
		}
		return tally(fates), first(wrong)
	}
	for a := range sources {
		if a != c.source && a != c.or {
			wrong = append(wrong, "source "+c.source.String())
		}
	}
	wrong = append(wrong, c.endpoints(counts)...)
	if len(counts) == 0 {
		return tally(fates), first(wrong)
	}
	return fmt.Sprintf("%s; source %s", c.shown(counts), tally(sources)), first(wrong)
}

// first keeps what is said once of many.
func first(wrong []string) []string { return wrong[:min(len(wrong), 3)] }

// endpoints compares who was reached with who should have been.
func (c call) endpoints(counts map[netip.Addr]int) (wrong []string) {
	want := map[netip.Addr]bool{}
	for _, p := range c.pods {
		want[p.IP] = true
		if n := counts[p.IP]; n == 0 && !c.one && !c.some {
			wrong = append(wrong, p.Name+" reached")
		} else if c.shares {
			wrong = append(wrong, unfair(p, n, c.count, len(c.pods))...)
		}
	}
	for a := range counts {
		if !want[a] {
			wrong = append(wrong, "nobody at "+a.String())
		}
	}
	if c.one && len(counts) > 1 {
		wrong = append(wrong, "one endpoint")
	}
	return wrong
}

// unfair complains about a share that chance does not explain: by more than
// five standard deviations.
func unfair(p *harness.Pod, n, of, among int) []string {
	share := 1 / float64(among)
	mean := float64(of) * share
	if math.Abs(float64(n)-mean) <= 5*math.Sqrt(mean*(1-share)) {
		return nil
	}
	return []string{fmt.Sprintf("about %.0f connections to %s, not %d", mean, p.Name, n)}
}

// shown names the pods that were reached, with their counts.
func (c call) shown(counts map[netip.Addr]int) string {
	var words []string
	for a, n := range counts {
		name := a.String()
		for _, p := range c.pods {
			if p.IP == a {
				name = p.Name
			}
		}
		words = append(words, fmt.Sprintf("%s %d", name, n))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

func tally[K comparable, V any](m map[K]V) string {
	var words []string
	for k := range m {
		words = append(words, fmt.Sprint(k))
	}
	slices.Sort(words)
	return strings.Join(words, ", ")
}

// calls makes each call over each of its protocols.
func calls(ctx context.Context, all ...call) (steps []Step, err error) {
	for _, c := range all {
		protos := c.protos
		if protos == nil {
			protos = []string{"tcp", "udp"}
		}
		for _, proto := range protos {
			step, err := c.walk(ctx, proto)
			if err != nil {
				return steps, fmt.Errorf("%s -> %s by %s: %w", c.from.name, c.name, proto, err)
			}
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// with serves a service while do walks.
func with(ctx context.Context, w *World, s harness.Service, do func(harness.Served) ([]Step, error)) (steps []Step, err error) {
	served, err := w.Lab.Serve(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, served.Remove(ctx)) }()
	return do(served)
}
