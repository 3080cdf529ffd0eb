package kube

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/causeway-cni/causeway/ipamd/internal/demand"
)

func aboutPod(name string) Object {
	return Object{Pod: demand.Key{Namespace: "n", Name: name}, UID: "uid-" + name}
}

// written are the events of the API as "namespace/kind/name reason xCOUNT message".
func (a *api) written() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := []string{}
	for _, o := range a.objects["events"] {
		e := o.(*corev1.Event)
		out = append(out, fmt.Sprintf("%s/%s/%s %s x%d %s", e.Namespace, e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Count, e.Message))
	}
	slices.Sort(out)
	return out
}

func (a *api) eventuallyWritten(t *testing.T, want ...string) {
	t.Helper()
	eventually(t, "events "+strings.Join(want, ", "), func() bool { return slices.Equal(a.written(), want) })
}

// reporting writes events until the test ends.
func reporting(t *testing.T, a *api, every time.Duration) (*Client, *planner) {
	t.Helper()
	p := &planner{}
	c := newClient(t, a, slog.New(slog.NewTextHandler(p, nil)))
	c.events.every = every
	runTask(t, p, c.WriteEvents)
	return c, p
}

func TestEvents(t *testing.T) {
	a := newAPI(t)
	c, _ := reporting(t, a, time.Hour)
	c.Report(Event{About: aboutPod("a"), Reason: "SubnetFull", Message: "one"})
	a.eventuallyWritten(t, "n/Pod/a SubnetFull x1 one")
	c.Report(Event{About: aboutPod("a"), Reason: "SubnetFull", Message: "two"})
	c.Report(Event{About: aboutPod("a"), Reason: "Throttled", Message: "three"})
	c.Report(Event{Reason: "SubnetFull", Message: strings.Repeat("é", 600)})
	a.eventuallyWritten(t, "default/Node/here SubnetFull x1 "+strings.Repeat("é", 512), "n/Pod/a SubnetFull x1 one", "n/Pod/a Throttled x1 three")

	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.objects["events"] {
		got := o.(*corev1.Event).DeepCopy()
		if got.Reason != "Throttled" {
			continue
		}
		if !strings.HasPrefix(got.Name, "a.") || got.FirstTimestamp.IsZero() || got.LastTimestamp.Before(&got.FirstTimestamp) {
			t.Errorf("an event %s, from %v to %v", got.Name, got.FirstTimestamp, got.LastTimestamp)
		}
		got.Name, got.FirstTimestamp, got.LastTimestamp, got.TypeMeta = "", metav1.Time{}, metav1.Time{}, metav1.TypeMeta{}
		want := &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: "n"},
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: "n", Name: "a", UID: "uid-a"},
			Type:           "Warning", Reason: "Throttled", Message: "three", Count: 1,
			Source:              corev1.EventSource{Component: "causeway", Host: "here"},
			ReportingController: "causeway", ReportingInstance: "here",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
	}
}

// TestEventsGrow has reports that come while the event may not be written
// again, and an API that has forgotten the event.
func TestEventsGrow(t *testing.T) {
	a := newAPI(t)
	c, _ := reporting(t, a, 300*time.Millisecond)
	for i := range 20 {
		c.Report(Event{About: aboutPod("a"), Reason: "SubnetFull", Message: fmt.Sprint(i)})
		if i == 0 {
			a.eventuallyWritten(t, "n/Pod/a SubnetFull x1 0")
		}
	}
	a.eventuallyWritten(t, "n/Pod/a SubnetFull x20 19")
	a.mu.Lock()
	writes := len(a.requests)
	clear(a.objects["events"])
	a.mu.Unlock()
	if writes != 2 {
		t.Errorf("%d writes, want one at once and one later", writes)
	}
	c.Report(Event{About: aboutPod("a"), Reason: "SubnetFull", Message: "again"})
	a.eventuallyWritten(t, "n/Pod/a SubnetFull x21 again")
	if n := c.DroppedEvents(); n != 0 {
		t.Errorf("%d were dropped", n)
	}
}

// TestEventsAreDropped has an API that is away, and one that refuses.
func TestEventsAreDropped(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*api) }{
		"away": {(*api).away, (*api).back},
		"forbidden": {func(a *api) { a.mu.Lock(); defer a.mu.Unlock(); a.forbidden = "events" },
			func(a *api) { a.mu.Lock(); defer a.mu.Unlock(); a.forbidden = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t)
			outage.begin(a)
			c, p := reporting(t, a, time.Hour)
			for _, pod := range []string{"a", "b", "a"} {
				c.Report(Event{About: aboutPod(pod), Reason: "SubnetFull"})
			}
			eventually(t, "all were dropped", func() bool { return c.DroppedEvents() == 3 })
			outage.end(a)
			c.Report(Event{About: aboutPod("a"), Reason: "SubnetFull", Message: "back"})
			eventually(t, "written", func() bool { return len(a.written()) == 1 })
			if p.lines("cannot be written") != 1 {
				t.Error("want one line in the log for the outage")
			}
			if got := a.written()[0]; !strings.HasPrefix(got, "n/Pod/a SubnetFull x") || !strings.HasSuffix(got, " back") {
				t.Errorf("written: %s", got)
			}
		})
	}
}

func TestJournal(t *testing.T) {
	start := time.Unix(1_000_000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	a, b := Event{About: aboutPod("a"), Reason: "X"}, Event{About: aboutPod("b"), Reason: "X"}
	j := newJournal()
	expect := func(now time.Duration, want string, count int, wait time.Duration) series {
		t.Helper()
		got, ok, pause := j.due(at(now))
		if name := got.latest.About.Pod.Name; ok != (want != "") || name != want || got.count != count || !ok && pause != wait {
			t.Fatalf("after %v: due is %q x%d, or nothing for %v; want %q x%d, %v", now, name, got.count, pause, want, count, wait)
		}
		return got
	}
	expect(0, "", 0, sameEvent)
	j.note(a, at(0))
	j.note(b, at(time.Second))
	first := expect(time.Second, "a", 1, 0)
	j.note(a, at(2*time.Second)) // while it is being written
	j.wrote(first, "a.1", at(3*time.Second))
	second := expect(3*time.Second, "b", 1, 0)
	j.failed(second)
	expect(4*time.Second, "", 0, sameEvent-time.Second)
	j.note(b, at(5*time.Second)) // what failed does not wait
	j.wrote(expect(5*time.Second, "b", 2, 0), "b.1", at(5*time.Second))
	again := expect(3*time.Second+sameEvent, "a", 2, 0)
	if again.name != "a.1" || again.pending != 1 || again.first != at(0) || again.last != at(2*time.Second) {
		t.Errorf("written again: %+v", again)
	}
	if j.dropped != 1 {
		t.Errorf("%d dropped, want 1", j.dropped)
	}
}

// TestJournalIsBounded fills it: what is written and old gives way, nothing
// else does.
func TestJournalIsBounded(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	j := newJournal()
	add := func(name string) { j.note(Event{About: aboutPod(name), Reason: "X"}, now) }
	for i := range mostSeries {
		add(fmt.Sprint(i))
	}
	add("over")
	if len(j.series) != mostSeries || j.dropped != 1 {
		t.Errorf("%d kept, %d dropped", len(j.series), j.dropped)
	}
	s, _, _ := j.due(now)
	j.wrote(s, "x", now)
	add("over")
	if j.dropped != 2 {
		t.Error("what was written just now gave way")
	}
	now = now.Add(sameEvent)
	add("over")
	if len(j.series) != mostSeries || j.dropped != 2 {
		t.Errorf("%d kept, %d dropped", len(j.series), j.dropped)
	}
}

func TestEventNames(t *testing.T) {
	for _, of := range []string{"a", "ip-10-0-0-4.ec2.internal", strings.Repeat("a", 253), strings.Repeat("a", maxEventName-1) + ".b"} {
		if name := eventName(of); len(name) > 253 || strings.Contains(name, "..") || !strings.HasPrefix(name, of[:1]) {
			t.Errorf("the event of %s is called %s", of, name)
		}
	}
}
