package walks

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

// Walk is one numbered way of a packet.
type Walk struct {
	Number string
	What   string
	run    func(context.Context, *World) ([]Step, error)
}

// Step is one probe of a walk.
type Step struct {
	From, To string
	Saw      string
	Want     string // empty if it was as it must be
}

// Run walks and returns each step. The error joins what was not as it must be.
func (w Walk) Run(ctx context.Context, world *World) ([]Step, error) {
	steps, err := w.run(ctx, world)
	if err != nil {
		return steps, fmt.Errorf("%s: %w", w.Number, err)
	}
	for _, s := range steps {
		if s.Want != "" {
			return steps, fmt.Errorf("%s: %s -> %s: saw %s, want %s", w.Number, s.From, s.To, s.Saw, s.Want)
		}
	}
	return steps, nil
}

// Repeat is how often each probe asks: more packets than a link sees by chance.
const Repeat = 20

// caller starts a probe: a pod or a node.
type caller interface {
	Probe(ctx context.Context, proto string, target netip.AddrPort, count int) ([]harness.Answer, error)
}

// way is one probe and what must be seen.
type way struct {
	from       caller
	fromSite   *Site
	fromName   string
	to         netip.Addr
	toSite     *Site // nil if outside the nodes
	toName     string
	source     netip.Addr // that the far end must see
	out        string     // ENI of fromSite by which requests leave and answers come; "" for none
	in         string     // ENI of toSite by which they arrive and answers leave
	randomPort bool       // the source port must be translated at random
}

func (x way) walk(ctx context.Context, proto string) (Step, error) {
	step := Step{From: x.fromName, To: fmt.Sprintf("%s/%s", x.toName, proto)}
	before, err := x.snapshot(ctx)
	if err != nil {
		return step, err
	}
	answers, err := x.from.Probe(ctx, proto, netip.AddrPortFrom(x.to, harness.Port), Repeat)
	if err != nil {
		return step, err
	}
	after, err := x.snapshot(ctx)
	if err != nil {
		return step, err
	}
	var wrong []string
	for _, a := range answers {
		step.Saw = "source " + a.Source.Addr().String()
		if a.Source.Addr() != x.source {
			wrong = append(wrong, "source "+x.source.String())
			break
		}
	}
	if x.randomPort {
		step.Saw += fmt.Sprintf(", port %d for %d", answers[0].Source.Port(), answers[0].Client.Port())
		wrong = append(wrong, predictable(answers)...)
	}
	out, in := before[0].used(after[0], Repeat)
	step.Saw += by(", out by ", out) + by(", answers in by ", in)
	if out != x.out || in != x.out {
		wrong = append(wrong, fmt.Sprintf("out and in by %q alone; packets: %s", x.out, before[0].passed(after[0])))
	}
	if x.toSite != nil && x.toSite != x.fromSite {
		farOut, farIn := before[1].used(after[1], Repeat)
		step.Saw += by(", arrives by ", farIn) + by(", answer leaves by ", farOut)
		if farIn != x.in || farOut != x.in {
			wrong = append(wrong, fmt.Sprintf("arrival and answer by %q alone; packets: %s", x.in, before[1].passed(after[1])))
		}
	}
	step.Want = strings.Join(wrong, "; ")
	return step, nil
}

// predictable complains about source ports that were kept, or that follow one
// another as they do without random translation.
func predictable(answers []harness.Answer) []string {
	kept, close := 0, 0
	for i, a := range answers {
		if a.Source.Port() == a.Client.Port() {
			kept++
		}
		if i > 0 && abs(int(a.Source.Port())-int(answers[i-1].Source.Port())) < 8 {
			close++
		}
	}
	if kept > len(answers)/4 || close > len(answers)/4 {
		return []string{fmt.Sprintf("random source ports (%d of %d kept, %d next to the one before)", kept, len(answers), close)}
	}
	return nil
}

func abs(n int) int { return max(n, -n) }

func by(text, link string) string {
	if link == "" {
		return ""
	}
	return text + link
}

func (x way) snapshot(ctx context.Context) (both [2]links, err error) {
	for i, s := range []*Site{x.fromSite, x.toSite} {
		if s == nil {
			continue
		}
		if both[i], err = s.links(ctx); err != nil {
			return both, err
		}
	}
	return both, nil
}

// all walks each way by TCP and by UDP.
func all(ctx context.Context, ways ...way) ([]Step, error) {
	var steps []Step
	for _, x := range ways {
		for _, proto := range []string{"tcp", "udp"} {
			step, err := x.walk(ctx, proto)
			if err != nil {
				return steps, fmt.Errorf("%s -> %s by %s: %w", x.fromName, x.toName, proto, err)
			}
			steps = append(steps, step)
		}
	}
	return steps, nil
}

// link is the device of a pod's ENI.
func link(p *harness.Pod) string { return fmt.Sprintf("eth%d", p.Device) }

// podToPod names ends as the walks do.
func podToPod(a *Site, from *harness.Pod, b *Site, to *harness.Pod) way {
	x := way{from: from, fromSite: a, fromName: from.Name + " " + from.IP.String(), to: to.IP, toSite: b,
		toName: to.Name + " " + to.IP.String(), source: from.IP}
	if a != b {
		x.out, x.in = link(from), link(to)
	}
	return x
}

func nodeToPod(a *Site, b *Site, to *harness.Pod) way {
	x := way{from: a.Node, fromSite: a, fromName: a.Node.Name + " " + a.Primary.String(), to: to.IP, toSite: b,
		toName: to.Name + " " + to.IP.String(), source: a.Primary}
	if a != b {
		x.out, x.in = "eth0", link(to)
	}
	return x
}

func podToNode(a *Site, from *harness.Pod, b *Site) way {
	x := way{from: from, fromSite: a, fromName: from.Name + " " + from.IP.String(), to: b.Primary, toSite: b,
		toName: b.Node.Name + " " + b.Primary.String(), source: from.IP}
	if a != b {
		x.out, x.in = link(from), "eth0"
	}
	return x
}
