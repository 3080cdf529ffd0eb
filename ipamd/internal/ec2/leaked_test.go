package ec2

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/causeway-cni/causeway/ipamd/internal/pool"
)

// as is EC2 as another instance sees it, of the same cluster if not told
// otherwise.
func (w *world) as(node string, change ...func(*Settings)) *Cloud {
	w.Helper()
	id, s := w.id, w.cloud.settings
	id.InstanceID = w.sim.Instance(node)
	for _, f := range change {
		f(&s)
	}
	other, err := New(w.Context(), s, id)
	if err != nil {
		w.Fatal(err)
	}
	return other
}

// TestUnattached shows what all nodes of the cluster left, and no others.
func TestUnattached(t *testing.T) {
	w := start(t, "profile: none")
	want := map[pool.ENIID]string{}
	for token, cloud := range map[string]*Cloud{
		"ours": w.cloud, "theirs": w.as("n2"),
		"of another cluster": w.as("n2", func(s *Settings) { s.ClusterName = "other" }),
		"of none":            w.as("n2", func(s *Settings) { s.ClusterName = "" }),
	} {
		r, err := cloud.Apply(t.Context(), w.create(token, 1))
		if err != nil {
			t.Fatal(err)
		}
		if cloud.settings.ClusterName == "story" {
			want[r.Created.ID] = pool.Description(cloud.identity.InstanceID)
		}
	}
	attached := w.apply(w.create("attached", 0)).Created.ID
	w.apply(pool.AttachENI{ENI: attached, Device: 1})
	enis, err := w.cloud.Unattached(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[pool.ENIID]string{}
	for _, e := range enis {
		if got[e.ID] = e.Description; e.Status != pool.Available || !e.Created.Equal(created) || e.Tags[pool.TagCluster] != "story" {
			t.Errorf("%+v", e)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.fault("{action: DescribeNetworkInterfaces, effect: {error: {code: UnauthorizedOperation}}}")
	enis, err = w.cloud.Unattached(t.Context())
	if f := w.failure(enis, err); f.Class != pool.Unauthorized || !strings.Contains(f.Error(), "of cluster story") {
		t.Errorf("%s: %v", f.Class, f)
	}
}

// TestExist tells those that live from those that ended, or never were.
func TestExist(t *testing.T) {
	w := start(t, "profile: none\nnodes: [{name: n1, subnet: a}, {name: n2, subnet: a}, {name: n3, subnet: a}]")
	if err := w.sim.Control().Terminate(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	got, err := w.cloud.Exist(t.Context(), []string{w.sim.Instance("n2"), w.sim.Instance("n3"), "i-00000000000000000"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]bool{w.id.InstanceID: true, w.sim.Instance("n3"): true}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.fault("{action: DescribeInstances, effect: {error: {code: UnauthorizedOperation}}}")
	if f := w.failure(w.cloud.Exist(context.Background(), nil)); f.Class != pool.Unauthorized {
		t.Errorf("%s: %v", f.Class, f)
	}
	if got, err := w.as("n2").Exist(t.Context(), []string{w.id.InstanceID}); err == nil {
		t.Errorf("%v, though the answer is without the one that asks", got)
	}
}
