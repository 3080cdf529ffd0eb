package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Answer is what the far end of a probe saw.
type Answer struct {
	Source netip.AddrPort `json:"source"`
	Local  netip.AddrPort `json:"local"`
	Client netip.AddrPort `json:"client"` // the caller's own end, before any translation
	RTT    time.Duration  `json:"rtt_ns"` // from before the connection was made
	Error  string         `json:"error"`  // why there was none; "" if there was one
}

// Fate is what became of a packet.
type Fate string

// The fates. Refused is that the caller was told: by a TCP reset, or by an ICMP
// port unreachable. Forbidden is what a program hears whose own kernel refuses
// or drops its datagram; it cannot tell which.
const (
	Answered  Fate = "answered"
	Refused   Fate = "refused"
	Silence   Fate = "silence"
	Forbidden Fate = "forbidden"
	Failed    Fate = "failed" // in another way
)

// Fate tells what became of the probe.
func (a Answer) Fate() Fate {
	switch {
	case a.Error == "":
		return Answered
	case strings.Contains(a.Error, "connection refused"):
		return Refused
	case strings.Contains(a.Error, "timeout"), strings.Contains(a.Error, "no answer within"):
		return Silence
	case strings.Contains(a.Error, "operation not permitted"):
		return Forbidden
	}
	return Failed
}

// Prober sends probes from a place of the simulated world.
type Prober struct {
	lab    *Lab
	where  string
	prefix []string // of the command that probes
}

// From is a Prober outside the nodes: in "internet" or "peer".
func (l *Lab) From(place string) Prober { return Prober{lab: l, where: place} }

// Prober is one that sends from a process of the node.
func (n *Node) Prober() Prober { return Prober{lab: n.lab, where: n.Name} }

// Prober is one that sends from the pod.
func (p *Pod) Prober() Prober { return Prober{lab: p.Node.lab, where: p.Node.Name, prefix: p.inside()} }

// Try asks an echo server over tcp, udp or http count times, each on a
// connection of its own and for at most wait, and returns what became of each,
// up to the first that was not answered.
func (p Prober) Try(ctx context.Context, proto string, target netip.AddrPort, count int, wait time.Duration) ([]Answer, error) {
	args := append(append([]string{}, p.prefix...), p.lab.bins.Vpcsim, "probe", proto, target.String(),
		"--json", "--fail-fast", "--count", fmt.Sprint(count), "--timeout", wait.String())
	out, failure := p.lab.Exec(ctx, p.where, args...) // it fails if a probe does
	var answers []Answer
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); {
		var a Answer
		if err := decoder.Decode(&a); err != nil {
			return nil, fmt.Errorf("reading the probe's answer %q: %w", out, err)
		}
		answers = append(answers, a)
	}
	if len(answers) == 0 || len(answers) < count && answers[len(answers)-1].Fate() == Answered {
		return nil, fmt.Errorf("%d results from %s over %s, want %d: %w", len(answers), target, proto, count, failure)
	}
	return answers, nil
}

// probeTimeout is how long Probe waits for each answer.
const probeTimeout = 3 * time.Second

// Probe is Try that demands answers.
func (p Prober) Probe(ctx context.Context, proto string, target netip.AddrPort, count int) ([]Answer, error) {
	answers, err := p.Try(ctx, proto, target, count, probeTimeout)
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		if a.Fate() != Answered {
			return nil, fmt.Errorf("probing %s over %s: %s", target, proto, a.Error)
		}
	}
	return answers, nil
}
