package fault

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/scripts/vpcsim/internal/span"
)

// decide makes n calls and says which of them went wrong, from 1.
func decide(e *Engine, n int, node string, names ...string) []int {
	var hit []int
	for i := 1; i <= n; i++ {
		if len(e.Decide(node, names...).Rules) > 0 {
			hit = append(hit, i)
		}
	}
	return hit
}

func TestWhichCallsGoWrong(t *testing.T) {
	broken := Effect{Reset: true}
	tests := []struct {
		name string
		rule Rule
		node string
		call []string
		want []int
	}{
		{"all", Rule{Action: "CreateTags", Effect: broken}, "n1", []string{"CreateTags"}, []int{1, 2, 3, 4, 5, 6}},
		{"other action", Rule{Action: "CreateTags", Effect: broken}, "n1", []string{"DeleteTags"}, nil},
		{"pattern", Rule{Action: "*Tags", Times: 1, Effect: broken}, "", []string{"DeleteTags"}, []int{1}},
		{"all of EC2 is not IMDS", Rule{Action: "*", Effect: broken}, "n1", []string{ActionIMDS, "/latest/meta-data/mac"}, nil},
		{"nor a device", Rule{Action: "*", Effect: broken}, "n1", []string{ActionDevice}, nil},
		{"nor Kubernetes", Rule{Action: "*", Effect: broken}, "n1", []string{ActionKubernetes, "Kubernetes/list/pods"}, nil},
		{"all of the metadata", Rule{Action: "/*", Nth: 1, Effect: broken}, "n1", []string{ActionIMDS, "/latest/meta-data/mac"}, []int{1}},
		{"other node", Rule{Node: "n2", Action: "*", Effect: broken}, "n1", []string{"CreateTags"}, nil},
		{"nobody is not a node", Rule{Node: "n?", Action: "*", Effect: broken}, "", []string{"CreateTags"}, nil},
		{"nth", Rule{Action: "*", Nth: 3, Effect: broken}, "n1", []string{"CreateTags"}, []int{3}},
		{"every", Rule{Action: "*", Every: 2, Effect: broken}, "n1", []string{"CreateTags"}, []int{2, 4, 6}},
		{"every, at most", Rule{Action: "*", Every: 2, Times: 2, Effect: broken}, "n1", []string{"CreateTags"}, []int{2, 4}},
		{"path", Rule{Action: "/latest/*/mac", Nth: 1, Effect: broken}, "n1", []string{ActionIMDS, "/latest/meta-data/mac"}, []int{1}},
		{"imds", Rule{Action: "IMDS", Nth: 1, Effect: broken}, "n1", []string{ActionIMDS, "/latest/meta-data/mac"}, []int{1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := NewEngine(1)
			if _, err := e.Add(tt.rule); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, decide(e, 6, tt.node, tt.call...)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestProbabilityFollowsTheSeed(t *testing.T) {
	hits := func(seed uint64) []int {
		e := NewEngine(seed)
		if _, err := e.Add(Rule{Action: "*", Probability: 0.3, Effect: Effect{Reset: true}}); err != nil {
			t.Fatal(err)
		}
		return decide(e, 1000, "", "CreateTags")
	}
	first := hits(7)
	if len(first) < 200 || len(first) > 400 {
		t.Errorf("%d of 1000 calls hit with probability 0.3", len(first))
	}
	if !slices.Equal(first, hits(7)) || slices.Equal(first, hits(8)) {
		t.Error("the same seed must hit the same calls, another seed others")
	}
}

func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEngine(1)
		second := span.Duration(time.Second)
		rule := Rule{Action: "*", Window: Window{After: second, For: 2 * second}, Effect: Effect{Throttle: true}}
		if _, err := e.Add(rule); err != nil {
			t.Fatal(err)
		}
		again := Rule{Action: "*", Window: Window{For: second, Every: 3 * second}, Effect: Effect{Reset: true}}
		if _, err := e.Add(again); err != nil {
			t.Fatal(err)
		}
		var once, every []bool
		for range 7 {
			d := e.Decide("", "CreateTags")
			once, every = append(once, d.Throttle), append(every, d.Reset)
			time.Sleep(time.Second)
		}
		if diff := cmp.Diff([]bool{false, true, true, false, false, false, false}, once); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]bool{true, false, false, true, false, false, true}, every); diff != "" {
			t.Errorf("again and again (-want +got)\n%s", diff)
		}
	})
}

func TestEffectsMerge(t *testing.T) {
	e := NewEngine(1)
	first, second := &Error{Code: "InternalError"}, &Error{Code: "Unavailable"}
	ids, err := e.Add(
		Rule{Action: "*", Effect: Effect{Latency: 1, Stale: 5, Error: first, Lost: true, HTML502: true, Truncate: true}},
		Rule{ID: "mine", Action: "*", Effect: Effect{Latency: 2, Stale: 3, Error: second, IMDSLag: 4, DeviceDelay: 6, DeviceRename: true}},
	)
	if err != nil {
		t.Fatal(err)
	}
	want := Decision{
		Effect: Effect{Latency: 3, Stale: 5, Error: first, Lost: true, HTML502: true, Truncate: true, IMDSLag: 4, DeviceDelay: 6, DeviceRename: true},
		Rules:  []string{"f1", "mine"},
	}
	if diff := cmp.Diff(want, e.Decide("n1", "AttachNetworkInterface")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"f1", "mine"}, ids); diff != "" {
		t.Errorf("ids (-want +got)\n%s", diff)
	}
}

func TestAddAndClear(t *testing.T) {
	e := NewEngine(1)
	ok := Rule{ID: "x", Action: "*", Effect: Effect{Reset: true}}
	if _, err := e.Add(ok, ok); err == nil {
		t.Error("two rules with one id were added")
	}
	if _, err := e.Add(ok, Rule{}); err == nil || len(e.List()) != 0 {
		t.Errorf("adding a good and a bad rule: %v, %d in force", err, len(e.List()))
	}
	if _, err := e.Add(ok, Rule{Action: "*", Effect: Effect{Reset: true}}); err != nil {
		t.Fatal(err)
	}
	decide(e, 2, "", "CreateTags")
	want := []State{{Rule: ok, Seen: 2, Fired: 2}}
	if diff := cmp.Diff(want, e.List()[:1]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := e.Clear("y"); err == nil {
		t.Error("cleared a rule that is not there")
	}
	if err := e.Clear("x"); err != nil || len(e.List()) != 1 {
		t.Errorf("clearing one: %v, %d left", err, len(e.List()))
	}
	if err := e.Clear(); err != nil || len(e.List()) != 0 {
		t.Errorf("clearing all: %v, %d left", err, len(e.List()))
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct{ name, text, problem string }{
		{"no action", "effect: {reset: true}", "action is empty"},
		{"typo in action", "{action: CreateTag, effect: {reset: true}}", `action "CreateTag" is unknown`},
		{"unknown field", "{action: CreateTags, effekt: {reset: true}}", `unknown field "effekt"`},
		{"unknown effect", "{action: CreateTags, effect: {explode: true}}", `unknown field "explode"`},
		{"no effect", "{action: CreateTags}", "effect is empty"},
		{"nth and every", "{action: CreateTags, nth: 1, every: 2, effect: {reset: true}}", "nth 1 and every 2"},
		{"negative", "{action: CreateTags, times: -1, effect: {reset: true}}", "times -1"},
		{"probability", "{action: CreateTags, probability: 1.5, effect: {reset: true}}", "probability 1.5"},
		{"latency", "{action: CreateTags, effect: {latency: 5}}", "5 is not a length of time"},
		{"status", "{action: CreateTags, effect: {error: {status: 200}}}", "effect.error.status 200"},
		{"empty error", "{action: CreateTags, effect: {error: {}}}", "set code"},
		{"hanging device", "{action: device, effect: {hang: true}}", "effect.hang"},
		{"empty change", "{action: CreateTags, effect: {empty: true}}", "effect.empty"},
		{"token of a path", "{action: IMDS, effect: {sameToken: true}}", "effect.sameToken"},
		{"subnet without an attachment", "{action: DescribeSubnets, effect: {noAttachment: true}}", "effect.noAttachment or noTags"},
		{"stale subnet", "{action: DescribeSubnets, effect: {stale: 1s}}", "effect.stale"},
		{"slow tags", "{action: CreateTags, effect: {settle: 1s}}", "effect.settle"},
		{"tags exhaust", "{action: CreateTags, effect: {exhaust: 1s}}", "effect.exhaust"},
		{"never and renamed", "{action: device, effect: {deviceNever: true, deviceRename: true}}", "effect.deviceNever with another"},
		{"window again without end", "{action: CreateTags, window: {every: 1m}, effect: {reset: true}}", "window.every 1m0s"},
		{"window again too soon", "{action: CreateTags, window: {for: 1m, every: 1m}, effect: {reset: true}}", "window.every 1m0s"},
		{"EC2 is not away", "{action: CreateTags, effect: {away: true}}", "effect.away"},
		{"lost Kubernetes", "{action: Kubernetes, effect: {lost: true}}", "effect.lost or truncate"},
		{"code alone", "{action: Kubernetes/list/services, effect: {error: {code: Gone}}}", "set status"},
		{"device of a tag", "{action: CreateTags, effect: {deviceNever: true}}", "effect.deviceDelay, deviceNever"},
		{"device without device", "{action: device, effect: {reset: true}}", "set deviceDelay, deviceNever"},
		{"second of a list", "- {action: CreateTags, effect: {reset: true}}\n- {action: Nope}", "fault rule 2"},
		{"repeated field", "action: CreateTags\naction: DeleteTags", "already set"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse([]byte(tt.text)); err == nil || !strings.Contains(err.Error(), tt.problem) {
				t.Errorf("error %v, want one with %q", err, tt.problem)
			}
		})
	}
}

func TestParse(t *testing.T) {
	got, err := Parse([]byte(`
# slow
- {action: "Describe*", node: n1, every: 2, window: {after: 1s, for: 1m}, effect: {latency: 250ms}}
- {action: IMDS, effect: {imdsLag: 5s}}
`))
	if err != nil {
		t.Fatal(err)
	}
	ms := func(n int) span.Duration { return span.Duration(n) * span.Duration(time.Millisecond) }
	want := []Rule{
		{Action: "Describe*", Node: "n1", Every: 2, Window: Window{After: ms(1000), For: ms(60000)}, Effect: Effect{Latency: ms(250)}},
		{Action: "IMDS", Effect: Effect{IMDSLag: ms(5000)}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestErrorDefaults(t *testing.T) {
	got := (&Error{Code: "RequestLimitExceeded"}).AWS()
	if got.Status != 503 || got.Message != "Request limit exceeded." {
		t.Errorf("RequestLimitExceeded is %+v", got)
	}
	got = (&Error{Code: "RequestLimitExceeded", Status: 400, Message: "50% off"}).AWS()
	if got.Status != 400 || got.Message != "50% off" {
		t.Errorf("own status and text became %+v", got)
	}
}

// FuzzParse holds that what is accepted can be put in force.
func FuzzParse(f *testing.F) {
	f.Add([]byte("{action: CreateTags, effect: {error: {code: X}}}"))
	f.Add([]byte("- {action: /a*, probability: .nan, effect: {reset: true}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rules, err := Parse(data)
		if err != nil {
			return
		}
		e := NewEngine(1)
		for _, r := range rules {
			r.ID = ""
			if _, err := e.Add(r); err != nil {
				t.Fatalf("%+v was parsed and then refused: %v", r, err)
			}
		}
		e.Decide("n1", "CreateTags")
	})
}
