package walks

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/causeway-cni/causeway/scripts/e2e/harness"
)

var (
	self = netip.MustParseAddr("10.0.0.9")
	a    = &harness.Pod{Name: "a", IP: netip.MustParseAddr("10.0.0.1")}
	b    = &harness.Pod{Name: "b", IP: netip.MustParseAddr("10.0.0.2")}
)

func answer(p *harness.Pod, source netip.Addr) harness.Answer {
	return harness.Answer{Local: netip.AddrPortFrom(p.IP, 7), Source: netip.AddrPortFrom(source, 1000)}
}

func times(n int, answers ...harness.Answer) (out []harness.Answer) {
	for range n {
		out = append(out, answers...)
	}
	return out
}

// TestJudge has walks that must fail, and why.
func TestJudge(t *testing.T) {
	node := netip.MustParseAddr("10.0.0.5")
	both := []*harness.Pod{a, b}
	refused := harness.Answer{Error: "dial tcp: connect: connection refused"}
	silent := harness.Answer{Error: "dial tcp: i/o timeout"}
	for name, c := range map[string]struct {
		call    call
		answers []harness.Answer
		want    string // part of the complaint; "" for none
	}{
		"both reached":         {call{fate: harness.Answered, pods: both, source: self}, []harness.Answer{answer(a, self), answer(b, self)}, ""},
		"one missed":           {call{fate: harness.Answered, pods: both, source: self}, times(2, answer(a, self)), "b reached"},
		"one is enough":        {call{fate: harness.Answered, pods: both, source: self, some: true}, times(2, answer(a, self)), ""},
		"a stranger":           {call{fate: harness.Answered, pods: both[:1], source: self}, []harness.Answer{answer(a, self), answer(b, self)}, "nobody at 10.0.0.2"},
		"translated":           {call{fate: harness.Answered, pods: both[:1], source: self}, times(2, answer(a, node)), "source 10.0.0.9"},
		"translated by some":   {call{fate: harness.Answered, pods: both[:1], source: self}, []harness.Answer{answer(a, self), answer(a, node)}, "source 10.0.0.9"},
		"another source is ok": {call{fate: harness.Answered, pods: both[:1], source: self, or: node}, []harness.Answer{answer(a, self), answer(a, node)}, ""},
		"not sticky":           {call{fate: harness.Answered, pods: both, source: self, one: true}, []harness.Answer{answer(a, self), answer(b, self)}, "one endpoint"},
		"sticky":               {call{fate: harness.Answered, pods: both, source: self, one: true}, times(2, answer(a, self)), ""},
		"unequal":              {call{fate: harness.Answered, pods: both, source: self, shares: true, count: 100}, append(times(80, answer(a, self)), times(20, answer(b, self))...), "about 50 connections to a, not 80"},
		"equal":                {call{fate: harness.Answered, pods: both, source: self, shares: true, count: 100}, append(times(57, answer(a, self)), times(43, answer(b, self))...), ""},
		"second packet":        {call{fate: harness.Answered, pods: both[:1], source: self}, []harness.Answer{{Local: netip.AddrPortFrom(a.IP, 7), Source: netip.AddrPortFrom(self, 1), RTT: time.Second}}, "first packet"},
		"refused":              {call{fate: harness.Refused}, times(1, refused), ""},
		"silent, not refused":  {call{fate: harness.Refused}, times(1, silent), "refused, but"},
		"refused, not silent":  {call{fate: harness.Silence}, times(1, refused), "silence, but"},
		"answered, not silent": {call{fate: harness.Silence}, times(1, answer(a, self)), "silence"},
		"refused late":         {call{fate: harness.Refused}, times(1, harness.Answer{Error: refused.Error, RTT: time.Second}), "at once"},
		"refused, not reached": {call{fate: harness.Answered, pods: both[:1], source: self}, times(1, refused), "answered, but"},
	} {
		_, wrong := c.call.judge(c.answers)
		if got := strings.Join(wrong, "; "); !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: complaint %q, want %q", name, got, c.want)
		}
	}
}
