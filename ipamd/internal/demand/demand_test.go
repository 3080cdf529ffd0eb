package demand

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChoose(t *testing.T) {
	const key = "k8s.amazonaws.com/eniConfig"
	zone := Node{Zone: "us-east-1a"}
	with := func(n Node, labels, annotations map[string]string) *Node {
		n.Labels, n.Annotations = labels, annotations
		return &n
	}
	is := func(k, v string) map[string]string { return map[string]string{k: v} }
	for name, test := range map[string]struct {
		node    *Node
		configs []string
		want    string
		by      string
		found   bool
	}{
		"no Node":                  {nil, []string{"default"}, "default", "nothing else names one", true},
		"nothing at all":           {nil, nil, "default", "nothing else names one", false},
		"zone":                     {&zone, []string{"default", "us-east-1a"}, "us-east-1a", "the node's zone", true},
		"zone without a config":    {&zone, []string{"default", "us-east-1b"}, "default", "nothing else names one", true},
		"a Node without a zone":    {&Node{}, []string{""}, "default", "nothing else names one", false},
		"label before zone":        {with(zone, is(key, "a"), nil), []string{"a", "us-east-1a"}, "a", "label " + key, true},
		"annotation before label":  {with(zone, is(key, "a"), is(key, "b")), []string{"a", "b"}, "b", "annotation " + key, true},
		"external before all":      {with(zone, is(ExternalConfigLabel, "x"), is(key, "b")), []string{"b", "x"}, "x", "label " + ExternalConfigLabel, true},
		"what is named is missing": {with(zone, is(key, "a"), nil), []string{"default", "us-east-1a"}, "a", "label " + key, false},
		"empty names none":         {with(zone, is(key, ""), is(key, "")), []string{"us-east-1a"}, "us-east-1a", "the node's zone", true},
	} {
		t.Run(name, func(t *testing.T) {
			var c Cluster
			c.SetNode(test.node)
			for _, name := range test.configs {
				c.SetENIConfig(ENIConfig{Name: name, Subnet: "subnet-" + name})
			}
			want := Choice{Name: test.want, By: test.by, Found: test.found}
			if test.found {
				want.Config = ENIConfig{Name: test.want, Subnet: "subnet-" + test.want}
			}
			if diff := cmp.Diff(want, c.Choose(key, key)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestWaiting(t *testing.T) {
	var c Cluster
	for _, p := range []Pod{
		{Key: Key{"b", "waits"}},
		{Key: Key{"a", "waits"}, UID: "1"},
		{Key: Key{"a", "held"}},
		{Key: Key{"a", "host"}, HostNetwork: true},
		{Key: Key{"a", "ended"}, Ended: true},
		{Key: Key{"a", "deleting"}, Deleting: true},
		{Key: Key{"a", "running"}, HasAddress: true},
	} {
		c.SetPod(p)
	}
	holds := func(p Pod) bool { return p.Name == "held" }
	want := []Pod{{Key: Key{"a", "waits"}, UID: "1"}, {Key: Key{"b", "waits"}}}
	if diff := cmp.Diff(want, c.Waiting(holds)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	c.SetPod(Pod{Key: Key{"a", "waits"}, UID: "1", HasAddress: true})
	c.DeletePod(Key{"b", "waits"})
	if got := c.Waiting(holds); got != nil {
		t.Errorf("%v wait, want nobody", got)
	}
}

// TestDifferences holds that only what makes a difference is told as one: each
// wakes the planner.
func TestDifferences(t *testing.T) {
	var c Cluster
	pod, config := Pod{Key: Key{"a", "b"}}, ENIConfig{Name: "x", Subnet: "s", SecurityGroups: []string{"g"}}
	running := pod
	running.HasAddress = true
	regrouped := config
	regrouped.SecurityGroups = []string{"h"}
	node := func(zone string) *Node { return &Node{Name: "n", Zone: zone, Labels: map[string]string{"l": zone}} }
	for i, step := range []struct {
		got, want bool
	}{
		{c.DeletePod(pod.Key), false}, {c.SetPod(pod), true}, {c.SetPod(pod), false}, {c.SetPod(running), true},
		{c.DeletePod(pod.Key), true}, {c.DeletePod(pod.Key), false},
		{c.DeleteENIConfig("x"), false}, {c.SetENIConfig(config), true}, {c.SetENIConfig(config), false}, {c.SetENIConfig(regrouped), true},
		{c.DeleteENIConfig("x"), true},
		{c.SetNode(nil), false}, {c.SetNode(node("a")), true}, {c.SetNode(node("a")), false}, {c.SetNode(node("b")), true}, {c.SetNode(nil), true},
		{c.Known(), false}, {c.Synced(), true}, {c.Synced(), false}, {c.Known(), true},
	} {
		if step.got != step.want {
			t.Errorf("step %d made a difference: %v, want %v", i, step.got, step.want)
		}
	}
	if c.Node() != nil || c.ENIConfigs() != nil {
		t.Errorf("Node %v and ENIConfigs %v are left", c.Node(), c.ENIConfigs())
	}
}
